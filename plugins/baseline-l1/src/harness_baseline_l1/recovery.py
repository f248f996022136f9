"""Recovery: the same training whether adapters or every weight is trained; stored FP16, trained FP32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers import AutoTokenizer

from harness import StepResult
from harness.corpora.windows import pack
from harness.methods import lora, models
from harness.methods.training import TrainingSettings, train
from harness_baseline_l1.options import LoraStep

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from harness import TrainRequest
    from harness.corpora.windows import Windows
    from harness_baseline_l1.options import BaselineOptions, RecoveryStep

STATE_EVERY_S = 10.0
"""Seconds of work that a kill may cost."""


def recover(request: TrainRequest[BaselineOptions, RecoveryStep]) -> StepResult:
    """Train the student; what an earlier, killed try left in the workdir is gone on from, to the same bytes."""
    windows = _windows(request)
    model = models.load(request.student.path, device=request.device)
    step = request.step
    adapted = _adapted(model, step, request.seed) if isinstance(step, LoraStep) else None
    history = train(
        adapted or model,
        windows,
        training_settings(step),
        state=request.workdir / "state",
        device=request.device,
        seed=request.seed,
        progress=request.progress,
    )
    if adapted is not None:
        model = lora.merge(adapted)
    output = models.save(model, request.workdir / "recovered", like=request.student.path)
    return StepResult(checkpoint=output, notes=history.summary())


def training_settings(step: RecoveryStep) -> TrainingSettings:
    """The step in the words of the shelf."""
    return TrainingSettings(
        optimizer_steps=step.optimizer_steps,
        batch_windows=step.batch_windows,
        micro_batch_windows=step.micro_batch_windows,
        learning_rate=step.learning_rate,
        warmup_count=round(step.warmup_fraction * step.optimizer_steps),
        weight_decay=step.weight_decay,
        compute=step.compute,
        checkpoint_every_s=STATE_EVERY_S,
    )


def _adapted(model: PreTrainedModel, step: LoraStep, seed: int) -> PeftModel:
    settings = lora.LoraSettings(rank=step.rank, alpha=step.alpha, dropout=step.dropout)
    return lora.attach(model, settings, seed=seed)


def _windows(request: TrainRequest[BaselineOptions, RecoveryStep]) -> Windows:
    step = request.step
    return pack(
        request.data,
        step.mixture,
        AutoTokenizer.from_pretrained(request.student.path, local_files_only=True, trust_remote_code=False),
        window_tokens=step.window_tokens,
        window_count=step.optimizer_steps * step.batch_windows,
        seed=request.seed,
        path=request.workdir / "windows",
        progress=request.progress,
        loss_on=step.loss_on,
    )
