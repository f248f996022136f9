from __future__ import annotations

import math
import pickle
import struct
import sys
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.corpora.filters.quality import Quality, QualityBand, quality_bands, threshold_of
from harness.corpora.filters.quality_fasttext import FastTextRater
from harness.corpora.filters.quality_stand_in import train_stand_in
from harness.corpora.local import read_file
from harness.errors import UsageError

scores = st.lists(st.floats(0, 1), min_size=1, max_size=50)


HIGH = [f"The answer is {n}, since it follows from the rule." for n in range(200)]
LOW = [f"Buy cheap shoes online now, deal {n}! Click here for more offers today." for n in range(200)]


def write_classifier(path, labels, weights):
    """A file in fastText's format: vectors of one dimension, one word a weight, the labels' vectors 1 and -1."""
    words = ["</s>", *weights]
    integers = (1, 5, 5, 1, 5, 1, 3, 3, 0, 0, 0, 100)  # dimension, ..., 1-grams, softmax, supervised, no buckets
    entries = [(word, 0) for word in words] + [(label, 1) for label in labels]
    content = struct.pack("<2i12id", 793712314, 12, *integers, 1e-4)
    content += struct.pack("<3i2q", len(entries), len(words), len(labels), 100, -1)
    content += b"".join(word.encode() + b"\0" + struct.pack("<qb", 1, kind) for word, kind in entries)
    for rows in ([0.0, *weights.values()], [1.0, -1.0]):
        content += struct.pack(f"<b2q{len(rows)}f", 0, len(rows), 1, *rows)
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    pytest.importorskip("fasttext")
    path = tmp_path_factory.mktemp("rater") / "model.bin"
    return write_classifier(path, ("__label__hq", "__label__cc"), {"good": 4.0, "bad": -4.0, "so": 0.5})


class TestThreshold:
    @given(scores, st.floats(0.01, 1))
    def test_keeps_the_best_and_no_fewer(self, sample, fraction):
        """At least the share asked for is kept, and without those at the edge it would be too few."""
        threshold = threshold_of(sample, keep_fraction=fraction)
        kept = sum(score >= threshold for score in sample)
        above = sum(score > threshold for score in sample)
        assert above < fraction * len(sample) + 1e-6
        assert kept >= fraction * len(sample) - 1e-6

    @given(scores)
    def test_a_smaller_share_is_no_looser(self, sample):
        """Keeping fewer raises the threshold, or leaves it."""
        assert threshold_of(sample, keep_fraction=0.1) >= threshold_of(sample, keep_fraction=0.2)

    @pytest.mark.parametrize(("sample", "fraction"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.5)])
    def test_says_what_it_needs(self, sample, fraction):
        """An empty sample or a share outside (0, 1] is refused."""
        with pytest.raises(ValueError, match="keep_fraction"):
            threshold_of(sample, keep_fraction=fraction)


class TestBands:
    @given(scores, st.floats(0, 1))
    def test_every_document_is_in_one_chunk(self, sample, score):
        """The chunks part all scores, also those that the sample did not have."""
        bands = quality_bands(lambda _: score, sample, edges=(0.3, 0.7))
        assert sum(band("x").text is not None for band in bands) == 1

    def test_chunks_are_of_the_quantiles(self):
        """Edges at a half and nine tenths of ten scores leave five, four and one of them."""
        sample = [number / 10 for number in range(10)]
        bands = quality_bands(float, sample, edges=(0.5, 0.9))
        assert [sum(band(str(score)).text is not None for score in sample) for band in bands] == [5, 4, 1]

    @pytest.mark.parametrize("edges", [(0.0,), (0.5, 0.5), (0.7, 0.3), (1.0,)])
    def test_edges_ascend(self, edges):
        """Other edges are refused."""
        with pytest.raises(ValueError, match="ascend"):
            quality_bands(float, [0.5], edges=edges)


def test_filters_keep_from_the_threshold_on():
    """What is rated as the threshold stays; what is below goes, with its rating."""
    keep = Quality(rate=float, threshold=0.5)
    assert keep("0.5").text == "0.5"
    assert keep("0.4").reason == "rated low"
    assert "0.400" in keep("0.4").evidence
    assert QualityBand(rate=float, highest=0.5)("0.5").text is None
    assert QualityBand(rate=float)("0.5").text == "0.5"


