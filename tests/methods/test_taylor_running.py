"""However a Taylor score is run - in portions, recomputed, over fused linears - it is the same, and leaves no trace."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.methods.taylor import taylor
from tests.methods.scoring import (
    AXES,
    CASES,
    ORDERS,
    Tiny,
    make_batches,
    make_tiny,
    next_token_loss,
    structured,
    taylor_scores,
)


@pytest.fixture(params=CASES)
def tiny(request):
    return make_tiny(request.param)


class TestRunning:
    @pytest.mark.parametrize("order", ORDERS)
    def test_gradient_checkpointing_changes_nothing(self, tiny, order):
        """Activations are computed again, gradients are the same."""
        plain = taylor_scores(tiny, order=order)
        tiny.model.activation_checkpointing_enable()
        tiny.model.train()
        again = taylor_scores(tiny, order=order)
        for axis in AXES:
            np.testing.assert_allclose(np.stack(again[axis]), np.stack(plain[axis]), rtol=1e-9)

    @pytest.mark.parametrize("order", ORDERS)
    def test_layers_one_by_one_are_the_same(self, tiny, order):
        """Less at a time, the same scores."""
        plain, parted = taylor_scores(tiny, order=order), taylor_scores(tiny, order=order, layers_at_once=1)
        for axis in AXES:
            np.testing.assert_allclose(np.stack(parted[axis]), np.stack(plain[axis]), rtol=1e-12)

    @pytest.mark.parametrize("compat", [None, "llm-pruner-gqa"])
    @pytest.mark.parametrize("order", ["first", "vectorized", "second"])
    def test_fused_linears_are_the_same(self, tiny, tmp_path, order, compat):
        """Rows of a fused linear count for the units that they had before, and its way of being wrong is the same;
        layer 1 has no factorised linear."""
        found = taylor_scores(structured(tiny, tmp_path), order=order, compat=compat)
        expected = taylor_scores(tiny, order=order, compat=compat)
        for axis in AXES:
            np.testing.assert_allclose(found[axis][1], expected[axis][1], rtol=1e-3)

    def test_the_model_is_left_as_it_was(self, tiny):
        """Weights, what requires a gradient, and gradients that stood there; also where the loss fails."""
        weights = {name: parameter.detach().clone() for name, parameter in tiny.model.named_parameters()}
        frozen = tiny.model.get_parameter("lm_head.weight").requires_grad_(requires_grad=False)
        kept = tiny.model.get_parameter("model.layers.0.self_attn.q_proj.weight")
        kept.grad = torch.ones_like(kept)

        def failing(model, batch):
            raise KeyError

        taylor_scores(tiny)
        with pytest.raises(KeyError):
            taylor_scores(tiny, loss=failing)
        assert (kept.grad == 1).all()
        assert [parameter for parameter in tiny.model.parameters() if parameter.grad is not None] == [kept]
        assert [parameter for parameter in tiny.model.parameters() if not parameter.requires_grad] == [frozen]
        assert all(torch.equal(parameter, weights[name]) for name, parameter in tiny.model.named_parameters())
        assert not any(parameter._post_accumulate_grad_hooks for parameter in tiny.model.parameters())

    @pytest.mark.parametrize("order", ["vectorized", "second", "first"])
    def test_one_gradient_is_held_at_a_time(self, order):
        """With one batch no order keeps a gradient of a tensor when the next one's arrives."""
        tiny = make_tiny("llama")
        held = []

        def count(_):
            held.append(sum(each.grad is not None for each in tiny.model.parameters()))

        def watched(model, batch):
            asked = [parameter for parameter in model.parameters() if parameter.requires_grad]
            handles.extend(parameter.register_post_accumulate_grad_hook(count) for parameter in asked)
            return next_token_loss(model, batch)

        handles = []
        taylor_scores(tiny, batches=make_batches(1), loss=watched, order=order)
        for handle in handles:
            handle.remove()
        assert len(held) == sum(len(tiny.anatomy.linears(layer)) for layer in range(2))
        assert max(held) == 0

    def test_a_loss_that_does_not_reach_a_layer_is_refused(self, tiny):
        """Silence would score its units zero."""
        with pytest.raises(ValueError, match="backward passes must bring a gradient each, found 0"):
            taylor_scores(
                tiny, loss=lambda model, _: model.get_parameter("model.layers.0.self_attn.q_proj.weight").sum()
            )

    def test_refuses_what_makes_no_scores(self, tiny):
        """Batches, axes, portions and models that are none."""
        with pytest.raises(ValueError, match="got none"):
            taylor(tiny.model, tiny.anatomy, AXES, [], next_token_loss)
        with pytest.raises(
            ValueError, match="axis must be one of a layer's, intermediate, kv_group, head, got 'hidden'"
        ):
            taylor_scores(tiny, ("hidden",))
        with pytest.raises(ValueError, match="layers_at_once"):
            taylor_scores(tiny, layers_at_once=0)
        deeper = Tiny(tiny.model, make_tiny(tiny.anatomy.table.model_type, layers=3).anatomy)
        with pytest.raises(ValueError, match=r"no 'model\.layers\.2"):
            taylor_scores(deeper)
