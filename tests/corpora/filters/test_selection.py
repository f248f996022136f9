from __future__ import annotations

import json

import pytest

from harness.corpora.door import DataDoor, DoorSettings
from harness.corpora.filters.selection import SelectionSettings, selection
from harness.corpora.filters.settings import FilterSettings
from harness.corpora.windows import pack
from harness.errors import DataNotAllowed, UsageError
from harness.rules.edition import DataRule

GOOD = "The answer to question {n} is that the sum of {n} and one is larger, since one is added to it."
BAD = "Buy cheap shoes of size {n} and boots with the best deal, click here to get {n} more offers today!"
LOOSE = {"fewest_words": 10, "filters": FilterSettings(near_duplicates=False, repetition=False)}


@pytest.fixture
def door(tmp_path):
    """Documents of two kinds in turns; answers of one kind."""
    rules = {
        "c4": DataRule(hub_id="some/c4", revision="abc", data_schema="c4"),
        "alpaca": DataRule(hub_id="some/alpaca", revision="abc", data_schema="alpaca"),
    }
    documents = [{"text": f"{(GOOD if n % 5 == 0 else BAD).format(n=n)} Yes. No."} for n in range(600)]
    answers = [{"instruction": f"Question {n}?", "output": GOOD.format(n=n)} for n in range(300)]
    local = {}
    for name, rows in (("c4", documents), ("alpaca", answers)):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        local[name] = str(path)
    return DataDoor(DoorSettings(rules=rules, local=local))


def left(door, chosen):
    sieve = chosen.part.make_sieve()
    return [kept.text for sample in door.open(chosen.part.data) if (kept := sieve(sample)) is not None]


class TestSelection:
    def test_keeps_the_best(self, door):
        """A tenth by quality is of the better kind; the record says by what it was rated."""
        chosen = selection(door, SelectionSettings(keep_fraction=0.1, sample=500, **LOOSE))
        texts = left(door, chosen)
        assert len(texts) == pytest.approx(0.1 * 580, rel=0.3)
        assert all("answer" in text for text in texts)
        assert chosen.rater.kind == "stand-in"
        assert chosen.counts.report().kept == len(texts)

    def test_chunks_are_apart_and_together_the_whole(self, door):
        """The best fifth, what lies between and nothing twice: a curriculum's chunks."""
        rated = {"sample": 500, **LOOSE}
        best = left(door, selection(door, SelectionSettings(keep_fraction=0.2, **rated)))
        rest = left(door, selection(door, SelectionSettings(keep_fraction=1.0, skip_fraction=0.2, **rated)))
        whole = left(door, selection(door, SelectionSettings(**LOOSE)))
        assert set(best).isdisjoint(rest)
        # The lowest score of the sample is the bound below; the few that lie under it are in no chunk.
        assert len(best) + len(rest) == pytest.approx(len(whole), rel=0.02)

    def test_a_chunk_must_not_be_empty(self):
        """Bounds that cross are told with both."""
        with pytest.raises(ValueError, match=r"keep_fraction must be above skip_fraction \(0\.5\), got 0\.2"):
            SelectionSettings(keep_fraction=0.2, skip_fraction=0.5)

    def test_a_text_of_a_scored_task_is_left_out(self, door, monkeypatch):
        """What the tasks share so many words with does not come through, and the key says so."""
        from harness.corpora.filters.decontamination import SharedGrams

        plain = selection(door, SelectionSettings(**LOOSE))
        monkeypatch.setattr(
            door, "shared_grams", lambda *, gram_words: SharedGrams([GOOD.format(n=5)], gram_words=gram_words)
        )
        chosen = selection(door, SelectionSettings(shared_gram_words=12, **LOOSE))
        assert set(left(door, plain)) - set(left(door, chosen)) == {f"{GOOD.format(n=5)} Yes. No."}
        assert chosen.part.key != plain.part.key

    def test_without_a_share_nothing_is_rated(self, door):
        """No rater, no threshold, all of the prose."""
        chosen = selection(door, SelectionSettings(**LOOSE))
        assert (chosen.rater, chosen.threshold) == (None, None)
        assert len(left(door, chosen)) == sum(1 for _ in door.open("c4"))

    def test_is_a_part_of_a_mixture(self, door, tokenizer, tmp_path):
        """Packed under a name of its own, it is that part of the data set alone."""
        chosen = selection(door, SelectionSettings(keep_fraction=0.1, sample=500, **LOOSE))
        sizes = {"window_tokens": 100, "window_count": 20, "seed": 0, "path": tmp_path / "w"}
        made = pack(door, {"best": 1}, tokenizer, **sizes, named={"best": chosen.part})
        assert "Buy" not in tokenizer.decode(made.token_ids.ravel().tolist())

    def test_the_key_tells_settings_apart(self, door):
        """The same settings give the same key, others another; where the classifier lies does not matter."""
        keys = [
            selection(door, SelectionSettings(**LOOSE | change)).part.key
            for change in ({}, {}, {"fewest_words": 11}, {"code": True}, {"keep_fraction": 0.5, "sample": 50})
        ]
        assert keys[0] == keys[1]
        assert len(set(keys)) == 4

    def test_nothing_left_is_told(self, door):
        """Filters that drop everything leave no threshold to be found."""
        with pytest.raises(DataNotAllowed, match="loosen"):
            selection(door, SelectionSettings(keep_fraction=0.1, fewest_words=10_000))

    def test_a_classifier_that_is_not_there_is_told(self, door):
        """With its path."""
        with pytest.raises(UsageError, match=r"absent\.bin"):
            selection(door, SelectionSettings(keep_fraction=0.1, rater="absent.bin"))
