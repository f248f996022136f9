"""An accuracy is k of n: what fits, what cannot, and what says nothing."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.validation.foreign.granularity import betrays, chance, contradicts, fits

COUNTS = st.sampled_from([164, 202, 817, 1221, 1319, 2002])
DECIMALS = st.integers(2, 6)


class TestFits:
    @given(COUNTS, st.data(), DECIMALS)
    def test_whatever_is_k_of_n(self, count, data, decimals):
        """Every printed share of n items fits n, and means over three models fit 3n."""
        correct = data.draw(st.integers(0, 3 * count))
        percent = round(100 * correct / (3 * count), decimals)
        half_step = 0.5 * 10.0 ** (-decimals - 2)
        assert fits(percent / 100, half_step, [3 * count])
        assert not contradicts(percent / 100, half_step, [3 * count])

    @given(COUNTS, st.integers(1, 163))
    def test_a_value_between_two_items_contradicts(self, count, correct):
        """Half an item is none, where the print is fine enough to tell."""
        assert contradicts((correct + 0.5) / count, 0.5e-6, [count])

    @given(COUNTS, st.floats(0, 1))
    def test_a_coarse_print_says_nothing(self, count, share):
        """A number without decimals that tell contradicts nothing."""
        assume(chance(0.005, [count]) > 0.5)
        assert not contradicts(share, 0.005, [count])


class TestBetrays:
    def test_one_value_of_humaneval(self):
        """40.24 is 66 of 164 and no number of 1319."""
        tasks = {"humaneval": (164,), "gsm8k": (1319,)}
        assert betrays([(0.4024, 0.5e-4)], tasks) == "humaneval"

    @pytest.mark.parametrize("count", [1319, 2002])
    def test_one_coarse_value_betrays_nothing(self, count):
        """A fit that chance explains is no evidence."""
        assert betrays([(round(100 * 500 / count, 2) / 100, 0.5e-4)], {"task": (count,)}) is None

    @given(st.lists(st.integers(1, 1318), min_size=3, max_size=7))
    def test_several_values_do(self, counts):
        """Three scores of one task name it."""
        values = [(round(100 * count / 1319, 2) / 100, 0.5e-4) for count in counts]
        assert betrays(values, {"gsm8k": (1319,)}) == "gsm8k"

    def test_zeros_fit_everything_and_betray_nothing(self):
        """A task on which nobody scores anything is not evidence."""
        assert betrays([(0.0, 0.5e-4)] * 9, {"humaneval": (164,)}) is None
