"""The compress steps: each decides a plan and lets the engine carry it out, streaming."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness import StepResult
from harness.errors import UsageError
from harness.surgery import anatomy as anatomies
from harness.surgery.apply import apply
from harness.surgery.count import parameter_count
from harness_nics import planning
from harness_nics.options import DecomposeStep, FuseStep, MergeStep, VocabularyStep, WidthStep

if TYPE_CHECKING:
    from pydantic import JsonValue

    from harness import CompressRequest
    from harness.surgery.plan import Plan
    from harness_nics.options import NicsOptions


def compress(request: CompressRequest[NicsOptions, Any]) -> StepResult:
    """Write the student after the step.

    Raises:
        UsageError: the step does not fit the model.
        BudgetUnreachable: nor does the budget.
        LimitExceeded: it needs more memory than there is.
    """
    match request.step:
        case DecomposeStep():
            from harness_nics import decomposition

            return decomposition.decompose(request)
        case VocabularyStep():
            from harness_nics import vocabulary

            plan, notes = vocabulary.choose(request)
        case WidthStep():
            from harness_nics import width

            plan, notes = width.choose(request)
        case FuseStep():
            plan, notes = planning.fuse_plan(anatomies.load(request.student.config()), request.step), {}
        case MergeStep():
            plan, notes = planning.merge_plan(anatomies.load(request.student.config()), request.step), {}
        case other:
            raise UsageError(f"no compress step {other!r}")
    return carry_out(request, plan, notes)


def carry_out(request: CompressRequest[NicsOptions, Any], plan: Plan, notes: dict[str, JsonValue]) -> StepResult:
    """Apply ``plan`` to the student."""
    plan.write(request.workdir / "plan.json")
    output = apply(request.student.path, plan, request.workdir / "made", request.progress)
    config = request.student.config()
    counts: dict[str, JsonValue] = {
        "parameter_count": parameter_count(config, plan),
        "parameter_count_before": parameter_count(config),
    }
    return StepResult(checkpoint=output, notes={**counts, **notes})
