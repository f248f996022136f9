"""Masks that are learned together with the weights until a target shape is left (Sheared-LLaMA, arXiv 2310.06694).

    log-alpha of every unit ──hard concrete──> gates ──> features ──> loss (cross-entropy, or KL to a teacher)
                            ──P(z > 0)──> sparsity s of every row of units
    penalty = sum over axes of the mean over rows of  l1 (s - t) + l2 (s - t)^2,     t rises to the target in a warm-up

A row is the units of one layer, so that every layer ends at the same width. Weights and log-alphas go down the loss,
the multipliers ``l1`` and ``l2`` up the penalty: their gradient is turned round here, so one optimizer does for all.
The published rate of log-alphas and multipliers is 1.0 beside 1e-4 of the weights (``rate_factors`` of the training).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from harness.errors import UsageError
from harness.methods import hard_concrete
from harness.methods.batches import derived_seed
from harness.methods.gates import GatedModel, unit_counts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PreTrainedModel

    from harness.methods.distillation import Features
    from harness.surgery.anatomy import Anatomy

START: Final = (5.0, 0.01)
"""Mean and deviation of a log-alpha before training; then clamped, so that all units are open."""
MASK_PARAMETERS: Final = "student.masks."
"""How the names of log-alphas and multipliers begin in a ``Distilled`` ``MaskedModel``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskTarget:
    """The shape that is to be left, and how fast."""

    keep: Mapping[str, int]
    """Axis (``hidden``, ``kv_group``, ``intermediate``, ``layer``) to units that stay, the same in every layer."""
    warmup_count: int
    """Optimizer steps in which the target rises from nothing."""


class HardConcreteMasks(nn.Module):
    """Log-alphas and multipliers of every axis that is cut."""

    def __init__(self, anatomy: Anatomy, target: MaskTarget, *, seed: int = 0) -> None:
        """Open masks for ``target``.

        Raises:
            UsageError: an axis has no gates, or fewer units than are to stay.
        """
        super().__init__()
        self.target = target
        generator = torch.Generator().manual_seed(derived_seed("masks", seed))
        self.log_alpha = nn.ModuleDict()
        self.multipliers = nn.ParameterDict()
        for axis, keep in target.keep.items():
            counts = unit_counts(anatomy, axis)
            if not 1 <= keep <= min(counts):
                raise UsageError(f"masks: {axis} must keep 1..{min(counts)} units, got {keep}")
            self.log_alpha[axis] = nn.ParameterList(_starting(count, generator) for count in counts)
            self.multipliers[axis] = nn.Parameter(torch.zeros(2))

    def forward(self) -> dict[str, list[torch.Tensor]]:
        """Gates: drawn in training, otherwise those that ``keep`` leaves."""
        self._clamp()
        return {
            axis: [self._gate(row, self.target.keep[axis]) for row in self._rows(axis)] for axis in self.target.keep
        }

    def open_share(self, axis: str) -> torch.Tensor:
        """The expected share of open units in every row of ``axis``."""
        return torch.stack([hard_concrete.open_probability(row).mean() for row in self._rows(axis)])

    def goal(self, axis: str, step: int) -> float:
        """The sparsity that ``axis`` is to have at optimizer step ``step``."""
        share = min(1.0, (step + 1) / max(1, self.target.warmup_count))
        return share * (1 - self.target.keep[axis] / len(self._rows(axis)[0]))

    def penalty(self, step: int) -> torch.Tensor:
        """The Lagrangian's terms; descending on it raises the multipliers where the goal is missed."""
        terms = []
        for axis in self.target.keep:
            gap = 1 - self.open_share(axis) - self.goal(axis, step)
            first, second = self.multipliers[axis]
            terms.append(_saddle(first, gap.mean()) + _saddle(second, gap.square().mean()))
        return torch.stack(terms).sum()

    def _gate(self, row: torch.Tensor, keep: int) -> torch.Tensor:
        return hard_concrete.sample(row) if self.training else hard_concrete.deterministic(row, keep)

    def _rows(self, axis: str) -> list[torch.Tensor]:
        return list(self.log_alpha[axis].parameters())

    @torch.no_grad()
    def _clamp(self) -> None:
        for axis in self.target.keep:
            for row in self._rows(axis):
                row.clamp_(*hard_concrete.LOG_ALPHA_BOUNDS)


class MaskedModel(nn.Module):
    """A model under learned masks; its features carry the penalty."""

    def __init__(self, model: PreTrainedModel, anatomy: Anatomy, masks: HardConcreteMasks) -> None:
        super().__init__()
        self.gated = GatedModel(model, anatomy)
        self.masks = masks

    def forward(self, token_ids: torch.Tensor, *, step: int = 0) -> Features:
        """Features of ``token_ids [B, T]``, with the penalty of ``step`` in training."""
        # Masks are numbers between 0 and 1 and their odds: nothing for half precision.
        with torch.autocast(token_ids.device.type, enabled=False):
            gates = self.masks()
            penalty = self.masks.penalty(step) if self.training else None
        features: Features = self.gated(token_ids, gates)
        return features._replace(penalty=penalty)


def _starting(count: int, generator: torch.Generator) -> nn.Parameter:
    mean, deviation = START
    return nn.Parameter(mean + deviation * torch.randn(count, generator=generator))


def _saddle(multiplier: torch.Tensor, gap: torch.Tensor) -> torch.Tensor:
    """``multiplier * gap``, whose gradient is turned round for the multiplier."""
    return multiplier.detach() * gap + (multiplier.detach() - multiplier) * gap.detach()
