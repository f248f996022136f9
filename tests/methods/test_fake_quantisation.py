"""Rounded values lie on so many levels; gradients pass straight through; 16 bits are nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from harness.methods.fake_quantisation import fake_quantised, quantise_weights, settle


class TestFakeQuantised:
    @given(st.integers(2, 8), st.integers(0, 100))
    def test_levels(self, bits, seed):
        """At most 2^b - 1 a row, zero among them, no value further off than half a step; done twice is done once."""
        values = torch.randn(4, 64, generator=torch.Generator().manual_seed(seed))
        made = fake_quantised(values, bits)
        step = values.abs().amax(-1, keepdim=True) / (2 ** (bits - 1) - 1)
        assert all(len(row.unique()) <= 2**bits - 1 for row in made)
        assert ((made - values).abs() <= step / 2 + 1e-6).all()
        assert torch.allclose(fake_quantised(made, bits), made, atol=1e-6)

    def test_sixteen_bits(self):
        """What models are stored in anyway: the same tensor."""
        values = torch.randn(3)
        assert fake_quantised(values, 16) is values

    def test_gradient(self):
        """One within the clip, nothing beyond; a row of zeros is no division by zero."""
        values = torch.tensor([[0.3, -1.9, 2.1, -7.0], [0.0, 0.0, 0.0, 0.0]], requires_grad=True)
        fake_quantised(values, 4).sum().backward()
        assert values.grad.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]

    def test_one_bit(self):
        """Has no symmetric levels."""
        with pytest.raises(ValueError, match="at least 2"):
            fake_quantised(torch.ones(1), 1)


class TestQuantiseWeights:
    def test_trains_and_settles(self):
        """The model computes with rounded weights, its own are trained, and rounded ones are left."""
        model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
        before = model[0].weight.detach().clone()
        quantise_weights(model, {"0": 3, "1": 16})
        assert torch.equal(model[0].weight, fake_quantised(before, 3))
        model(torch.ones(1, 8)).sum().backward()
        assert model[0].parametrizations.weight.original.grad.abs().sum() > 0
        settle(model)
        assert sorted(model.state_dict()) == ["0.bias", "0.weight", "1.bias", "1.weight"]
        assert torch.equal(model[0].weight, fake_quantised(before, 3))
