"""What every taught step needs: windows, the teacher's word on them, and the training's settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from harness.checkpoint.checkpoint import Checkpoint
from harness.errors import UsageError
from harness.methods import models
from harness.methods.distillation import LiveTeacher, Targets
from harness.methods.divergence import DistillationSettings
from harness.methods.teacher_cache import CacheSettings, remember
from harness.methods.training import TrainingSettings
from harness_tinytron.options import TaughtStep, TinytronOptions
from harness_tinytron.reading import text_of

if TYPE_CHECKING:
    from harness.contracts import StepRequest
    from harness.corpora.windows import Windows
    from harness_tinytron.reading import Text

StepT = TypeVar("StepT", bound=TaughtStep)

STATE_EVERY_S = 10.0
"""Seconds of work that a kill may cost."""
TEACHER_WINDOWS = 16
"""Windows that go through the teacher at once."""


def windows_of(request: StepRequest[TinytronOptions, StepT], *, is_control: bool = False) -> Text:
    """The step's training windows, packed once, with the story of their text."""
    step = request.step
    return text_of(request, window_count=window_count(step), window_tokens=step.window_tokens, is_control=is_control)


def window_count(step: TaughtStep) -> int:
    """Windows of the whole step, each used once, doublings included."""
    from harness.methods.batches import batch_span

    doublings = tuple(-(-tokens // step.window_tokens) for tokens in step.batch_doublings)
    return batch_span(step.optimizer_steps - 1, batch_windows=step.batch_windows, doublings=doublings).stop


def targets_of(request: StepRequest[TinytronOptions, StepT], windows: Windows) -> Targets:
    """The teacher: remembered where the step says how much of it, else in memory beside the student.

    Raises:
        UsageError: its vocabulary is not the student's.
    """
    step = request.step
    teacher = request.base if step.teacher == "base" else Checkpoint.of(Path(step.teacher))
    sizes = [checkpoint.config()["vocab_size"] for checkpoint in (teacher, request.student)]
    if sizes[0] != sizes[1]:
        raise UsageError(
            f"{step.method}: the teacher has {sizes[0]} tokens and the student {sizes[1]}; give the student the "
            "teacher's tokenizer first (swap_vocabulary), or name a teacher of its own vocabulary"
        )
    half = torch.bfloat16 if step.compute == "bfloat16" and request.device != "cpu" else torch.float32
    model = models.load(teacher.path, dtype=half, device=request.device)
    if step.top_k is None:
        return LiveTeacher(model)
    kept = CacheSettings(
        top_k=step.top_k,
        temperature=step.temperature,
        batch_windows=step.micro_batch_windows or TEACHER_WINDOWS,
        compute=step.compute,
    )
    return remember(
        model,
        windows,
        kept,
        teacher_key=teacher.digest,
        path=request.workdir / "teacher",
        progress=request.progress,
    )


def loss_settings(step: TaughtStep) -> DistillationSettings:
    """The step's loss in the words of the shelf."""
    return DistillationSettings(kl=step.kl, ce=step.ce, temperature=step.temperature)


def training_settings(step: TaughtStep, *, rate_factors: tuple[tuple[str, float], ...] = ()) -> TrainingSettings:
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
