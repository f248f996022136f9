"""The interval of a median: exact, distribution-free, and honest about few repeats."""

from __future__ import annotations

from itertools import product
from statistics import median

import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers, lists, randoms

from harness.judge.intervals import CONFIDENCE, coverage, median_interval

SAMPLES = lists(floats(0.001, 1e6), min_size=1, max_size=40)


class TestMedianInterval:
    @given(samples=SAMPLES)
    def test_holds_the_median_between_two_samples(self, samples):
        """The ends are samples, the median lies between them and is the median of all."""
        found = median_interval(samples)
        assert found.low in samples
        assert found.high in samples
        assert found.low <= found.median <= found.high
        assert found.median == median(samples)
        assert found.sample_count == len(samples)

    @given(samples=SAMPLES, random=randoms())
    def test_order_does_not_matter(self, samples, random):
        """Repeats may come in any order."""
        shuffled = list(samples)
        random.shuffle(shuffled)
        assert median_interval(shuffled) == median_interval(samples)

    @given(count=integers(6, 60))
    def test_is_the_narrowest_that_is_sure_enough(self, count):
        """From 6 repeats on it reaches 95 %, and one sample less on either side would not."""
        found = median_interval([float(sample) for sample in range(count)])
        assert found.confidence >= CONFIDENCE > coverage(count, int(found.low) + 1)

    @pytest.mark.parametrize(("count", "confidence"), [(1, 0.0), (2, 0.5), (5, 0.9375)])
    def test_few_repeats_are_not_talked_up(self, count, confidence):
        """The whole range, with the confidence that a range of so few has."""
        found = median_interval([float(sample) for sample in range(count)])
        assert (found.low, found.high, found.confidence) == (0, count - 1, confidence)

    def test_no_samples_are_refused(self):
        """There is no median of nothing."""
        with pytest.raises(ValueError, match="at least one repeat"):
            median_interval([])


class TestCoverage:
    @pytest.mark.parametrize("count", range(1, 11))
    def test_is_what_counting_all_outcomes_gives(self, count):
        """Each sample falls below or above the true median with even odds: counted over all 2**n ways."""
        for trimmed in range((count + 1) // 2):
            ways = [sum(below) for below in product((0, 1), repeat=count)]
            covered = sum(trimmed < below < count - trimmed for below in ways)
            assert coverage(count, trimmed) == pytest.approx(covered / 2**count)
