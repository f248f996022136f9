"""Taylor scores of KV groups and MLP channels, and the plan that keeps the best."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from harness.methods.layerwise_taylor import stream_taylor
from harness.methods.memory import (
    BatchSize,
    available_bytes,
    backward_bytes,
    layer_backward_bytes,
    require_memory,
)
from harness.methods.recompute import recomputing
from harness.methods.taylor import TaylorSettings, taylor
from harness.surgery import anatomy as anatomies
from harness_nics.calibration import batch_loss, calibration_batches, load_student
from harness_nics.planning import KV_AXIS, MLP_AXIS, cut_axes, width_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

    from harness import CompressRequest
    from harness.methods.batches import Batch
    from harness.methods.units import UnitScores
    from harness.surgery.anatomy import Anatomy
    from harness.surgery.plan import Plan
    from harness_nics.options import NicsOptions, WidthStep

NUMBERS_KEPT = {"first": 1, "mixed": 2}
"""Of each scored weight, until the last batch; other orders add up as gradients come."""


def choose(request: CompressRequest[NicsOptions, WidthStep]) -> tuple[Plan, dict[str, JsonValue]]:
    """The plan of the units that stay, with the widths as notes.

    Raises:
        LimitExceeded: weights and gradients do not fit in memory; said before anything is loaded.
        BudgetUnreachable: no widths are as small as the budget asks.
    """
    step = request.step
    anatomy = anatomies.load(request.student.config())
    axes = cut_axes(step)
    is_streamed = _is_streamed(request, anatomy)
    batches = calibration_batches(request)
    scores = (_streamed_scores if is_streamed else _scores)(request, anatomy, axes, batches)
    plan = width_plan(anatomy, step, scores, request.parameter_budget)
    return plan, {**_notes(anatomy, plan), "streamed": is_streamed}


def _is_streamed(request: CompressRequest[NicsOptions, WidthStep], anatomy: Anatomy) -> bool:
    """Whether layers are scored one by one; raises ``LimitExceeded`` where the way that is taken does not fit."""
    step, kept = request.step, NUMBERS_KEPT.get(request.step.order, 0)
    batch = BatchSize(texts=step.batch_windows, tokens=step.window_tokens)
    whole = backward_bytes(anatomy, batch, kept_per_weight=kept, layers_at_once=step.layers_at_once)
    is_streamed = step.streamed
    if is_streamed is None:
        is_streamed = whole > available_bytes(request.device)
    needed = layer_backward_bytes(anatomy, batch, kept_per_weight=kept) if is_streamed else whole
    way_out = "lower batch_windows" if is_streamed else "leave streamed to the harness, lower layers_at_once"
    what = f"width: Taylor scores{', a layer at a time,' if is_streamed else ''}"
    require_memory(needed, what, f"{way_out}, or use a device with more memory", device=request.device)
    return is_streamed


def _scores(
    request: CompressRequest[NicsOptions, WidthStep], anatomy: Anatomy, axes: Sequence[str], batches: Sequence[Batch]
) -> UnitScores:
    model = load_student(request)
    with recomputing(model):
        return taylor(model, anatomy, axes, batches, batch_loss, settings=_settings(request.step))


def _streamed_scores(
    request: CompressRequest[NicsOptions, WidthStep], anatomy: Anatomy, axes: Sequence[str], batches: Sequence[Batch]
) -> UnitScores:
    with tempfile.TemporaryDirectory(dir=request.workdir, prefix="states-") as folder:
        return stream_taylor(
            request.student.path,
            anatomy,
            axes,
            batches,
            batch_loss,
            settings=_settings(request.step),
            folder=Path(folder),
            device=request.device,
            progress=request.progress,
        )


def _settings(step: WidthStep) -> TaylorSettings:
    """The step in the words of the shelf."""
    return TaylorSettings(
        order=step.order, weights=step.weights, compat=step.compat, layers_at_once=step.layers_at_once
    )


def _notes(anatomy: Anatomy, plan: Plan) -> dict[str, JsonValue]:
    """Units of each layer after the step."""
    sizes = [plan.sizes(anatomy, layer) for layer in range(anatomy.layer_count)]
    return {axis: [each[axis] for each in sizes] for axis in (KV_AXIS, MLP_AXIS)}
