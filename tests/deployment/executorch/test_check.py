"""The verdict of the check and its bound."""

from __future__ import annotations

import pytest

from harness.deployment.executorch.check import ExecutorchCheck, logit_bound

FOUND = ExecutorchCheck(
    dtype="float16",
    position_count=70,
    new_token_count=64,
    largest_logit=10.0,
    largest_difference=0.01,
    bound=0.02,
    first_difference=None,
    largest_gap=0.0,
)


class TestFault:
    def test_none_within_the_bound(self):
        """Logits within the bound are no fault, nor is another choice between tokens that it cannot tell apart."""
        assert FOUND.fault is None
        assert FOUND.model_copy(update={"first_difference": 3, "largest_gap": 0.04}).fault is None

    @pytest.mark.parametrize("difference", [0.021, float("inf"), float("nan")])
    def test_logits_beyond_the_bound(self, difference):
        """Larger differences are a fault, and so are logits that are no numbers."""
        assert "its logits differ" in FOUND.model_copy(update={"largest_difference": difference}).fault

    def test_a_choice_that_rounding_does_not_explain(self):
        """Another token is a fault where the checkpoint prefers its own by more than twice the bound."""
        assert "it chooses another token" in FOUND.model_copy(update={"largest_gap": 0.041}).fault


class TestBound:
    def test_grows_with_what_makes_errors_grow(self):
        """More layers, longer sums, larger logits and a coarser dtype allow more."""
        base = {"layer_count": 8, "sum_length": 1024, "logit_rms": 1.0}
        bound = logit_bound("float32", **base)
        for name, value in base.items():
            assert logit_bound("float32", **{**base, name: value * 2}) > bound
        assert logit_bound("float16", **base) > 100 * bound
