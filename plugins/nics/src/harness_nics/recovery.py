"""Recovery: adapters, every weight or a slice of the ranks; trained in FP32, stored in FP16, one model at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import StepResult
from harness.errors import UsageError
from harness.methods import lora, models, rank_slices
from harness.methods.recovery import recovery_settings, recovery_windows
from harness.methods.training import train
from harness_nics.options import LoraStep, PartialStep

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from harness import TrainRequest
    from harness_nics.options import NicsOptions, RecoveryStep


def recover(request: TrainRequest[NicsOptions, RecoveryStep]) -> StepResult:
    """Train the student; what an earlier, killed try left in the workdir is gone on from, to the same bytes.

    Raises:
        UsageError: a slice of the ranks is to be trained, alone, of a model that has none.
    """
    windows = recovery_windows(request)
    model = models.load(request.student.path, device=request.device)
    trained = _prepared(model, request)
    history = train(
        trained,
        windows,
        recovery_settings(request.step, weight_decay=request.step.weight_decay),
        state=request.workdir / "state",
        device=request.device,
        seed=request.seed,
        progress=request.progress,
    )
    if isinstance(request.step, LoraStep):
        model = lora.merge(trained)  # type: ignore[arg-type] # it was attached above
    rank_slices.merge(model)
    output = models.save(model, request.workdir / "recovered", like=request.student.path)
    return StepResult(checkpoint=output, notes=history.summary())


def _prepared(model: PreTrainedModel, request: TrainRequest[NicsOptions, RecoveryStep]) -> PreTrainedModel | PeftModel:
    """``model`` with what the step trains, and nothing else, trainable."""
    match request.step:
        case LoraStep() as step:
            settings = lora.LoraSettings(rank=step.rank, alpha=step.alpha, dropout=step.dropout)
            return lora.attach(model, settings, seed=request.seed)
        case PartialStep() as step:
            if not step.trains_rest:
                model.requires_grad_(requires_grad=False)
            sliced = rank_slices.split(model, step.trained_fraction, side=step.side)
            if not sliced and not step.trains_rest:
                raise UsageError(
                    "partial: trains_rest is false and no linear is factorised, so there is nothing to train"
                )
    return model
