"""Choices are the best within the limits: what trying all of them finds."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BudgetUnreachable
from harness.methods.scheduling import Choice, choose

choices = st.builds(
    lambda error, seconds, size: Choice(error=error, costs={"seconds": seconds / 1000, "bytes": size * 1e6}),
    st.integers(0, 50),
    st.integers(1, 20),
    st.integers(1, 20),
)
problems = st.lists(st.lists(choices, min_size=1, max_size=4), min_size=1, max_size=4)


def spent(layers, picked, name):
    return sum(options[number].costs[name] for options, number in zip(layers, picked, strict=True))


class TestChoose:
    @settings(max_examples=30)
    @given(problems, st.integers(1, 80), st.integers(1, 80))
    def test_as_good_as_trying_all(self, layers, most_s, most_bytes):
        """The least error within both limits, or a refusal exactly where nothing is within them."""
        # Half a step above what sums can be, so that rounding decides nothing.
        limits = {"seconds": (most_s + 0.5) / 1000, "bytes": (most_bytes + 0.5) * 1e6}
        allowed = [
            sum(options[number].error for options, number in zip(layers, picked, strict=True))
            for picked in itertools.product(*(range(len(options)) for options in layers))
            if all(spent(layers, picked, name) <= limit for name, limit in limits.items())
        ]
        if not allowed:
            with pytest.raises(BudgetUnreachable):
                choose(layers, limits)
            return
        picked = choose(layers, limits)
        assert all(spent(layers, picked, name) <= limit for name, limit in limits.items())
        assert sum(o[n].error for o, n in zip(layers, picked, strict=True)) == pytest.approx(min(allowed))

    def test_refusal_says_how_little_there_could_be(self):
        """With the resource and the least that it takes."""
        layers = [[Choice(error=1, costs={"seconds": 2.0})]] * 3
        with pytest.raises(BudgetUnreachable, match=r"seconds 5 \(at least 6 by itself\)"):
            choose(layers, {"seconds": 5.0})

    @pytest.mark.parametrize("layers", [[], [[]], [[Choice(error=float("nan"), costs={"seconds": 1.0})]]])
    def test_refused(self, layers):
        """Nothing to choose, or no numbers."""
        with pytest.raises(ValueError, match=r"layers must|finite"):
            choose(layers, {"seconds": 5.0})
