"""Distillation of the student as it stands: every weight, or the embeddings alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import StepResult
from harness.methods import models
from harness.methods.distillation import Distilled, FeatureModel, NoTeacher, distillation_loss
from harness.methods.divergence import DistillationSettings
from harness.methods.dropout import DropoutSettings, attach_dropout
from harness.methods.training import train
from harness.surgery import anatomy as anatomies
from harness_tinytron.learning import training_settings, windows_of
from harness_tinytron.teaching import loss_settings, targets_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from harness import TrainRequest
    from harness.methods.distillation import Targets
    from harness_tinytron.options import DistilStep, TinytronOptions

EMBEDDING_PARAMETERS = ("embed_tokens", "lm_head")


def distil(request: TrainRequest[TinytronOptions, DistilStep]) -> StepResult:
    """Train the student towards the teacher; what an earlier, killed try left is gone on from, to the same bytes."""
    step = request.step
    text = windows_of(request, is_control=request.is_control)
    windows = text.windows
    # The control is the teacher itself: what it can still learn, it learns from the text.
    targets: Targets = NoTeacher() if request.is_control else targets_of(request, windows)
    loss = DistillationSettings(kl=0.0, ce=1.0) if request.is_control else loss_settings(step)
    model = models.load(request.student.path, device=request.device)
    anatomy = anatomies.load(request.student.config())
    if step.trained == "embeddings":
        _freeze_body(model, f".{anatomy.table.block.final_norm}.")
    put = attach_dropout(model, anatomy, DropoutSettings(attention=step.attention_dropout, hidden=step.hidden_dropout))
    history = train(
        Distilled(FeatureModel(model), targets, loss),
        windows,
        training_settings(step),
        state=request.workdir / "state",
        device=request.device,
        seed=request.seed,
        progress=request.progress,
        loss=distillation_loss,
    )
    put.remove()
    output = models.save(model, request.workdir / "distilled", like=request.student.path)
    return StepResult(checkpoint=output, notes={**history.summary(), **text.notes()})


def _freeze_body(model: PreTrainedModel, final_norm: str) -> None:
    for name, parameter in model.named_parameters():
        in_layer = ".layers." in name
        trains = any(part in name for part in EMBEDDING_PARAMETERS) or (final_norm in f".{name}" and not in_layer)
        parameter.requires_grad_(trains)
