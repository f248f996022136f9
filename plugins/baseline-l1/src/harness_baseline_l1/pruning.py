"""Compression: solve the widths, score every unit by L1, keep the best, stream what stays.

Nothing of the baseline's ratio was published; here one share for both axes is solved from the parameter budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness import Forecast, StepResult
from harness.checkpoint.reader import CheckpointReader, open_checkpoint
from harness.methods.importance import magnitudes
from harness.methods.selection import Widths, WidthSearch, keep_top, solve_budget
from harness.progress import silent
from harness.surgery import anatomy as anatomies
from harness.surgery.apply import apply
from harness.surgery.count import parameter_count
from harness.surgery.plan import plan_of
from harness.surgery.shape import is_stock, resized_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness import CompressRequest
    from harness.progress import Progress
    from harness.surgery.anatomy import Anatomy
    from harness.surgery.plan import Plan
    from harness_baseline_l1.options import BaselineOptions, PruneStep

KV_AXIS = "kv_group"
MLP_AXIS = "intermediate"


def solve(config: Mapping[str, Any], step: PruneStep, parameter_budget: int) -> Widths:
    """The widths that the budget leaves; raises ``BudgetUnreachable``."""
    sizes = axis_sizes(config)

    def resized(widths: Widths) -> dict[str, Any]:
        return resized_config(config, {KV_AXIS: widths.kv_groups, MLP_AXIS: widths.intermediate})

    search = WidthSearch(
        base=Widths(kv_groups=sizes[KV_AXIS], intermediate=sizes[MLP_AXIS]),
        round_to=step.round_to,
        cut_kv_groups=step.cut_kv_groups,
        cut_intermediate=step.cut_intermediate,
        count=lambda widths: parameter_count(resized(widths)),
        is_legal=lambda widths: is_stock(resized(widths)),
    )
    return solve_budget(search, parameter_budget)


def forecast(config: Mapping[str, Any], step: PruneStep, parameter_budget: int) -> Forecast:
    """What ``prune`` will make of a model with this configuration."""
    widths = solve(config, step, parameter_budget)
    after = resized_config(config, {KV_AXIS: widths.kv_groups, MLP_AXIS: widths.intermediate})
    return Forecast(config=after, parameter_count=parameter_count(after), notes=_notes(config, widths))


def prune(request: CompressRequest[BaselineOptions, PruneStep]) -> StepResult:
    """Write the student without its least important MLP channels and KV groups."""
    config = request.student.config()
    widths = solve(config, request.step, request.parameter_budget)
    anatomy = anatomies.load(config)
    with open_checkpoint(request.student.path) as reader:
        plan = make_plan(reader, anatomy, widths, request.step, request.progress)
    plan.write(request.workdir / "plan.json")
    output = apply(request.student.path, plan, request.workdir / "pruned", request.progress)
    return StepResult(checkpoint=output, notes=_notes(config, widths))


def make_plan(
    reader: CheckpointReader, anatomy: Anatomy, widths: Widths, step: PruneStep, progress: Progress = silent
) -> Plan:
    """Which units of each layer stay: those with the largest L1 norm over their coupled tensors."""
    counts = {KV_AXIS: widths.kv_groups, MLP_AXIS: widths.intermediate}
    cut = {axis: count for axis, count in counts.items() if count < anatomy.sizes[axis]}
    keep: dict[str, list[list[int]]] = {axis: [] for axis in cut}
    for layer in range(anatomy.layer_count):
        progress("scoring", layer, anatomy.layer_count, "L1 norm")
        scores = magnitudes(reader, anatomy, tuple(cut), layer, aggregation=step.aggregation)
        for axis, count in cut.items():
            keep[axis].append(keep_top(scores[axis], count).tolist())
    progress("scoring", anatomy.layer_count, anatomy.layer_count)
    return plan_of(anatomy, keep)


def axis_sizes(config: Mapping[str, Any]) -> Mapping[str, int]:
    """Units of every axis of the model that ``config`` describes; raises ``UsageError`` without an anatomy."""
    return anatomies.load(config).sizes


def _notes(config: Mapping[str, Any], widths: Widths) -> dict[str, int]:
    """Widths after and before."""
    before = axis_sizes(config)
    return {
        "kv_groups": widths.kv_groups,
        "kv_groups_before": before[KV_AXIS],
        "intermediate_size": widths.intermediate,
        "intermediate_size_before": before[MLP_AXIS],
    }
