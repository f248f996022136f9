"""Intervals over items: what holds for every table of answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.judge.uncertainty import standard_error, wilson
from harness.ranking.intervals import binomial_interval, difference_interval, normal_p_value, share_interval
from tests.ranking.make import items

MODELS = st.integers(1, 3)


@st.composite
def answers(draw, models=MODELS):
    sizes = tuple(draw(st.lists(st.integers(2, 9), min_size=1, max_size=4)))
    rows = draw(models)
    bits = draw(
        st.lists(st.lists(st.booleans(), min_size=sum(sizes), max_size=sum(sizes)), min_size=rows, max_size=rows)
    )
    return items(bits, subsets=sizes)


class TestShareInterval:
    @given(found=answers())
    def test_is_the_mean_over_models_and_subsets(self, found):
        """As the task is scored, within its interval, within 0 and 1."""
        ends = np.cumsum(found.subset_sizes)
        wanted = np.mean(
            [
                [row[end - size : end].mean() for end, size in zip(ends, found.subset_sizes, strict=True)]
                for row in found.right
            ]
        )
        interval = share_interval(found)
        assert interval.value == pytest.approx(wanted)
        assert 0 <= interval.low <= interval.value + 1e-12
        assert interval.value <= interval.high + 1e-12 <= 1 + 1e-12

    @given(found=answers(models=st.just(1)))
    def test_error_of_one_model_is_the_judges(self, found):
        """Binomial in each subset."""
        ends = np.cumsum(found.subset_sizes)
        parts = [
            (float(found.right[0, end - size : end].mean()), size)
            for end, size in zip(ends, found.subset_sizes, strict=True)
        ]
        assert share_interval(found).standard_error == pytest.approx(standard_error(parts))

    def test_of_one_data_set_it_is_nearly_wilson(self):
        """With the scatter's n - 1 in the place of n."""
        found = share_interval(items([1] * 300 + [0] * 700))
        assert (found.low, found.high) == pytest.approx(wilson(0.3, 999), abs=1e-9)

    @pytest.mark.parametrize("answer", [0, 1])
    def test_nothing_right_has_an_interval(self, answer):
        """No scatter is not certainty."""
        found = share_interval(items([answer] * 164))
        assert found.value == answer
        assert found.high - found.low == pytest.approx(0.0229, abs=1e-4)
        assert {found.low, found.high} & {0.0, 1.0} == {float(answer)}

    def test_the_same_model_three_times_is_worth_one(self):
        """Answers to the same items do not count as more items."""
        row = [1, 0, 0, 1, 1, 0, 1, 0]
        one, three = share_interval(items(row)), share_interval(items([row] * 3))
        assert (three.low, three.high) == pytest.approx((one.low, one.high))

    def test_items_that_the_metric_leaves_out_do_not_count(self):
        """TruthfulQA skips empty answers: the share is of the others."""
        found = share_interval(items([1, 0, 1, 0], counted=[True, True, True, False]))
        assert found.value == pytest.approx(2 / 3)


class TestDifferenceInterval:
    @given(found=answers(), data=st.data())
    def test_turns_round_with_its_sides(self, found, data):
        """First minus second is minus second minus first; the value is the difference of the scores."""
        flips = data.draw(st.lists(st.booleans(), min_size=found.right.size, max_size=found.right.size))
        right = found.right ^ np.array(flips, dtype=np.uint8).reshape(found.right.shape)
        other = items(right, subsets=found.subset_sizes)
        there, back = difference_interval(found, other), difference_interval(other, found)
        assert there.value == pytest.approx(share_interval(found).value - share_interval(other).value)
        assert (there.low, there.high) == pytest.approx((-back.high, -back.low))

    def test_two_equal_entries_still_have_an_interval(self):
        """Around 0, and shorter with more items."""
        small, large = (difference_interval(items([1, 0] * n), items([1, 0] * n)) for n in (20, 500))
        assert small.value == 0
        assert small.low < large.low < 0 < large.high < small.high

    def test_pairing_is_sharper_than_two_intervals(self):
        """Entries that fail on the same items are told apart by fewer."""
        first = items([1] * 60 + [0] * 40)
        second = items([1] * 50 + [0] * 50)
        apart = difference_interval(first, second)
        assert apart.low > 0
        assert binomial_interval(0.6, 100).low < binomial_interval(0.5, 100).high

    def test_other_items_cannot_be_paired(self):
        """However many they are."""
        with pytest.raises(ValueError, match="same items"):
            difference_interval(items([1]), items([1], key="others"))


class TestNormalPValue:
    def test_two_standard_errors(self):
        """4.55 %, on either side; nothing without a difference."""
        assert normal_p_value(2.0, 1.0) == pytest.approx(0.0455, abs=1e-4)
        assert normal_p_value(-2.0, 1.0) == normal_p_value(2.0, 1.0)
        assert normal_p_value(0.0, 0.0) == 1
