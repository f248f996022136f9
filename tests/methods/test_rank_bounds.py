"""What is said of a search before it runs is true of it, whatever the losses turn out to be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BudgetUnreachable
from harness.methods.rank_bounds import bounds_by_error, bounds_by_threshold, bounds_of_top_k
from harness.methods.rank_search import TopKSettings, possible_ranks, search_top_k
from harness.methods.ranks import LinearSize, count_weights, even_ranks, ranks_by_error, ranks_by_threshold

LINEARS = [
    LinearSize(path="a", out_count=40, in_count=20),
    LinearSize(path="b", out_count=20, in_count=60),
    LinearSize(path="c", out_count=32, in_count=32),
    LinearSize(path="d", out_count=96, in_count=16),
]
WHOLE = sum(linear.dense_count for linear in LINEARS)
FRACTIONS = (0.2, 0.4, 0.6, 0.8)
each_limit = {"limit": st.integers(0, WHOLE + 50), "multiple": st.sampled_from([1, 3]), "seed": st.integers(0, 99)}


class RandomProbe:
    """Losses that have nothing to do with ranks: every order of steps may come up."""

    factorisation_count = trial_count = 0

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def set(self, path, rank):
        """Nothing to compute."""

    def loss(self):
        return float(self.rng.random())


def outcome(bounds_of, search):
    """Bounds and what came of it, or None where both refuse."""
    try:
        bounds = bounds_of()
    except BudgetUnreachable:
        with pytest.raises(BudgetUnreachable):
            search()
        return None
    return bounds, count_weights(LINEARS, search())


class TestBounds:
    @settings(max_examples=60, deadline=None)
    @given(**each_limit, whole_rounds=st.booleans(), top_k=st.integers(1, 5), minimum=st.sampled_from([0.05, 0.3]))
    def test_of_top_k(self, limit, multiple, seed, whole_rounds, top_k, minimum):
        """The search ends within them, and where they say that no search reaches the limit none does."""
        chosen = TopKSettings(multiple=multiple, whole_rounds=whole_rounds, top_k=top_k, minimum_fraction=minimum)
        found = outcome(
            lambda: bounds_of_top_k(LINEARS, limit, chosen),
            lambda: search_top_k(LINEARS, limit, RandomProbe(seed), chosen).ranks,
        )
        if found is not None:
            assert found[0].least <= found[1] <= found[0].most

    @settings(max_examples=60, deadline=None)
    @given(**each_limit, minimum=st.sampled_from([0.0, 0.3]))
    def test_by_error(self, limit, multiple, seed, minimum):
        """Likewise, with any errors that fall ever less."""
        rng = np.random.default_rng(seed)
        errors = {}
        for linear in LINEARS:
            squares = np.sort(rng.random(min(linear.out_count, linear.in_count)) ** 3)[::-1]
            errors[linear.path] = squares.sum() - np.concatenate([[0.0], squares.cumsum()])
        asked = {"multiple": multiple, "minimum_fraction": minimum}
        found = outcome(
            lambda: bounds_by_error(LINEARS, limit, **asked), lambda: ranks_by_error(LINEARS, limit, errors, **asked)
        )
        if found is not None:
            assert found[0].least <= found[1] <= found[0].most

    @settings(max_examples=60, deadline=None)
    @given(**each_limit)
    def test_by_threshold(self, limit, multiple, seed):
        """Likewise, with any losses."""
        rng = np.random.default_rng(seed)
        losses = {linear.path: {share: float(rng.random()) for share in FRACTIONS} for linear in LINEARS}
        found = outcome(
            lambda: bounds_by_threshold(LINEARS, limit, FRACTIONS, multiple=multiple),
            lambda: ranks_by_threshold(LINEARS, limit, losses, multiple=multiple),
        )
        if found is not None:
            assert found[0].least <= found[1] <= found[0].most

    def test_exact_where_everything_fits(self):
        """Then no search is made."""
        for bounds in (bounds_of_top_k(LINEARS, WHOLE, TopKSettings()), bounds_by_error(LINEARS, WHOLE)):
            assert bounds.is_exact
            assert bounds.most == WHOLE

    def test_within_one_step_of_the_limit(self):
        """A search that fills up leaves less than a rank of the largest linear."""
        bounds = bounds_of_top_k(LINEARS, WHOLE // 2, TopKSettings())
        assert bounds.most - bounds.least == max(linear.rank_count for linear in LINEARS) - 1


class TestEvenRanks:
    @settings(max_examples=40, deadline=None)
    @given(limit=st.integers(sum(linear.rank_count for linear in LINEARS), WHOLE - 1))
    def test_fills_up_evenly(self, limit):
        """Within what any search by error leaves; no linear has a rank more than its share where another lacks one."""
        ranks = even_ranks(LINEARS, limit)
        bounds = bounds_by_error(LINEARS, limit)
        assert bounds.least <= count_weights(LINEARS, ranks) <= bounds.most
        shares = [linear.weights(ranks[linear.path]) / linear.dense_count for linear in LINEARS]
        steps = [linear.rank_count / linear.dense_count for linear in LINEARS]
        assert max(shares) - min(shares) <= 2 * max(steps)


class TestPossibleRanks:
    def test_a_share_at_a_time(self):
        """Dense, then 0.85, 0.70, ... of the weights, down to more than the smallest share."""
        linear = LinearSize(path="a", out_count=100, in_count=300)
        ranks = possible_ranks(linear, TopKSettings(minimum_fraction=0.5))
        assert ranks == [None, 63, 52, 41]
