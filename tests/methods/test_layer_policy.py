"""Layer policies: sums hold, the most sensitive layer loses least, layers go by number, budgets are met by counting."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.methods.budget import fit_parameters, uniform_family
from harness.methods.layer_policy import bit_widths, policy_family, pruning_ratios
from harness.surgery.count import parameter_count
from tests.methods.scoring import make_tiny

ANATOMY = make_tiny("llama", layers=3).anatomy
AXES = ("kv_group", "intermediate")
error_lists = st.lists(st.floats(0, 1e6), min_size=1, max_size=40)


def numbered(values):
    return dict(enumerate(values))


class TestPruningRatios:
    @given(error_lists, st.floats(0, 1), st.floats(0.05, 1), st.floats(0, 1))
    def test_sums(self, errors, share, largest, strength):
        """Clamped or not, blended or not, the mean is what was asked and no layer loses more than it may."""
        ratios = pruning_ratios(numbered(errors), share * largest, largest=largest, strength=strength)
        assert sum(ratios) == pytest.approx(share * largest * len(errors), rel=1e-9, abs=1e-9)
        assert min(ratios) >= -1e-12
        assert max(ratios) <= largest + 1e-12

    @given(error_lists, st.floats(0, 1))
    def test_sensitive_layers_lose_less(self, errors, mean):
        """Of any two layers, the one with the larger error loses no more."""
        ratios = pruning_ratios(numbered(errors), mean)
        by_error = [ratios[layer] for layer in np.argsort(errors, kind="stable")]
        assert all(later <= earlier + 1e-12 for earlier, later in pairwise(by_error))

    def test_published(self):
        """Below the clamp: the most sensitive layer loses nothing, the others in proportion to 1 - t."""
        assert pruning_ratios({0: 5.0, 1: 1.0, 2: 3.0}, 0.3) == pytest.approx((0.0, 0.6, 0.3))

    @given(st.permutations(range(6)))
    def test_order_of_the_errors_means_nothing(self, order):
        """Found in any order, an error stays its own layer's: the released code mixes them up here."""
        errors = {layer: float(layer * layer) for layer in range(6)}
        assert pruning_ratios({layer: errors[layer] for layer in order}, 0.4) == pruning_ratios(errors, 0.4)

    @given(error_lists, st.floats(0, 0.9), st.floats(0, 0.1))
    def test_grows_with_the_mean(self, errors, mean, more):
        """Asked for more, no layer loses less."""
        before = pruning_ratios(numbered(errors), mean)
        after = pruning_ratios(numbered(errors), mean + more)
        assert all(b <= a + 1e-9 for b, a in zip(before, after, strict=True))

    @pytest.mark.parametrize("errors", [{}, {1: 1.0}, {0: 1.0, 2: 1.0}, {0: float("nan")}])
    def test_refuses_errors_that_do_not_cover_the_layers(self, errors):
        """A gap, nothing at all, or no number."""
        with pytest.raises(ValueError, match="errors must be"):
            pruning_ratios(errors, 0.5)

    def test_refuses_more_than_all(self):
        """The mean cannot lie above what one layer may lose."""
        with pytest.raises(ValueError, match="mean_ratio"):
            pruning_ratios({0: 1.0}, 0.6, largest=0.5)


class TestBitWidths:
    @given(error_lists, st.integers(2, 8))
    def test_sensitive_layers_get_more(self, errors, bits):
        """One of two widths, the larger exactly from the mean error up."""
        found = bit_widths(numbered(errors), bits)
        assert found == tuple(bits + (error >= np.mean(errors)) for error in errors)


class TestPolicyFamily:
    @settings(max_examples=25)
    @given(st.lists(st.floats(0, 10), min_size=3, max_size=3), st.floats(0, 1), st.floats(0, 1), st.integers(1, 12))
    def test_budget(self, errors, fraction, strength, multiple):
        """Never over, and no legal step up on any rail would fit any more."""
        generator = np.random.default_rng(0)
        scores = {axis: [generator.random(sizes[axis]) for sizes in ANATOMY.layer_sizes] for axis in AXES}
        by_axis = {axis: numbered(errors) for axis in AXES}
        family = policy_family(ANATOMY, scores, by_axis, multiples={"intermediate": multiple}, strength=strength)
        least = family.parameter_count({})
        budget = least + round(fraction * (parameter_count(ANATOMY.config) - least))
        plan = fit_parameters(family, budget)
        assert parameter_count(ANATOMY.config, plan) <= budget
        kept = {(rail.axis, rail.layers[0]): plan.sizes(ANATOMY, rail.layers[0])[rail.axis] for rail in family.rails}
        climbed = {n: rail.widths.index(kept[rail.axis, rail.layers[0]]) for n, rail in enumerate(family.rails)}
        for number, rail in enumerate(family.rails):
            if climbed[number] + 1 < len(rail.widths):
                assert family.parameter_count({**climbed, number: climbed[number] + 1}) > budget

    @pytest.mark.parametrize("errors", [[1.0, 1.0, 1.0], [3.0, 1.0, 2.0]])
    def test_strength_0_is_uniform(self, errors):
        """The axes share every budget as they do where all layers have one width."""
        scores = {axis: [np.arange(sizes[axis]) * 1.0 for sizes in ANATOMY.layer_sizes] for axis in AXES}
        alike = uniform_family(ANATOMY, scores, multiples={"intermediate": 4})
        by_axis = {axis: numbered(errors) for axis in AXES}
        policy = policy_family(ANATOMY, scores, by_axis, multiples={"intermediate": 4}, strength=0.0)
        for steps in range(len(alike.order) + 1):
            climbed = Counter(alike.order[:steps])
            plan = fit_parameters(policy, alike.parameter_count(climbed))
            assert plan == alike.plan(climbed)

    def test_the_robust_layer_goes_first(self):
        """At a budget that asks for little, only the layer with the least error is narrower."""
        scores = {"intermediate": [np.arange(sizes["intermediate"]) * 1.0 for sizes in ANATOMY.layer_sizes]}
        family = policy_family(
            ANATOMY, scores, {"intermediate": {0: 9.0, 1: 8.99, 2: 0.0}}, multiples={"intermediate": 1}
        )
        plan = fit_parameters(family, parameter_count(ANATOMY.config) - 1)
        widths = [plan.sizes(ANATOMY, layer)["intermediate"] for layer in range(3)]
        full = ANATOMY.sizes["intermediate"]
        assert widths == [full, full, full - 1]
