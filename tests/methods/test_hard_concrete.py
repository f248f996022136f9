"""The gates' distribution, and what is left of it after training."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.methods.hard_concrete import deterministic, open_probability, sample

LOG_ALPHA = st.lists(st.floats(-4.5, 4.5, width=32), min_size=1, max_size=30).map(torch.tensor)


class TestSample:
    @pytest.mark.parametrize("log_alpha", [-4.0, -1.0, 0.0, 2.0, 4.0])
    def test_open_as_often_as_stated(self, log_alpha):
        """The share of gates above 0 among many is the closed form."""
        torch.manual_seed(0)
        row = torch.full((200_000,), log_alpha)
        assert (sample(row) > 0).float().mean().item() == pytest.approx(open_probability(row)[0].item(), abs=5e-3)

    @given(LOG_ALPHA)
    def test_within_bounds(self, log_alpha):
        """Never below 0, never above 1."""
        gates = sample(log_alpha)
        assert ((gates >= 0) & (gates <= 1)).all()


class TestOpenProbability:
    @given(LOG_ALPHA)
    def test_grows_with_log_alpha(self, log_alpha):
        """A larger log-alpha never closes a gate."""
        assert (open_probability(log_alpha + 0.5) >= open_probability(log_alpha)).all()


class TestDeterministic:
    @given(LOG_ALPHA, st.integers(0, 30))
    def test_keeps_as_many_as_asked_and_the_largest(self, log_alpha, count):
        """Exactly so many are open, none of them smaller than a closed one."""
        gates = deterministic(log_alpha, count)
        kept = gates > 0
        assert kept.sum() == min(count, len(log_alpha))
        if kept.any() and (~kept).any():
            assert log_alpha[kept].min() >= log_alpha[~kept].max()
