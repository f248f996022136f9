"""A model that reads nothing is told from one that reads."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.judge.variety import Variety


def seen(*batches):
    variety = Variety()
    for logits in batches:
        variety.see(logits)
    return variety.fault


class TestVariety:
    @given(st.integers(0, 2**31), st.integers(-50, 50))
    def test_the_same_row_everywhere_is_a_fault_whatever_is_added_to_it(self, seed, shift):
        """A shift of all logits of a position is the same distribution."""
        row = torch.randint(-99, 99, (7,), generator=torch.Generator().manual_seed(seed)) / 32
        assert "same" in seen(row + torch.tensor([[0.0], [float(shift)]]))

    def test_equal_logits_are_named_as_such(self):
        """Uniform is the special case that a zeroed head makes."""
        assert "same probability" in seen(torch.zeros(3, 5), torch.full((2, 5), 4.0))

    def test_one_position_that_differs_is_enough(self):
        """In whichever batch."""
        row = torch.tensor([[1.0, 2.0, 3.0]])
        assert seen(row.repeat(4, 1), torch.cat([row, row + torch.tensor([0.0, 0.1, 0.0])])) is None

    def test_one_position_alone_shows_nothing(self):
        """There is nothing to compare it with."""
        assert seen(torch.zeros(1, 5)) is None
        assert seen() is None

    def test_what_is_not_finite_is_another_s_to_say(self):
        """NaN is no constant."""
        assert seen(torch.tensor([[0.0, 1.0], [math.nan, 1.0]])) is None
