"""Computing layers again changes what a backward pass holds, and nothing that it finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.methods.recompute import recomputing
from tests.methods.scoring import CASES, make_batches, make_tiny, next_token_loss, structured, taylor_scores


def gradients(model, batch):
    next_token_loss(model, batch).backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    return found


@pytest.fixture(params=[*CASES, "structured"])
def tiny(request, tmp_path):
    return structured(make_tiny("llama"), tmp_path) if request.param == "structured" else make_tiny(request.param)


class TestRecomputing:
    def test_gradients_are_the_same(self, tiny):
        """Inside the block and after it, and the layers are as they were."""
        (batch,) = make_batches(1)
        before = gradients(tiny.model, batch)
        with recomputing(tiny.model):
            within = gradients(tiny.model, batch)
        assert all("forward" not in vars(layer) for layer in tiny.model.base_model.layers)
        after = gradients(tiny.model, batch)
        for name, expected in before.items():
            torch.testing.assert_close(within[name], expected, rtol=1e-12, atol=1e-14)
            assert torch.equal(after[name], expected)

    def test_taylor_scores_are_the_same(self, tiny):
        """Every hook finds one gradient a batch."""
        expected = taylor_scores(tiny)
        with recomputing(tiny.model):
            found = taylor_scores(tiny)
        for axis, layers in expected.items():
            for scores, same in zip(found[axis], layers, strict=True):
                np.testing.assert_allclose(scores, same, rtol=1e-10)

    def test_layers_hold_less(self):
        """Between forward and backward pass fewer values are kept, and with more layers by more."""

        def kept(layers, block):
            tiny, (batch,) = make_tiny("llama", layers=layers), make_batches(1)
            sizes = []
            hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t)
            with block(tiny.model), hooks:
                next_token_loss(tiny.model, batch)
            return sum(sizes)

        from contextlib import nullcontext

        saved = [kept(layers, lambda _: nullcontext()) - kept(layers, recomputing) for layers in (1, 4)]
        assert 0 < saved[0] < saved[1] / 3

    def test_a_failure_restores(self):
        """Whatever happens inside."""
        tiny = make_tiny("llama")
        with pytest.raises(RuntimeError, match="inside"), recomputing(tiny.model):
            raise RuntimeError("inside")
        assert all("forward" not in vars(layer) for layer in tiny.model.base_model.layers)
