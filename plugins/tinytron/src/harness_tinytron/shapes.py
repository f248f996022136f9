"""How many units of each axis a step leaves, from the configuration alone; which ones is learned when it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness import Forecast
from harness.methods.rewriting import tied_config
from harness.methods.selection import Widths, WidthSearch, solve_budget
from harness.methods.vocabulary_transfer import swapped_config
from harness.surgery import anatomy as anatomies
from harness.surgery.count import parameter_count
from harness.surgery.plan import plan_of
from harness.surgery.shape import reduced_config
from harness_tinytron.options import CutStep, SwapVocabularyStep, TieEmbeddingsStep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness import ForecastRequest
    from harness.surgery.anatomy import Anatomy
    from harness.surgery.plan import Plan
    from harness_tinytron.options import TinytronOptions

KV_AXIS = "kv_group"
MLP_AXIS = "intermediate"


def forecast(request: ForecastRequest[TinytronOptions, Any]) -> Forecast:
    """The shape after the step; raises ``UsageError`` where it has none, ``BudgetUnreachable`` where none fits."""
    match request.step:
        case CutStep() as step:
            keep = kept_counts(request.config, step, request.parameter_budget)
            after = reduced_config(request.config, first_units(anatomies.load(request.config), keep))
            return _forecast(after, {axis: int(count) for axis, count in keep.items()})
        case SwapVocabularyStep() as step:
            return _forecast(swapped_config(request.config, step.row_count), {})
        case TieEmbeddingsStep():
            return _forecast(tied_config(request.config), {})
    return _forecast(dict(request.config), {})


def kept_counts(config: Mapping[str, Any], step: CutStep, parameter_budget: int) -> dict[str, int]:
    """Axis to units that stay, for every axis that loses some."""
    anatomy = anatomies.load(config)
    keep = {str(axis): count for axis, count in step.keep.items()}
    if step.to_budget:
        keep |= _solved(anatomy, step, keep, int(parameter_budget * step.budget_multiple))
    return {axis: count for axis, count in keep.items() if count < anatomy.sizes[axis]}


def first_units(anatomy: Anatomy, keep: Mapping[str, int]) -> Plan:
    """A plan that leaves so many units of each axis: no count depends on which."""
    scopes = {axis: anatomy.table.axes[axis].scope for axis in keep}
    rows = {axis: 1 if scopes[axis] == "model" else anatomy.layer_count for axis in keep}
    return plan_of(anatomy, {axis: [range(count)] * rows[axis] for axis, count in keep.items()})


def _solved(anatomy: Anatomy, step: CutStep, fixed: Mapping[str, int], budget: int) -> dict[str, int]:
    """The KV groups and MLP channels that the budget leaves beside what is fixed."""

    def after(widths: Widths) -> dict[str, Any]:
        wanted = {KV_AXIS: widths.kv_groups, MLP_AXIS: widths.intermediate, **fixed}
        lost = {axis: count for axis, count in wanted.items() if count < anatomy.sizes[axis]}
        return reduced_config(anatomy.config, first_units(anatomy, lost))

    found = solve_budget(
        WidthSearch(
            base=Widths(kv_groups=anatomy.sizes[KV_AXIS], intermediate=anatomy.sizes[MLP_AXIS]),
            round_to=step.round_to,
            cut_kv_groups=KV_AXIS not in fixed,
            cut_intermediate=MLP_AXIS not in fixed,
            count=lambda widths: parameter_count(after(widths)),
            # What stock classes can be stays so: no runtime needs our own class for it.
            is_legal=lambda widths: "structure" in anatomy.config or "structure" not in after(widths),
        ),
        budget,
    )
    return {axis: count for axis, count in _by_axis(found).items() if axis not in fixed}


def _by_axis(widths: Widths) -> dict[str, int]:
    return {KV_AXIS: widths.kv_groups, MLP_AXIS: widths.intermediate}


def _forecast(config: dict[str, Any], notes: dict[str, int]) -> Forecast:
    return Forecast(config=config, parameter_count=parameter_count(config), notes=notes)
