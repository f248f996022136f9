"""Recovery: adapters, every weight or a slice of the ranks; trained in FP32, stored in FP16, one model at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import StepResult
from harness.corpora.windows import pack
from harness.errors import UsageError
from harness.methods import lora, models, rank_slices
from harness.methods.training import TrainingSettings, train
from harness_nics.calibration import tokenizer_of
from harness_nics.options import LoraStep, PartialStep

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from harness import TrainRequest
    from harness.corpora.windows import Windows
    from harness_nics.options import NicsOptions, RecoveryStep

STATE_EVERY_S = 10.0
"""Seconds of work that a kill may cost."""


def recover(request: TrainRequest[NicsOptions, RecoveryStep]) -> StepResult:
    """Train the student; what an earlier, killed try left in the workdir is gone on from, to the same bytes.

    Raises:
        UsageError: a slice of the ranks is to be trained, alone, of a model that has none.
    """
    windows = _windows(request)
    model = models.load(request.student.path, device=request.device)
    trained = _prepared(model, request)
    history = train(
        trained,
        windows,
        training_settings(request.step),
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


def _windows(request: TrainRequest[NicsOptions, RecoveryStep]) -> Windows:
    step = request.step
    return pack(
        request.data,
        step.mixture,
        tokenizer_of(request.student.path),
        window_tokens=step.window_tokens,
        window_count=step.optimizer_steps * step.batch_windows,
        seed=request.seed,
        path=request.workdir / "windows",
        progress=request.progress,
        loss_on=step.loss_on,
    )
