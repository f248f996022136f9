"""The teacher's word on a step's windows, and the loss that is made of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from harness.checkpoint.checkpoint import Checkpoint
from harness.errors import UsageError
from harness.methods import models
from harness.methods.distillation import LiveTeacher, NoTeacher, Targets
from harness.methods.divergence import DistillationSettings
from harness.methods.teacher_cache import CacheSettings, remember
from harness_tinytron.options import TaughtStep, TinytronOptions

if TYPE_CHECKING:
    from harness.contracts import StepRequest
    from harness.corpora.windows import Windows

StepT = TypeVar("StepT", bound=TaughtStep)

TEACHER_WINDOWS = 16
"""Windows that go through the teacher at once."""


def targets_of(request: StepRequest[TinytronOptions, StepT], windows: Windows) -> Targets:
    """The teacher: remembered where the step says how much of it, else in memory beside the student; none without KL.

    Raises:
        UsageError: its vocabulary is not the student's.
    """
    step = request.step
    if not step.kl:
        return NoTeacher()
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
