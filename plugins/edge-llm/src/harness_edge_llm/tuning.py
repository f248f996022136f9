"""Tuning: windows of layers one after the other, or everything at once; trained FP32, stored FP16, one model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness import StepResult
from harness.methods import fake_quantisation, layer_tuning, models
from harness.methods.layer_tuning import ExitModel
from harness.methods.recovery import recovery_settings, recovery_windows
from harness.methods.training import train
from harness.surgery import anatomy as anatomies

if TYPE_CHECKING:
    from pydantic import JsonValue
    from transformers import PreTrainedModel

    from harness import TrainRequest
    from harness.corpora.windows import Windows
    from harness_edge_llm.options import EdgeOptions, TuneStep


def tune(request: TrainRequest[EdgeOptions, TuneStep]) -> StepResult:
    """Tune the student; what an earlier, killed try left in the workdir is gone on from, to the same bytes."""
    step = request.step
    windows = recovery_windows(request)
    model = models.load(request.student.path, device=request.device)
    anatomy = anatomies.load(request.student.config())
    if step.bits < fake_quantisation.FULL_BITS:
        linears = [tensor for layer in range(anatomy.layer_count) for tensor in anatomy.linears(layer)]
        paths = [tensor.name.removesuffix(".weight") for tensor in linears]
        fake_quantisation.quantise_weights(model, dict.fromkeys(paths, step.bits))
    notes = _trained(request, model, windows, anatomy.layer_count)
    fake_quantisation.settle(model)
    output = models.save(model, request.workdir / "tuned", like=request.student.path)
    return StepResult(checkpoint=output, notes=notes)


def _trained(
    request: TrainRequest[EdgeOptions, TuneStep], model: PreTrainedModel, windows: Windows, layer_count: int
) -> dict[str, JsonValue]:
    step = request.step
    settings = recovery_settings(step, gradient_clip=step.gradient_clip)
    shared: dict[str, Any] = {"device": request.device, "seed": request.seed, "progress": request.progress}
    if step.stride is None or step.stride >= layer_count:
        return dict(train(model, windows, settings, state=request.workdir / "state", **shared).summary())
    parts = layer_tuning.segments(layer_count, step.stride, step.optimizer_steps)
    exits = ExitModel(model, [part.exit for part in parts], heads=step.heads)
    histories = layer_tuning.tune(exits, windows, settings, step.stride, state=request.workdir / "state", **shared)
    by_window: dict[str, JsonValue] = {
        f"layers_{part.first}_{part.exit}": dict(history.summary())
        for part, history in zip(parts, histories, strict=True)
    }
    return {
        "token_count": sum(history.token_count for history in histories),
        "exits": [part.exit for part in parts],
        "heads": step.heads,
        **by_window,
    }
