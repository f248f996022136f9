"""The compress steps: masks that are learned, units that fade out, another vocabulary, tied embeddings."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import StepResult
from harness.errors import UsageError
from harness.methods import models
from harness.methods.batches import IGNORE_INDEX, read_batch
from harness.methods.distillation import Distilled, chunked_loss, distillation_loss
from harness.methods.divergence import DistillationSettings
from harness.methods.gates import fold, plan_of_gates
from harness.methods.masks import MASK_PARAMETERS, HardConcreteMasks, MaskedModel, MaskTarget
from harness.methods.rewriting import tie_embeddings
from harness.methods.soft_pruning import SoftPrunedModel, gate_scores, select
from harness.methods.training import train
from harness.methods.vocabulary_transfer import swap_vocabulary
from harness.surgery import anatomy as anatomies
from harness.surgery.apply import apply
from harness_tinytron.learning import training_settings, windows_of
from harness_tinytron.options import (
    MaskPruneStep,
    SoftPruneStep,
    SwapVocabularyStep,
    TieEmbeddingsStep,
    TinytronOptions,
)
from harness_tinytron.shapes import kept_counts
from harness_tinytron.teaching import loss_settings, targets_of

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

    from harness import CompressRequest
    from harness.corpora.windows import Windows
    from harness.methods.batches import Batch
    from harness.methods.distillation import Features, Targets
    from harness.methods.gates import Gates
    from harness.methods.history import History
    from harness.methods.training import TrainingSettings
    from harness.surgery.anatomy import Anatomy


def compress(request: CompressRequest[TinytronOptions, Any]) -> StepResult:
    """Write the student after the step.

    Raises:
        UsageError: the step does not fit the model.
        BudgetUnreachable: no widths are as small as the budget asks.
    """
    match request.step:
        case MaskPruneStep() | SoftPruneStep() as step:
            return _cut(request, step)
        case SwapVocabularyStep() as step:
            return _swap(request, step)
        case TieEmbeddingsStep():
            output = tie_embeddings(request.student.path, request.student.config(), request.workdir / "tied")
            return StepResult(checkpoint=output)
        case other:
            raise UsageError(f"{other.method}: is no compress step of this plugin")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lesson:
    """What a cut is learned on."""

    model: PreTrainedModel
    anatomy: Anatomy
    keep: dict[str, int]
    windows: Windows
    targets: Targets


def _cut(request: CompressRequest[TinytronOptions, Any], step: MaskPruneStep | SoftPruneStep) -> StepResult:
    """Learn what goes; fold the gates in and cut, for good. A killed try is gone on from, to the same bytes."""
    config = request.student.config()
    text = windows_of(request)
    windows = text.windows
    lesson = _Lesson(
        model=models.load(request.student.path, device=request.device),
        anatomy=anatomies.load(config),
        keep=kept_counts(config, step, request.parameter_budget),
        windows=windows,
        targets=targets_of(request, windows),
    )
    gates, history = (
        _masked(request, step, lesson) if isinstance(step, MaskPruneStep) else _faded(request, step, lesson)
    )
    output = _materialised(request, lesson, gates)
    return StepResult(checkpoint=output, notes={**history.summary(), **text.notes(), "kept": dict(lesson.keep)})


def _masked(
    request: CompressRequest[TinytronOptions, Any], step: MaskPruneStep, lesson: _Lesson
) -> tuple[Gates, History]:
    """Weights and masks, trained together."""
    target = MaskTarget(keep=lesson.keep, warmup_count=round(step.target_warmup_fraction * step.optimizer_steps))
    masks = HardConcreteMasks(lesson.anatomy, target, seed=request.seed).to(request.device)
    student = MaskedModel(lesson.model, lesson.anatomy, masks)
    factors = ((MASK_PARAMETERS, step.mask_learning_rate / step.learning_rate),)
    history = _trained(request, student, lesson, training_settings(step, rate_factors=factors))
    masks.eval()
    return {axis: [gate.detach() for gate in rows] for axis, rows in masks().items()}, history


def _faded(
    request: CompressRequest[TinytronOptions, Any], step: SoftPruneStep, lesson: _Lesson
) -> tuple[Gates, History]:
    """Units chosen on the model as it is, then faded out."""
    selection = select(_scores(step, lesson), lesson.keep)
    student = SoftPrunedModel(lesson.model, lesson.anatomy, selection, step.optimizer_steps)
    history = _trained(request, student, lesson, training_settings(step))
    return {axis: [stays.float() for stays in rows] for axis, rows in selection.items()}, history


def _scores(step: SoftPruneStep, lesson: _Lesson) -> dict[str, list[torch.Tensor]]:
    """Of the text's own loss: the student may still be its teacher, from whom it has nothing to learn."""
    settings = DistillationSettings(kl=0.0, ce=1.0, temperature=step.temperature)

    def loss(features: Features, batch: Batch) -> torch.Tensor:
        counted = batch.labels[:, 1:] != IGNORE_INDEX
        target = lesson.targets.of(batch, counted)
        return chunked_loss(features, counted, batch.labels[:, 1:][counted], target, settings)

    size, there = step.score_batch_windows, len(lesson.windows)
    starts = range(0, min(step.score_batches * size, there), size)
    batches = [
        read_batch(lesson.windows, np.arange(start, min(start + size, there)), lesson.model.device) for start in starts
    ]
    return gate_scores(lesson.model, lesson.anatomy, tuple(lesson.keep), batches, loss)


def _trained(
    request: CompressRequest[TinytronOptions, Any], student: nn.Module, lesson: _Lesson, settings: TrainingSettings
) -> History:
    return train(
        Distilled(student, lesson.targets, loss_settings(request.step)),
        lesson.windows,
        settings,
        state=request.workdir / "state",
        device=request.device,
        seed=request.seed,
        progress=request.progress,
        loss=distillation_loss,
    )


def _materialised(request: CompressRequest[TinytronOptions, Any], lesson: _Lesson, gates: Gates) -> Path:
    """The model without its closed units, the others' gates in its weights."""
    plan = plan_of_gates(lesson.anatomy, gates)
    fold(lesson.model, lesson.anatomy, gates)
    folded = models.save(lesson.model, request.workdir / "folded", like=request.student.path)
    plan.write(request.workdir / "plan.json")
    output = apply(folded, plan, request.workdir / "pruned", request.progress)
    shutil.rmtree(folded)
    return output


def _swap(request: CompressRequest[TinytronOptions, SwapVocabularyStep], step: SwapVocabularyStep) -> StepResult:
    if step.tokenizer is None:
        raise UsageError(
            "swap_vocabulary: no tokenizer is named; give a folder, e.g. --set swap_vocabulary.tokenizer=FOLDER"
        )
    output = swap_vocabulary(
        request.student.path,
        request.student.config(),
        Path(step.tokenizer),
        request.workdir / "swapped",
        row_count=step.row_count,
        seed=request.seed,
    )
    return StepResult(checkpoint=output, notes={"rows": step.row_count})
