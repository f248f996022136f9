"""Taylor scores of KV groups and MLP channels, and the plan that keeps the best."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.methods.memory import BatchSize, backward_bytes, require_memory
from harness.methods.recompute import recomputing
from harness.methods.taylor import TaylorSettings, taylor
from harness.surgery import anatomy as anatomies
from harness_nics.calibration import batch_loss, calibration_batches, load_student
from harness_nics.planning import KV_AXIS, MLP_AXIS, cut_axes, width_plan

if TYPE_CHECKING:
    from pydantic import JsonValue

    from harness import CompressRequest
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
    needed = backward_bytes(
        anatomy,
        BatchSize(texts=step.batch_windows, tokens=step.window_tokens),
        kept_per_weight=NUMBERS_KEPT.get(step.order, 0),
        layers_at_once=step.layers_at_once,
    )
    way_out = "lower layers_at_once or batch_windows, or use a device with more memory"
    require_memory(needed, "width: Taylor scores", way_out, device=request.device)
    batches = calibration_batches(request)
    model = load_student(request)
    settings = TaylorSettings(
        order=step.order, weights=step.weights, compat=step.compat, layers_at_once=step.layers_at_once
    )
    with recomputing(model):
        scores = taylor(model, anatomy, axes, batches, batch_loss, settings=settings)
    plan = width_plan(anatomy, step, scores, request.parameter_budget)
    return plan, _notes(anatomy, plan)


def _notes(anatomy: Anatomy, plan: Plan) -> dict[str, JsonValue]:
    """Units of each layer after the step."""
    sizes = [plan.sizes(anatomy, layer) for layer in range(anatomy.layer_count)]
    return {axis: [each[axis] for each in sizes] for axis in (KV_AXIS, MLP_AXIS)}
