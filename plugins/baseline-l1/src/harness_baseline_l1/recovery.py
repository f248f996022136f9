"""Recovery: the same training whether adapters or every weight is trained; stored FP16, trained FP32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import StepResult
from harness.methods import lora, models
from harness.methods.recovery import recovery_settings, recovery_windows
from harness.methods.training import train
from harness_baseline_l1.options import LoraStep

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from harness import TrainRequest
    from harness_baseline_l1.options import BaselineOptions, RecoveryStep


def recover(request: TrainRequest[BaselineOptions, RecoveryStep]) -> StepResult:
    """Train the student; what an earlier, killed try left in the workdir is gone on from, to the same bytes."""
    windows = recovery_windows(request)
    model = models.load(request.student.path, device=request.device)
    step = request.step
    adapted = _adapted(model, step, request.seed) if isinstance(step, LoraStep) else None
    history = train(
        adapted or model,
        windows,
        recovery_settings(step, weight_decay=step.weight_decay),
        state=request.workdir / "state",
        device=request.device,
        seed=request.seed,
        progress=request.progress,
    )
    if adapted is not None:
        model = lora.merge(adapted)
    output = models.save(model, request.workdir / "recovered", like=request.student.path)
    return StepResult(checkpoint=output, notes=history.summary())


def _adapted(model: PreTrainedModel, step: LoraStep, seed: int) -> PeftModel:
    settings = lora.LoraSettings(rank=step.rank, alpha=step.alpha, dropout=step.dropout)
    return lora.attach(model, settings, seed=seed)
