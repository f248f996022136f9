"""Layers compete for units, and none is left on the table."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.errors import BudgetUnreachable
from harness.methods.allocation import by_worth, climb, keep_across, make_ladder, normalized
from harness.methods.selection import keep_top, legal_widths

LAYER = arrays(np.float64, st.integers(1, 20), elements=st.integers(0, 9).map(float))
LAYERS = st.lists(LAYER, min_size=1, max_size=4)
NORMALIZATIONS = st.sampled_from(["none", "mean", "norm"])


class TestKeepAcross:
    @given(
        scores=LAYERS,
        count=st.integers(0, 80),
        multiple=st.integers(1, 6),
        fraction=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
        normalization=NORMALIZATIONS,
    )
    def test_fits_and_no_layer_could_keep_more(self, scores, count, multiple, fraction, normalization):
        """Never more than asked; legal widths, the best units, the minimum of each layer; no step up fits;
        unreachable exactly where the smallest widths are too many, and then it says how many these are."""
        legal = [[w for w in legal_widths(len(each), multiple) if w >= fraction * len(each)] for each in scores]
        options = {"multiple": multiple, "minimum_fraction": fraction, "normalization": normalization}
        if sum(widths[0] for widths in legal) > count:
            with pytest.raises(BudgetUnreachable, match=f"are {sum(widths[0] for widths in legal)} units"):
                keep_across(scores, count, **options)
            return
        kept = keep_across(scores, count, **options)
        total = sum(map(len, kept))
        assert total <= count
        for units, widths, each in zip(kept, legal, scores, strict=True):
            assert len(units) in widths
            np.testing.assert_array_equal(units, keep_top(each, len(units)))
            higher = [width for width in widths if width > len(units)]
            assert not higher or total - len(units) + higher[0] > count

    @given(scores=LAYERS, count=st.integers(4, 80))
    def test_one_by_one_it_is_the_top_of_all(self, scores, count):
        """With multiples of one, nothing dropped scores above anything kept, but where it is a layer's only unit."""
        kept = keep_across(scores, count, multiple=1)
        assert sum(map(len, kept)) == min(count, sum(map(len, scores)))
        dropped = [np.delete(each, units).max(initial=-1) for each, units in zip(scores, kept, strict=True)]
        lowest = [each[units].min() for each, units in zip(scores, kept, strict=True) if len(units) > 1]
        assert max(dropped) <= min(lowest, default=np.inf)

    @given(scores=LAYERS, count=st.integers(4, 60), more=st.integers(0, 20))
    def test_more_room_never_costs_a_unit_its_place_one_by_one(self, scores, count, more):
        """What stays with less stays with more."""
        fewer, wider = (keep_across(scores, room, multiple=1) for room in (count, count + more))
        assert all(set(a) <= set(b) for a, b in zip(fewer, wider, strict=True))

    @given(scores=LAYERS, count=st.integers(24, 80), factor=st.sampled_from([0.5, 4.0]), normalization=NORMALIZATIONS)
    def test_the_unit_of_scores_does_not_matter(self, scores, count, factor, normalization):
        """Scaled all alike, the same units stay."""
        options = {"multiple": 2, "normalization": normalization}
        first = keep_across(scores, count, **options)
        second = keep_across([each * factor for each in scores], count, **options)
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))

    def test_normalization_decides_whether_loud_layers_win(self):
        """As they are, the layer with the larger scores takes all; divided by their mean, both keep the same."""
        quiet = np.arange(1.0, 9)
        loud = 100 * quiet
        assert [len(units) for units in keep_across([quiet, loud], 8, multiple=2)] == [2, 6]
        for normalization in ("mean", "norm"):
            kept = keep_across([quiet, loud], 8, multiple=2, normalization=normalization)
            assert [len(units) for units in kept] == [4, 4]

    def test_rounds_to_128_by_default(self):
        """As the devices like it."""
        scores = list(np.random.default_rng(0).random((3, 1000)))
        assert all(len(units) % 128 == 0 for units in keep_across(scores, 2000))

    def test_refuses(self):
        """What cannot be ranked, and options out of range."""
        for scores in ([], [np.array([1.0, np.nan])]):
            with pytest.raises(ValueError, match="finite, of at least one layer"):
                keep_across(scores, 1)
        for options in ({"multiple": 0}, {"minimum_fraction": 1.1}):
            with pytest.raises(ValueError, match="multiple must be at least 1 and minimum_fraction in"):
                keep_across([np.ones(3)], 1, **options)


class TestNormalized:
    @given(scores=LAYERS)
    def test_layers_have_the_same_size_after(self, scores):
        """Mean 1 or norm 1; a layer of zeros stays one; the order within a layer stays."""
        for name, size in (("mean", np.mean), ("norm", np.linalg.norm)):
            for before, after in zip(scores, normalized(scores, name), strict=True):
                assert size(after) == pytest.approx(1.0 if before.any() else 0.0)
                np.testing.assert_array_equal(np.argsort(after, kind="stable"), np.argsort(before, kind="stable"))


class TestLadder:
    @given(scores=LAYER, multiple=st.integers(1, 6))
    def test_worth_falls(self, scores, multiple):
        """The best units come first."""
        worth = make_ladder(scores, multiple=multiple).worth
        assert all(high >= low - 1e-12 for high, low in pairwise(worth))

    @given(scores=LAYERS)
    def test_every_step_is_in_the_order_once(self, scores):
        """As often as its ladder has steps, and dearer units come later."""
        ladders = [make_ladder(each, multiple=2) for each in scores]
        steps = {number: len(ladder.worth) for number, ladder in enumerate(ladders) if ladder.worth}
        assert Counter(by_worth(ladders)) == steps
        same = [make_ladder(np.arange(8.0), multiple=2)] * 2
        assert by_worth(same, [2.0, 1.0])[0] == 1


class TestClimb:
    @given(
        order=st.lists(st.integers(0, 3), max_size=20),
        costs=st.tuples(*[st.integers(1, 9)] * 4),
        limit=st.integers(0, 99),
    )
    def test_goes_as_far_as_the_limit_and_no_step_is_left(self, order, costs, limit):
        """Within the limit; of each ladder, the next step would go over it; nothing where the start does."""

        def cost(climbed):
            return 10 + sum(costs[number] * count for number, count in climbed.items())

        climbed = climb(order, cost, limit)
        if climbed is None:
            assert limit < 10
            return
        assert cost(climbed) <= limit
        for number, count in Counter(order).items():
            assert climbed[number] == count or cost(climbed) + costs[number] > limit
