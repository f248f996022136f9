"""Gated models compute what their folded and cut selves compute, for every architecture."""

from __future__ import annotations

import pytest
import torch

from harness.errors import UsageError
from harness.methods import models
from harness.methods.gates import GatedModel, fold, gated_weights, open_gates, plan_of_gates
from harness.surgery.apply import apply
from tests.methods.gated import CASES, logits_of, make_tiny, tokens

KEEPS = (
    {"kv_group": 1},
    {"head": 1},
    {"intermediate": 40},
    {"hidden": 48},
    {"layer": 1},
    {"hidden": 40, "kv_group": 1, "head": 1, "intermediate": 56, "layer": 1},
)


@pytest.fixture(params=CASES)
def tiny(request, tmp_path):
    return make_tiny(request.param, tmp_path / "model")


def fractional(tiny, keep, *, seed=3):
    """Gates between a half and 1 for the units that stay, chosen at random, and 0 for the others."""
    generator = torch.Generator().manual_seed(seed)
    gates = {}
    for axis, rows in open_gates(tiny.anatomy, tuple(keep)).items():
        gates[axis] = []
        for row in rows:
            stays = torch.randperm(len(row), generator=generator)[: min(keep[axis], len(row))]
            values = 0.5 + 0.5 * torch.rand(len(row), generator=generator)
            gates[axis].append(torch.zeros_like(row).index_copy(0, stays, values[stays]))
    return gates


class TestGatedModel:
    def test_open_gates_change_nothing(self, tiny):
        """With every gate at 1 the logits are the model's own."""
        features = GatedModel(tiny.model, tiny.anatomy)(tokens(), open_gates(tiny.anatomy))
        torch.testing.assert_close(logits_of(features), tiny.logits(tokens()), rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("keep", KEEPS, ids="+".join)
    def test_gated_equals_folded_and_cut(self, tiny, tmp_path, keep):
        """Cutting the closed units out of the folded weights gives the logits of the gated model."""
        gates = fractional(tiny, keep)
        with torch.no_grad():
            expected = logits_of(GatedModel(tiny.model, tiny.anatomy)(tokens(), gates))
        plan = plan_of_gates(tiny.anatomy, gates)
        fold(tiny.model, tiny.anatomy, gates)
        tiny.model.save_pretrained(tmp_path / "folded")
        cut = models.load(apply(tmp_path / "folded", plan, tmp_path / "cut"))
        # Multi-head attention has one query head for each KV group, and so none to cut.
        is_cut = any(count < tiny.anatomy.sizes[axis] for axis, count in keep.items())
        counts = [sum(p.numel() for p in model.parameters()) for model in (cut, tiny.model)]
        assert (counts[0] < counts[1]) == is_cut
        found = cut(input_ids=tokens(), use_cache=False).logits
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)

    def test_gradients_reach_gates_and_weights(self, tiny):
        """Every gate and every weight that it multiplies has a slope."""
        gates = {axis: [row.requires_grad_() for row in rows] for axis, rows in open_gates(tiny.anatomy).items()}
        logits_of(GatedModel(tiny.model, tiny.anatomy)(tokens(), gates)).square().mean().backward()
        assert all(row.grad.abs().sum() > 0 for rows in gates.values() for row in rows)
        weights = dict(tiny.model.named_parameters())
        assert all(weights[name].grad is not None for name in gated_weights(weights, tiny.anatomy, gates))

    def test_leaves_the_model_as_it_was(self, tiny):
        """Weights and norms are the stock ones again after a call."""
        before = tiny.logits(tokens())
        GatedModel(tiny.model, tiny.anatomy)(tokens(), fractional(tiny, KEEPS[-1]))
        assert torch.equal(tiny.logits(tokens()), before)

    def test_unknown_axis_is_told(self, tiny):
        """The vocabulary has no gates."""
        with pytest.raises(UsageError, match="hidden, kv_group, head, intermediate, layer"):
            open_gates(tiny.anatomy, ("vocab",))


class TestPlanOfGates:
    def test_whole_axes_are_not_named(self, tiny):
        """An axis of which all stay is no part of the plan."""
        assert plan_of_gates(tiny.anatomy, open_gates(tiny.anatomy)).axes == {}
