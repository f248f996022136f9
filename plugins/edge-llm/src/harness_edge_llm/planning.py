"""What each step leaves of a model, as far as its configuration says; and the plan once sensitivity is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness import Forecast
from harness.errors import UsageError
from harness.methods.budget import fit_parameters, uniform_family
from harness.methods.layer_policy import policy_family
from harness.methods.layer_tuning import segments
from harness.methods.units import zero_scores
from harness.surgery import anatomy as anatomies
from harness.surgery.count import parameter_count
from harness.surgery.shape import config_with_exits, reduced_config
from harness_edge_llm.options import LayerwiseStep, UnifiedStep, VoteStep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness import ForecastRequest
    from harness.methods.budget import Scores
    from harness.surgery.anatomy import Anatomy
    from harness.surgery.plan import Plan
    from harness_edge_llm.options import EdgeOptions

KV_AXIS = "kv_group"
MLP_AXIS = "intermediate"


def forecast(request: ForecastRequest[EdgeOptions, Any]) -> Forecast | None:
    """The shape after the step; None where it hangs on the sensitivity of layers.

    Raises:
        BudgetUnreachable: no widths are as small as the budget asks; the smallest do not hang on sensitivity.
    """
    step = request.step
    if isinstance(step, VoteStep):
        after = voting_config(request.config, step)
        return Forecast(config=after, parameter_count=parameter_count(after))
    if isinstance(step, UnifiedStep):
        return Forecast(config=request.config, parameter_count=parameter_count(request.config))
    anatomy = anatomies.load(request.config)
    zeros = zero_scores(anatomy, cut_axes(step))
    even = {axis: dict.fromkeys(range(anatomy.layer_count), 0.0) for axis in zeros}
    plan = width_plan(anatomy, step, zeros, even, request.parameter_budget)
    if step.allocation == "policy":
        return None
    after = reduced_config(request.config, plan)
    return Forecast(config=after, parameter_count=parameter_count(after))


def voting_config(config: Mapping[str, Any], step: VoteStep) -> dict[str, Any]:
    """The ``config.json`` of a student whose exits vote.

    Raises:
        UsageError: no exit would be left beside the last layer.
    """
    layer_count = anatomies.load(config).layer_count
    stride = min(step.stride, layer_count)
    exits = [part.exit for part in segments(layer_count, stride, layer_count) if part.exit >= step.first]
    if len(exits) < 2:  # noqa: PLR2004 - one exit has nobody to vote with
        raise UsageError(
            f"vote: stride {step.stride} and first {step.first} leave no exit beside the last of {layer_count} layers; "
            f"the model can vote with a stride below {layer_count}"
        )
    return config_with_exits(config, exits, step.how)


def cut_axes(step: LayerwiseStep) -> tuple[str, ...]:
    """The axes that the step cuts."""
    return tuple(axis for axis, is_cut in ((KV_AXIS, step.cut_kv_groups), (MLP_AXIS, step.cut_intermediate)) if is_cut)


def width_plan(
    anatomy: Anatomy,
    step: LayerwiseStep,
    scores: Scores,
    errors: Mapping[str, Mapping[int, float]],
    parameter_budget: int,
) -> Plan:
    """The best units by ``scores``, in each layer as many as ``errors`` and the budget leave."""
    multiples = {MLP_AXIS: step.round_to}
    if step.allocation == "uniform":
        return fit_parameters(uniform_family(anatomy, scores, multiples=multiples), parameter_budget)
    family = policy_family(anatomy, scores, errors, multiples=multiples, largest=step.largest, strength=step.strength)
    return fit_parameters(family, parameter_budget)
