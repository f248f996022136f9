"""Units fade out, are gone at the end, and are chosen by what the loss says of them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from harness.methods.batches import Batch
from harness.methods.gates import GATED_AXES, GatedModel
from harness.methods.soft_pruning import SoftPrunedModel, gate_scores, select
from tests.methods.gated import CASES, logits_of, make_tiny, tokens


def text_loss(features, batch):
    return functional.cross_entropy(logits_of(features)[:, :-1].flatten(0, 1), batch.labels[:, 1:].flatten())


@pytest.fixture(params=CASES)
def tiny(request, tmp_path):
    return make_tiny(request.param, tmp_path / "model")


class TestSoftPrunedModel:
    def test_fades_to_nothing(self, tiny):
        """Whole before, half-way in the middle, exactly cut in the last step and after it."""
        keep = {"intermediate": [torch.arange(96) % 2 == 0] * 2}
        soft = SoftPrunedModel(tiny.model, tiny.anatomy, keep, step_count=10).train()
        closed = [soft.gates(step)["intermediate"][0][1].item() for step in (0, 4, 9, 10)]
        assert closed == pytest.approx([0.9, 0.5, 0.0, 0.0])
        assert (soft.gates(3)["intermediate"][1][::2] == 1).all()
        cut = {axis: [row.float() for row in rows] for axis, rows in keep.items()}
        hard = GatedModel(tiny.model, tiny.anatomy)(tokens(), cut)
        assert torch.equal(soft(tokens(), step=9).hidden, hard.hidden)
        assert torch.equal(soft.eval()(tokens()).hidden, hard.hidden)


class TestGateScores:
    def test_a_unit_without_effect_has_score_zero_and_goes_first(self, tiny):
        """A channel whose column is zero has no slope along its gate."""
        down = tiny.anatomy.table.block.down
        with torch.no_grad():
            tiny.model.get_parameter(f"model.layers.1.{down}.weight")[:, 7] = 0
        batches = [Batch(token_ids=tokens(seed=s), labels=tokens(seed=s)) for s in (1, 2)]
        scores = gate_scores(tiny.model, tiny.anatomy, GATED_AXES, batches, text_loss)
        assert scores["intermediate"][1][7] == 0
        assert (scores["intermediate"][0] > 0).all()
        kept = select(scores, {"intermediate": 95})["intermediate"][1]
        assert not kept[7]
        assert kept.sum() == 95

    def test_slope_is_that_of_the_loss(self, tiny):
        """The score of one batch is the square of a finite difference along the gate."""
        batch = Batch(token_ids=tokens(), labels=tokens())
        score = gate_scores(tiny.model, tiny.anatomy, ("kv_group",), [batch], text_loss)["kv_group"][0][0]
        gated, values = GatedModel(tiny.model, tiny.anatomy), []
        for shift in (-1e-2, 1e-2):
            gates = {"kv_group": [torch.ones(size) for size in [s["kv_group"] for s in tiny.anatomy.layer_sizes]]}
            gates["kv_group"][0][0] += shift
            values.append(text_loss(gated(tokens(), gates), batch).item())
        assert score.sqrt().item() == pytest.approx(abs(values[1] - values[0]) / 2e-2, rel=0.05, abs=1e-3)
