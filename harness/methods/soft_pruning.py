"""Soft pruning: units that are to go fade out while the rest learns to do without them, and are then cut.

    gate of a unit that goes at step s of T:   1 - (s + 1) / T            1 ──> 0, exactly 0 in the last step
    gate of a unit that stays:                 1

With a gate of 0 a unit has no effect, so cutting it after the last step changes nothing. The winners name the method
and define it nowhere; this is our reading. Which units go is decided before, by ``gate_scores``: the mean square of the
loss's slope along each gate, which is the diagonal Fisher information of removing the unit and, unlike scores by
weights, can be taken of every axis alike (Michel et al., arXiv 1905.10650, for heads).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from harness.methods.gates import GatedModel, open_gates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from transformers import PreTrainedModel

    from harness.methods.batches import Batch
    from harness.methods.distillation import Features
    from harness.surgery.anatomy import Anatomy

Selection = dict[str, list[torch.Tensor]]
"""Axis to one bool vector for each layer, or one for the model: which units stay."""


class SoftPrunedModel(nn.Module):
    """A model whose units outside of ``keep`` fade out over ``step_count`` steps."""

    def __init__(self, model: PreTrainedModel, anatomy: Anatomy, keep: Selection, step_count: int) -> None:
        super().__init__()
        self.gated = GatedModel(model, anatomy)
        self._keep, self._step_count = keep, step_count

    def gates(self, step: int) -> dict[str, list[torch.Tensor]]:
        """The gates of optimizer step ``step``."""
        left = 1 - min(step + 1, self._step_count) / self._step_count
        return {axis: [torch.where(stays, 1.0, left) for stays in rows] for axis, rows in self._keep.items()}

    def forward(self, token_ids: torch.Tensor, *, step: int = 0) -> Features:
        """Features of ``token_ids [B, T]`` at ``step``; after training, of the model without these units."""
        features: Features = self.gated(token_ids, self.gates(step if self.training else self._step_count))
        return features


def gate_scores(
    model: PreTrainedModel,
    anatomy: Anatomy,
    axes: Sequence[str],
    batches: Sequence[Batch],
    loss: Callable[[Features, Batch], torch.Tensor],
) -> dict[str, list[torch.Tensor]]:
    """How much the loss hangs on every unit of ``axes``: mean over batches of the squared slope along its gate.

    Args:
        model: What ``anatomy`` describes, in evaluation mode.
        anatomy: Of the model.
        axes: Any of ``harness.methods.gates.GATED_AXES``.
        batches: Each is one backward pass.
        loss: A scalar of features and batch.
    """
    gated = GatedModel(model, anatomy)
    gates = open_gates(anatomy, axes, device=str(model.device))
    vectors = [vector.requires_grad_() for rows in gates.values() for vector in rows]
    sums = [torch.zeros_like(vector) for vector in vectors]
    for batch in batches:
        slopes = torch.autograd.grad(loss(gated(batch.token_ids, gates), batch), vectors)
        sums = [total + slope.square() / len(batches) for total, slope in zip(sums, slopes, strict=True)]
    scores = iter(sums)
    return {axis: [next(scores) for _ in rows] for axis, rows in gates.items()}


def select(scores: Mapping[str, Sequence[torch.Tensor]], keep: Mapping[str, int]) -> Selection:
    """The ``keep`` units of each axis with the highest scores, in every layer; of equal ones the first stay."""
    return {axis: [_top(row, count) for row in scores[axis]] for axis, count in keep.items()}


def _top(scores: torch.Tensor, count: int) -> torch.Tensor:
    kept = torch.sort(scores, descending=True, stable=True).indices[:count]
    return torch.zeros_like(scores, dtype=torch.bool).index_fill(0, kept, value=True)
