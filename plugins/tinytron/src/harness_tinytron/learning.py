"""What every step needs that updates weights: its windows, and its settings in the words of the shelf."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from harness.methods.batches import batch_span
from harness.methods.training import TrainingSettings
from harness_tinytron.learning_options import LearningStep
from harness_tinytron.reading import text_of

if TYPE_CHECKING:
    from harness.contracts import StepRequest
    from harness_tinytron.options import TinytronOptions
    from harness_tinytron.reading import Text

StepT = TypeVar("StepT", bound=LearningStep)

STATE_EVERY_S = 10.0
"""Seconds of work that a kill may cost."""


def windows_of(request: StepRequest[TinytronOptions, StepT], *, is_control: bool = False) -> Text:
    """The step's training windows, packed once, with the story of their text."""
    step = request.step
    return text_of(request, window_count=window_count(step), window_tokens=step.window_tokens, is_control=is_control)


def window_count(step: LearningStep) -> int:
    """Windows of the whole step, each used once, doublings included."""
    doublings = tuple(-(-tokens // step.window_tokens) for tokens in step.batch_doublings)
    return batch_span(step.optimizer_steps - 1, batch_windows=step.batch_windows, doublings=doublings).stop


def training_settings(step: LearningStep, *, rate_factors: tuple[tuple[str, float], ...] = ()) -> TrainingSettings:
    """The step in the words of the shelf."""
    return TrainingSettings(
        optimizer_steps=step.optimizer_steps,
        batch_windows=step.batch_windows,
        micro_batch_windows=step.micro_batch_windows,
        learning_rate=step.learning_rate,
        schedule=step.schedule,
        warmup_count=round(step.warmup_fraction * step.optimizer_steps),
        decay_fraction=step.decay_fraction,
        half_life_count=step.half_life_steps,
        batch_doublings=step.batch_doublings,
        in_order=bool(step.curriculum),
        rate_factors=rate_factors,
        weight_decay=step.weight_decay,
        compute=step.compute,
        checkpoint_every_s=STATE_EVERY_S,
    )