class TestFastTextRater:
    @given(st.lists(st.sampled_from(["good", "bad", "so", "\n", "unknown"]), max_size=12))
    def test_is_the_softmax_of_the_mean(self, classifier, words):
        """The probability of the high label, whichever of the two is likelier, whatever ends the lines."""
        values = {"good": 4.0, "bad": -4.0, "so": 0.5}
        known = [values.get(word, 0.0) for word in words if word not in {"\n", "unknown"}]
        mean = sum(known) / (len(known) + 1)  # the end of the line is a word, too
        expected = 1 / (1 + math.exp(-2 * mean))
        assert FastTextRater.of(classifier)(" ".join(words)) == pytest.approx(expected, abs=1e-3)

    def test_travels(self, classifier):
        """What another process is sent rates the same, and the record is the file's."""
        rater = FastTextRater.of(classifier)
        assert pickle.loads(pickle.dumps(rater))("good") == rater("good")  # noqa: S301 - our own bytes
        assert rater.record.kind == "file"

    @pytest.mark.usefixtures("classifier")
    def test_other_labels_are_refused(self, tmp_path):
        """A classifier of something else is told by its labels."""
        other = write_classifier(tmp_path / "other.bin", ("__label__hq", "__label__spam"), {"good": 1.0})
        with pytest.raises(UsageError, match="__label__spam"):
            FastTextRater.of(other)

    @pytest.mark.usefixtures("classifier")
    def test_other_files_are_refused(self, tmp_path):
        """What is no classifier, or not there, is an error with its path."""
        (tmp_path / "text.bin").write_bytes(b"nothing of the sort")
        for name in ("text.bin", "absent.bin"):
            with pytest.raises(UsageError, match=name):
                FastTextRater.of(tmp_path / name)

    def test_without_the_package_the_extra_is_named(self, tmp_path, monkeypatch):
        """The way out is in the message."""
        monkeypatch.setitem(sys.modules, "fasttext", None)
        (tmp_path / "model.bin").touch()
        with pytest.raises(UsageError, match=r"\[quality\]"):
            FastTextRater.of(tmp_path / "model.bin")


@pytest.fixture(scope="module")
def rater():
    return train_stand_in(HIGH, LOW, buckets=1 << 12)


class TestStandIn:
    def test_tells_apart_what_it_was_shown(self, rater):
        """Both kinds are rated on their side."""
        assert rater("Click here for cheap shoes!") < 0.5 < rater("It follows from the rule that the answer is 7.")

    def test_says_what_it_is(self, rater):
        """Nobody can take it for DCLM's."""
        assert rater.record.kind == "stand-in"
        assert "200 answers" in rater.record.trained_on
        assert "not DCLM's" in rater.record.trained_on

    @given(st.text(max_size=100))
    def test_any_text_has_a_rating(self, rater, text):
        """A probability, and a half where there is no word."""
        assert 0 <= rater(text) <= 1
        assert rater(" \n") == 0.5

    def test_the_seed_decides_the_weights(self, rater):
        """Training again gives the same weights, and another seed others; pickled, it is the same rater."""
        again, other = train_stand_in(HIGH, LOW, buckets=1 << 12), train_stand_in(HIGH, LOW, buckets=1 << 12, seed=1)
        assert again.record == rater.record != other.record
        assert pickle.loads(pickle.dumps(rater))("the rule") == rater("the rule")  # noqa: S301 - our own bytes

    def test_length_alone_says_nothing(self):
        """Where both kinds hold the same words, a long document is rated as a short one."""
        rater = train_stand_in(["a b c d"] * 50, ["a b c d " * 50] * 50)
        assert abs(rater("a b c d " * 40) - rater("a b c d a b c d")) < 0.2

    @pytest.mark.parametrize(("high", "low"), [([], ["x"]), (["x"], [" "])])
    def test_learns_from_both_kinds(self, high, low):
        """One kind alone teaches nothing."""
        with pytest.raises(ValueError, match="both kinds"):
            train_stand_in(high, low)

    def test_buckets_are_a_power_of_two(self):
        """Others are refused."""
        with pytest.raises(ValueError, match="power of two"):
            train_stand_in(["x"], ["y"], buckets=100)

    def test_ranks_real_text(self, shared_train):
        """Unseen answers are rated above unseen web documents in most pairs."""
        documents = [str(row["text"]) for _, row in islice(read_file(shared_train / "c4_en.jsonl.gz"), 400)]
        answers = [str(row["output"]) for _, row in islice(read_file(shared_train / "alpaca_en.jsonl.gz"), 800)]
        rater = train_stand_in(answers[:600], documents[:300], epochs=3)
        low, high = ([rater(text) for text in texts] for texts in (documents[300:], answers[600:]))
        assert sum(a > b for a in high for b in low) > 0.7 * len(high) * len(low)
