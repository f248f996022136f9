"""What a training run leaves to be told: loss, learning rate and gradient norm of every optimizer step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

AVERAGED_STEPS = 10
"""The loss of one batch is noisy; the first and the last loss are means over so many steps."""


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
        }


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 6) if values else None
