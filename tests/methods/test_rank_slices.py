"""A frozen slice does not move, and merging gives one pair of factors back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.methods import rank_slices
from harness.structured.modeling_structured import Factorised


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 12), Factorised(12, 10, 6, bias=True), nn.Linear(6, 4))


X = torch.randn(5, 8, generator=torch.Generator().manual_seed(1))


def train(model, steps=3):
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.1, weight_decay=0.5)
    for _ in range(steps):
        model(X).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("side", ["tail", "head"])
@pytest.mark.parametrize("fraction", [0.01, 0.3, 1.0])
class TestSplit:
    def test_computes_the_same(self, model, side, fraction):
        """A_f B_f + A_t B_t is A B, before anything is trained; merged at once it is the same bits."""
        expected, state = model(X), {name: value.clone() for name, value in model.state_dict().items()}
        assert rank_slices.split(model, fraction, side=side) == ("1",)
        torch.testing.assert_close(model(X), expected)
        assert rank_slices.merge(model) == ("1",)
        found = model.state_dict()
        assert list(found) == list(state)
        assert all(torch.equal(value, found[name]) for name, value in state.items())

    def test_frozen_ranks_do_not_move(self, model, side, fraction):
        """After training with decay the directions of the slice have moved, those outside have not, the rest has."""
        before = {name: value.clone() for name, value in model.state_dict().items()}
        rank_slices.split(model, fraction, side=side)
        train(model)
        computed = model(X)
        rank_slices.merge(model)
        torch.testing.assert_close(model(X), computed)
        after, count = model.state_dict(), max(1, int(10 * fraction))
        chosen = torch.arange(10) >= 10 - count if side == "tail" else torch.arange(10) < count
        for name, places in (("1.A.weight", (slice(None), chosen)), ("1.B.weight", (chosen,))):
            moved = (before[name] != after[name])[places]
            assert bool(moved.all())
            assert int((before[name] != after[name]).sum()) == moved.numel()
        assert not torch.equal(before["0.weight"], after["0.weight"])
        assert not torch.equal(before["1.A.bias"], after["1.A.bias"])
        assert all(parameter.requires_grad for parameter in model.parameters())


class TestRefusals:
    @pytest.mark.parametrize("fraction", [0.0, 1.5])
    def test_fraction(self, model, fraction):
        """A share of nothing, or of more than all."""
        with pytest.raises(ValueError, match="trained_fraction"):
            rank_slices.split(model, fraction)

    def test_nothing_factorised(self):
        """A model without factorised linears has nothing to split."""
        assert rank_slices.split(nn.Sequential(nn.Linear(2, 2)), 0.5) == ()
