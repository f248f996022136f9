"""The error of a score is that of drawing its items."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.judge.uncertainty import interval, standard_error, wilson
from harness.submission.measurements import SubsetScore, TaskScore

counts = st.integers(2, 400)


class TestStandardError:
    @given(counts, st.data())
    def test_of_one_part_is_that_of_the_mean_of_its_items(self, count, data):
        """Sample deviation over the root of the number, as numpy has it."""
        right = data.draw(st.integers(0, count))
        items = np.array([1.0] * right + [0.0] * (count - right))
        expected = items.std(ddof=1) / math.sqrt(count)
        assert standard_error([(right / count, count)]) == pytest.approx(expected, abs=1e-12)

    @given(st.lists(st.tuples(st.floats(0, 1), counts), min_size=1, max_size=5))
    def test_of_a_mean_adds_in_squares(self, shares):
        """The variance of a mean of independent parts."""
        single = [standard_error([share]) for share in shares]
        assert standard_error(shares) == pytest.approx(math.sqrt(sum(e * e for e in single)) / len(single), abs=1e-12)

    def test_one_item_shows_no_spread(self):
        """None, not zero."""
        assert standard_error([(1.0, 1)]) is None
        assert standard_error([]) is None


class TestWilson:
    @given(st.integers(1, 400), st.data())
    def test_holds_the_share_and_stays_possible(self, count, data):
        """At 0 and at 1 too the interval has a width."""
        share = data.draw(st.integers(0, count)) / count
        low, high = wilson(share, count)
        assert 0 <= low <= share + 1e-12
        assert share - 1e-12 <= high <= 1
        assert high - low > 0

    def test_is_the_root_of_its_equation(self):
        """At its ends the share lies 1.96 standard errors of that end away (Wilson's definition)."""
        for end in wilson(0.3, 50):
            assert abs(0.3 - end) / math.sqrt(end * (1 - end) / 50) == pytest.approx(1.959964)


class TestInterval:
    def score(self, *subsets, **changed):
        fields = {"task": "t", "column": "T", "metric": "accuracy", "scale": 100, "score": 40.0, "item_count": 10}
        return TaskScore(**fields | changed, subsets=subsets)

    def test_is_in_the_unit_of_the_score(self):
        """Percent of percent, fractions of fractions."""
        low, high = interval(self.score())
        assert (low / 100, high / 100) == pytest.approx(wilson(0.4, 10))
        assert interval(self.score(scale=1, score=0.4)) == pytest.approx(wilson(0.4, 10))

    def test_of_an_average_is_two_errors_to_each_side_and_stays_possible(self):
        """The errors of its parts are known together only."""
        parts = [SubsetScore(name=name, score=99.0, item_count=5) for name in "ab"]
        low, high = interval(self.score(*parts, score=99.0, standard_error=2.0))
        assert (low, high) == (pytest.approx(99 - 1.959964 * 2), 100)
        assert interval(self.score(*parts)) is None
