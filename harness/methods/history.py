"""What a training run leaves to be told: loss, learning rate and gradient norm of every optimizer step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

AVERAGED_STEPS = 10
"""The loss of one batch is noisy; the first and the last loss are means over so many steps."""
CURVE_POINTS = 200
"""Optimizer steps of a curve, at most: enough to look at, small enough to file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One optimizer step."""

    loss: float
    """Mean over the batch, as the loss function states it (nats a token for the language-model loss)."""
    learning_rate: float
    gradient_norm: float
    """Before clipping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All optimizer steps of a run in order; equal for a resumed and an uninterrupted one."""

    steps: tuple[StepRecord, ...]
    token_count: int
    """Tokens that went through the model."""

    def summary(self) -> dict[str, JsonValue]:
        """The few numbers that belong in a step's notes."""
        losses = [step.loss for step in self.steps]
        return {
            "optimizer_steps": len(self.steps),
            "token_count": self.token_count,
            "loss_first": _mean(losses[:AVERAGED_STEPS]),
            "loss_last": _mean(losses[-AVERAGED_STEPS:]),
            "history": self.curves(),
        }

    def curves(self) -> dict[str, JsonValue]:
        """Loss, learning rate and gradient norm of at most ``CURVE_POINTS`` optimizer steps, evenly spread."""
        stride = max(1, -(-len(self.steps) // CURVE_POINTS))
        kept = range(0, len(self.steps), stride)
        return {
            "optimizer_step": [number + 1 for number in kept],
            "loss": [_rounded(self.steps[number].loss) for number in kept],
            "learning_rate": [_rounded(self.steps[number].learning_rate) for number in kept],
            "gradient_norm": [_rounded(self.steps[number].gradient_norm) for number in kept],
        }


def _rounded(value: float) -> float | None:
    """To six digits; None for what no number is, which JSON cannot say."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 6) if values else None
