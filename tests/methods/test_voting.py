"""A vote is a distribution; those who agree get what they agree on."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.methods.voting import vote


def random_logits(seed, exits):
    return list(torch.randn(exits, 2, 3, 7, generator=torch.Generator().manual_seed(seed)))


class TestVote:
    @given(st.integers(0, 100), st.integers(1, 5), st.sampled_from(["max", "mean"]))
    def test_sums_to_one(self, seed, exits, how):
        """At every place."""
        assert torch.allclose(vote(random_logits(seed, exits), how).sum(-1), torch.ones(2, 3))

    @given(st.integers(0, 100), st.integers(1, 5), st.sampled_from(["max", "mean"]))
    def test_equal_distributions(self, seed, exits, how):
        """The vote of equals is what each of them says."""
        (logits,) = random_logits(seed, 1)
        assert torch.allclose(vote([logits] * exits, how), logits.softmax(-1), atol=1e-6)

    @given(st.integers(0, 100), st.permutations(range(4)))
    def test_order_means_nothing(self, seed, order):
        """Exits are not told apart."""
        logits = random_logits(seed, 4)
        assert torch.equal(vote([logits[place] for place in order]), vote(logits))

    def test_published(self):
        """The largest of each, made to sum to one."""
        first, second = torch.tensor([0.5, 0.5, 1e-9]).log(), torch.tensor([0.1, 0.8, 0.1]).log()
        assert torch.allclose(vote([first, second]), torch.tensor([0.5, 0.8, 0.1]) / 1.4, atol=1e-6)

    def test_nobody(self):
        """There is no vote without exits."""
        with pytest.raises(ValueError, match="at least one exit"):
            vote([])
