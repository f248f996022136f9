"""Selection keeps the best, and the budget is used as far as legal shapes go."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.errors import BudgetUnreachable
from harness.methods.selection import Widths, WidthSearch, keep_top, legal_widths, solve_budget

SCORES = arrays(np.float64, st.integers(1, 40), elements=st.integers(0, 5).map(float))


class TestKeepTop:
    @given(scores=SCORES, data=st.data())
    def test_keeps_the_best_in_order(self, scores, data):
        """Nothing dropped scores above anything kept; of equals the lower unit stays; the order of units survives."""
        count = data.draw(st.integers(1, len(scores)))
        keep = keep_top(scores, count)
        dropped = np.setdiff1d(np.arange(len(scores)), keep)
        assert len(keep) == count
        assert (np.diff(keep) > 0).all()
        for unit in dropped:
            rivals = keep[scores[keep] <= scores[unit]]
            assert (scores[rivals] == scores[unit]).all()
            assert (rivals < unit).all()

    @given(scores=SCORES, data=st.data())
    def test_more_weight_never_costs_a_unit_its_place(self, scores, data):
        """Raising the score of a kept unit keeps it."""
        count = data.draw(st.integers(1, len(scores)))
        unit = data.draw(st.sampled_from(keep_top(scores, count).tolist()))
        raised = scores.copy()
        raised[unit] += 1
        assert unit in keep_top(raised, count)

    @pytest.mark.parametrize("count", [0, 4])
    def test_refuses_impossible_counts(self, count):
        """One to all."""
        with pytest.raises(ValueError, match=r"count must be in 1\.\.3"):
            keep_top(np.zeros(3), count)

    def test_refuses_what_cannot_be_ranked(self):
        """NaN has no place in an order."""
        with pytest.raises(ValueError, match="finite"):
            keep_top(np.array([1.0, np.nan]), 1)


@st.composite
def searches(draw):
    """A model whose parameters grow with both widths; some group counts are illegal."""
    base = Widths(kv_groups=draw(st.integers(1, 6)), intermediate=draw(st.integers(1, 40)))
    fixed, per_group, per_channel = draw(st.integers(0, 50)), draw(st.integers(1, 60)), draw(st.integers(1, 9))
    illegal = draw(st.sets(st.integers(1, 5), max_size=3)) - {base.kv_groups}
    return WidthSearch(
        base=base,
        round_to=draw(st.integers(1, 12)),
        cut_kv_groups=draw(st.booleans()),
        cut_intermediate=draw(st.booleans()),
        count=lambda widths: fixed + per_group * widths.kv_groups + per_channel * widths.intermediate,
        is_legal=lambda widths: widths.kv_groups not in illegal,
    )


def legal_shapes(search):
    groups = range(1, search.base.kv_groups + 1) if search.cut_kv_groups else [search.base.kv_groups]
    width = search.base.intermediate
    widths = [w for w in range(1, width + 1) if w == width or (search.cut_intermediate and w % search.round_to == 0)]
    widths = widths if search.cut_intermediate else [width]
    shapes = [Widths(kv_groups=g, intermediate=w) for g in groups for w in widths]
    return [shape for shape in shapes if search.is_legal(shape)]


class TestSolveBudget:
    @given(search=searches(), budget=st.integers(0, 800))
    def test_against_every_legal_shape(self, search, budget):
        """Within the budget, legal, no wider legal sibling fits; unreachable exactly where nothing fits."""
        fitting = [shape for shape in legal_shapes(search) if search.count(shape) <= budget]
        if not fitting:
            with pytest.raises(BudgetUnreachable) as caught:
                solve_budget(search, budget)
            assert f"{min(map(search.count, legal_shapes(search))):,} (" in str(caught.value)
            return
        found = solve_budget(search, budget)
        assert found in fitting
        siblings = [shape.intermediate for shape in fitting if shape.kv_groups == found.kv_groups]
        assert found.intermediate == max(siblings)

    @given(search=searches())
    def test_a_whole_budget_removes_nothing(self, search):
        """What fits as it is stays as it is."""
        assert solve_budget(search, search.count(search.base)) == search.base

    @given(search=searches(), budget=st.integers(0, 800), more=st.integers(0, 100))
    def test_more_budget_is_never_less_balanced_for_the_same_groups(self, search, budget, more):
        """With more to spend, the same number of groups leaves at least as many channels."""
        try:
            first, second = solve_budget(search, budget), solve_budget(search, budget + more)
        except BudgetUnreachable:
            return
        if first.kv_groups == second.kv_groups:
            assert second.intermediate >= first.intermediate

    def test_both_axes_lose_the_same_share(self):
        """Half of the budget of a model whose axes weigh alike is half of each."""
        search = WidthSearch(
            base=Widths(kv_groups=8, intermediate=80),
            round_to=10,
            cut_kv_groups=True,
            cut_intermediate=True,
            count=lambda widths: 10 * widths.kv_groups + widths.intermediate,
            is_legal=lambda widths: widths.intermediate > 0,
        )
        assert solve_budget(search, 80) == Widths(kv_groups=4, intermediate=40)


@given(base=st.integers(1, 500), round_to=st.integers(1, 130))
def test_legal_widths_ascend_to_the_base(base, round_to):
    """Multiples, and the base's own width whatever it is."""
    widths = legal_widths(base, round_to)
    assert list(widths) == sorted(set(widths))
    assert widths[-1] == base
    assert all(width % round_to == 0 for width in widths[:-1])
