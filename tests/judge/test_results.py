"""Figures of the judge: the ratio, its error, and what pairing gains."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.judge.results import BitsPerByte, Window, paired_difference, summarise

windows = st.lists(
    st.tuples(st.floats(0, 1e6), st.integers(1, 10_000)).map(lambda pair: Window(*pair)), min_size=1, max_size=30
).map(tuple)


def figure(scored, digest="same"):
    return summarise(tuple(scored), token_count=1, window_tokens=8, texts_sha256=digest)


class TestSummarise:
    @given(windows)
    def test_is_the_ratio_of_the_sums(self, scored):
        """Long windows weigh by their bytes, not each window the same."""
        expected = math.fsum(w.bits for w in scored) / sum(w.byte_count for w in scored)
        assert figure(scored).bits_per_byte == pytest.approx(expected)

    @given(windows)
    def test_order_does_not_matter(self, scored):
        """The figure and its error are those of the set of windows."""
        forward, backward = figure(scored), figure(scored[::-1])
        assert forward.bits_per_byte == pytest.approx(backward.bits_per_byte)
        assert forward.standard_error == pytest.approx(backward.standard_error, abs=1e-9)

    @given(st.floats(0.1, 8), st.lists(st.integers(1, 999), min_size=2, max_size=20))
    def test_the_same_rate_everywhere_has_no_error(self, rate, sizes):
        """Where every window has the same bits per byte there is nothing to be unsure of."""
        assert figure(Window(rate * size, size) for size in sizes).standard_error == pytest.approx(0, abs=1e-6)

    def test_error_matches_resampling(self):
        """The linearised error agrees with the spread of the ratio over resampled windows, within a tenth."""
        rng = random.Random(5)
        sizes = [rng.randint(50, 500) for _ in range(400)]
        scored = [Window(size * rng.gauss(2, 0.5), size) for size in sizes]
        ratios = []
        for _ in range(800):
            drawn = rng.choices(scored, k=len(scored))
            ratios.append(sum(w.bits for w in drawn) / sum(w.byte_count for w in drawn))
        mean = sum(ratios) / len(ratios)
        spread = math.sqrt(sum((ratio - mean) ** 2 for ratio in ratios) / (len(ratios) - 1))
        assert figure(scored).standard_error == pytest.approx(spread, rel=0.1)

    def test_survives_its_file(self, tmp_path):
        """What is written is what is read."""
        written = figure([Window(1.5, 2), Window(0.25, 7)])
        written.write(tmp_path / "figure.json")
        assert BitsPerByte.read(tmp_path / "figure.json") == written


class TestPairedDifference:
    @given(windows)
    def test_of_itself_is_nothing(self, scored):
        """A model does not differ from itself, and that is certain."""
        found = paired_difference(figure(scored), figure(scored))
        assert (found.mean, found.standard_error) == (0, 0)

    @given(windows, st.floats(0.01, 3))
    def test_changes_sign_with_its_sides(self, scored, offset):
        """Second minus first is minus first minus second, with the same error."""
        worse = [Window(w.bits + offset * w.byte_count, w.byte_count) for w in scored]
        there, back = paired_difference(figure(worse), figure(scored)), paired_difference(figure(scored), figure(worse))
        assert there.mean == pytest.approx(offset, rel=1e-6, abs=1e-4)
        assert back.mean == pytest.approx(-there.mean)
        assert back.low == pytest.approx(-there.high)

    def test_is_surer_than_either_figure(self):
        """Windows differ far more from each other than two models do on one window."""
        rng = random.Random(3)
        base = [Window(rng.uniform(100, 900), 200) for _ in range(100)]
        pruned = [Window(w.bits + rng.gauss(10, 2), w.byte_count) for w in base]
        found = paired_difference(figure(pruned), figure(base))
        assert found.standard_error < figure(base).standard_error / 20
        assert found.low < 0.05 < found.high

    def test_other_texts_are_refused(self):
        """Windows of different texts are no pairs."""
        with pytest.raises(ValueError, match="same texts"):
            paired_difference(figure([Window(1, 1)]), figure([Window(1, 1)], digest="other"))
