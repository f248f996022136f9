"""Ranks respect the limit, and use it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BudgetUnreachable
from harness.methods.ranks import LinearSize, count_weights, ranks_by_error, ranks_by_threshold, uniform_ranks

LINEARS = [
    LinearSize(path="a", out_count=40, in_count=20),
    LinearSize(path="b", out_count=20, in_count=60),
    LinearSize(path="c", out_count=32, in_count=32),
]
WHOLE = sum(linear.dense_count for linear in LINEARS)
LEAST = sum(linear.rank_count for linear in LINEARS)
limits = st.integers(LEAST, WHOLE + 10)


def falling_errors(seed=0):
    """Of every rank from 0 on, convex, of matrices with some spectrum."""
    rng = np.random.default_rng(seed)
    errors = {}
    for linear in LINEARS:
        squares = np.sort(rng.random(min(linear.out_count, linear.in_count)) ** 3)[::-1]
        errors[linear.path] = squares.sum() - np.concatenate([[0.0], squares.cumsum()])
    return errors


def total_error(ranks, errors):
    return sum(0.0 if rank is None else errors[path][rank] for path, rank in ranks.items())


def assert_saves(ranks):
    """No factors with more weights than the matrix."""
    for linear in LINEARS:
        assert linear.weights(ranks[linear.path]) <= linear.dense_count


class TestUniformRanks:
    @settings(max_examples=40, deadline=None)
    @given(limit=limits, multiple=st.sampled_from([1, 4]))
    def test_within_the_limit_and_close_to_it(self, limit, multiple):
        """Never over; under by at most one step of every linear."""
        try:
            ranks = uniform_ranks(LINEARS, limit, multiple=multiple)
        except BudgetUnreachable:
            assert multiple > 1
            return
        assert_saves(ranks)
        used = count_weights(LINEARS, ranks)
        assert used <= limit
        assert limit - used <= sum(2 * multiple * linear.rank_count for linear in LINEARS)

    def test_everything_fits(self):
        """With room for all, all stay dense."""
        assert set(uniform_ranks(LINEARS, WHOLE).values()) == {None}

    def test_unreachable(self):
        """One rank each is the least; the message has the number."""
        with pytest.raises(BudgetUnreachable, match=f"{LEAST}"):
            uniform_ranks(LINEARS, LEAST - 1)


class TestRanksByError:
    @settings(max_examples=40, deadline=None)
    @given(limit=limits, seed=st.integers(0, 5))
    def test_better_than_uniform(self, limit, seed):
        """On the error that it minimises, but for what the last step may cost."""
        errors = falling_errors(seed)
        ranks = ranks_by_error(LINEARS, limit, errors)
        assert_saves(ranks)
        assert count_weights(LINEARS, ranks) <= limit
        slack = max(-np.diff(each).min() for each in errors.values())
        assert total_error(ranks, errors) <= total_error(uniform_ranks(LINEARS, limit), errors) + slack

    def test_a_linear_that_matters_gets_more(self):
        """Ten times the error, a larger rank."""
        errors = falling_errors()
        before = ranks_by_error(LINEARS, WHOLE // 2, errors)
        after = ranks_by_error(LINEARS, WHOLE // 2, {**errors, "c": 10 * errors["c"]})
        assert (after["c"] or 99) > (before["c"] or 99)

    def test_unreachable(self):
        """The smallest ranks are the least that there is."""
        with pytest.raises(BudgetUnreachable):
            ranks_by_error(LINEARS, WHOLE // 4, falling_errors(), minimum_fraction=0.5)


class TestRanksByThreshold:
    @settings(max_examples=40, deadline=None)
    @given(share=st.floats(0.45, 1), seed=st.integers(0, 5))
    def test_the_lowest_threshold_within_the_limit(self, share, seed):
        """Within the limit; and with the pair of the next loss let in as well, still within, but smaller."""
        rng = np.random.default_rng(seed)
        fractions = [0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
        losses = {
            linear.path: dict(zip(fractions, np.sort(rng.random(6))[::-1].tolist(), strict=True)) for linear in LINEARS
        }
        limit = round(share * WHOLE)
        ranks = ranks_by_threshold(LINEARS, limit, losses)
        assert_saves(ranks)
        assert count_weights(LINEARS, ranks) <= limit
        used = {path: loss for path, loss in ((p, losses[p]) for p in losses) if ranks[path] is not None}
        assert all(ranks[path] in {s.rank_of(f) for s in LINEARS if s.path == path for f in fractions} for path in used)

    def test_one_sensitive_linear_stays_dense(self):
        """Its losses are all above the threshold that the others reach the limit with."""
        losses = {"a": {0.4: 9.0, 0.9: 8.0}, "b": {0.4: 2.0, 0.9: 1.0}, "c": {0.4: 2.0, 0.9: 1.0}}
        assert ranks_by_threshold(LINEARS, round(0.75 * WHOLE), losses)["a"] is None

    def test_unreachable(self):
        """No share below the smallest that was tried."""
        with pytest.raises(BudgetUnreachable):
            ranks_by_threshold(LINEARS, LEAST, {linear.path: {0.5: 1.0} for linear in LINEARS})
