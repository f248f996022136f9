"""What each step leaves of a model, from its configuration alone: the plan without the choice of units.

The same functions decide how much goes when a step runs, so a forecast comes true.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from harness import Forecast
from harness.errors import UsageError
from harness.methods.budget import fit_parameters, uniform_family
from harness.methods.rank_bounds import bounds_by_error, bounds_by_threshold, bounds_of_top_k
from harness.methods.rank_search import TopKSettings
from harness.methods.ranks import LinearSize, even_ranks, uniform_ranks
from harness.methods.units import zero_scores
from harness.surgery import anatomy as anatomies
from harness.surgery.count import parameter_count
from harness.surgery.plan import Plan, parse_ranges, plan_of
from harness.surgery.shape import reduced_config
from harness.surgery.vocabulary.selection import kept_row_count
from harness_nics.options import DecomposeStep, FuseStep, MergeStep, VocabularyStep, WidthStep

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from harness import ForecastRequest
    from harness.methods.budget import Scores
    from harness.surgery.anatomy import Anatomy
    from harness_nics.options import NicsOptions

THRESHOLD_FRACTIONS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares that ASVD's search measures."""
KV_AXIS = "kv_group"
MLP_AXIS = "intermediate"


def forecast(request: ForecastRequest[NicsOptions, Any]) -> Forecast | None:
    """The shape after the step; None where it hangs on a tokenizer that the recipe does not describe.

    Of searched ranks it is one shape of many, ranks in equal shares, with bounds of the parameters that they leave.
    """
    anatomy = anatomies.load(request.config)
    plan = _plan(anatomy, request.step, request.parameter_budget)
    if plan is None:
        return None
    after = reduced_config(request.config, plan)
    bounds = None
    if isinstance(request.step, DecomposeStep):
        bounds = parameter_bounds(anatomy, request.step, request.parameter_budget)
    return Forecast(config=after, parameter_count=parameter_count(after), parameter_bounds=bounds)


def _plan(anatomy: Anatomy, step: object, parameter_budget: int) -> Plan | None:
    match step:
        case VocabularyStep():
            return _vocabulary_plan(anatomy, step)
        case WidthStep():
            return width_plan(anatomy, step, zero_scores(anatomy, cut_axes(step)), parameter_budget)
        case FuseStep():
            return fuse_plan(anatomy, step)
        case DecomposeStep():
            linears = dense_linears(anatomy)
            limit = weight_limit(anatomy, step, parameter_budget)
            share = uniform_ranks if step.allocation == "uniform" else even_ranks
            return rank_plan(anatomy, share(linears, limit, multiple=step.rank_multiple))
        case MergeStep():
            return merge_plan(anatomy, step)
    return None


def _vocabulary_plan(anatomy: Anatomy, step: VocabularyStep) -> Plan | None:
    count = step.row_count
    if count is None:
        if step.tokenizer_length is None or step.added_count is None or step.drop_fraction is None:
            return None
        count = kept_row_count(step.tokenizer_length, step.added_count, step.drop_fraction)
    if not 1 <= count <= anatomy.sizes["vocab"]:
        raise UsageError(f"vocabulary: {count} rows asked for, the model has {anatomy.sizes['vocab']}")
    return plan_of(anatomy, {"vocab": [range(count)]})


def cut_axes(step: WidthStep) -> tuple[str, ...]:
    """The axes that the step cuts; raises ``UsageError`` where there are none."""
    axes = ((KV_AXIS, step.cut_kv_groups), (MLP_AXIS, step.cut_intermediate))
    found = tuple(axis for axis, is_cut in axes if is_cut)
    if not found:
        raise UsageError("width: cut_kv_groups and cut_intermediate are both false, so there is nothing to cut")
    return found


def width_plan(anatomy: Anatomy, step: WidthStep, scores: Scores, parameter_budget: int) -> Plan:
    """The best units by ``scores``, as many as the step leaves."""
    layers = {axis: chosen for axis in scores if (chosen := _layers(anatomy, step, axis)) is not None}
    if step.drop_fraction is None:
        family = uniform_family(anatomy, scores, multiples={MLP_AXIS: step.round_to}, layers=layers)
        return fit_parameters(family, int(parameter_budget * step.budget_multiple))
    from harness.methods.selection import keep_top

    keep = {}
    for axis, by_layer in scores.items():
        chosen = layers.get(axis, range(anatomy.layer_count))
        counts = [
            len(each) if layer not in chosen else _kept(anatomy, step, axis, len(each))
            for layer, each in enumerate(by_layer)
        ]
        keep[axis] = [keep_top(each, count).tolist() for each, count in zip(by_layer, counts, strict=True)]
    return plan_of(anatomy, keep)


def _kept(anatomy: Anatomy, step: WidthStep, axis: str, count: int) -> int:
    """Units that stay of ``count``: as the original counts them, channels and whole KV groups."""
    assert step.drop_fraction is not None  # noqa: S101 - the caller has asked
    if axis == KV_AXIS:
        channels = count * anatomy.sizes["head_dim"]
        gone = channels - int(channels * (1 - step.drop_fraction))
        return max(1, count - gone // anatomy.sizes["head_dim"])
    kept = int(count * (1 - step.drop_fraction))
    return max(min(step.round_to, count), kept // step.round_to * step.round_to)


def _layers(anatomy: Anatomy, step: WidthStep, axis: str) -> Collection[int] | None:
    text = step.attention_layers if axis == KV_AXIS else step.mlp_layers
    if text is None:
        return None
    found = parse_ranges(text)
    if not isinstance(found, tuple) or max(found) >= anatomy.layer_count:
        raise UsageError(f"width: layers {text} of {axis}: the model has layers 0..{anatomy.layer_count - 1}")
    return found


def fuse_plan(anatomy: Anatomy, step: FuseStep) -> Plan:
    """What is fused already stays so."""
    asked = step.linears if step.linears is not None else tuple(fusion.name for fusion in anatomy.table.fusions)
    return plan_of(anatomy, {}, fused=tuple(dict.fromkeys((*anatomy.fused, *asked))))


def dense_linears(anatomy: Anatomy) -> list[LinearSize]:
    """Every linear of a layer that is not factorised, by path."""
    found = []
    for layer in range(anatomy.layer_count):
        for tensor in anatomy.linears(layer):
            rows, columns = tensor.shape(anatomy.sizes_in(layer))
            found.append(LinearSize(path=tensor.name.removesuffix(".weight"), out_count=rows, in_count=columns))
    return found


def weight_limit(anatomy: Anatomy, step: DecomposeStep, parameter_budget: int) -> int:
    """Weights that the linears may have, all of them together, when the rest of the model stays."""
    count = _count(anatomy)
    limit = parameter_budget if step.keep_fraction is None else int(count * step.keep_fraction)
    return limit - count + sum(linear.dense_count for linear in dense_linears(anatomy))


def _count(anatomy: Anatomy) -> int:
    """Parameters of the model, tied tensors once."""
    return sum(math.prod(tensor.shape(anatomy.sizes_in(tensor.layer))) for tensor in anatomy.tensors.values())


def parameter_bounds(anatomy: Anatomy, step: DecomposeStep, parameter_budget: int) -> tuple[int, int] | None:
    """Least and most parameters after the step's search; None where sizes alone decide.

    Raises:
        BudgetUnreachable: the smallest ranks that the search tries are more.
    """
    linears, limit = dense_linears(anatomy), weight_limit(anatomy, step, parameter_budget)
    match step.allocation:
        case "uniform":
            return None
        case "top-k":
            found = bounds_of_top_k(linears, limit, top_k_settings(step))
        case "binary":
            found = bounds_by_threshold(linears, limit, THRESHOLD_FRACTIONS, multiple=step.rank_multiple)
        case "error" | "sensitivity":
            found = bounds_by_error(linears, limit, multiple=step.rank_multiple, minimum_fraction=step.minimum_fraction)
    rest = _count(anatomy) - sum(linear.dense_count for linear in linears)
    return None if found.is_exact else (rest + found.least, rest + found.most)


def top_k_settings(step: DecomposeStep) -> TopKSettings:
    """The step in the words of the shelf."""
    as_published = step.compat == "full-rounds"
    return TopKSettings(
        step_fraction=step.step_fraction,
        top_k=step.top_k,
        minimum_fraction=step.minimum_fraction,
        ranked_by=step.ranked_by,
        refresh="all" if as_published else "changed",
        multiple=step.rank_multiple,
        whole_rounds=as_published,
    )


def rank_plan(anatomy: Anatomy, ranks: Mapping[str, int | None]) -> Plan:
    """The plan that gives each linear, by path, its rank."""
    by_module: dict[str, list[int | None]] = {}
    for path, rank in ranks.items():
        tensor = anatomy.tensors[f"{path}.weight"]
        assert tensor.layer is not None  # noqa: S101 - these are linears of layers
        by_module.setdefault(tensor.module, [None] * anatomy.layer_count)[tensor.layer] = rank
    given = {module: tuple(each) for module, each in by_module.items() if any(rank is not None for rank in each)}
    return plan_of(anatomy, {}, ranks=given)


def merge_plan(anatomy: Anatomy, step: MergeStep) -> Plan:
    """The plan that multiplies factors out: all, or those of ranks that save nothing."""
    dense: dict[str, list[int | None]] = {}
    for layer in range(anatomy.layer_count):
        for module, rank in anatomy.ranks(layer).items():
            size = _factorised_size(anatomy, module, layer)
            if step.scope == "all" or rank > size.largest_rank:
                dense.setdefault(module, [None] * anatomy.layer_count)[layer] = 0
    return plan_of(anatomy, {}, ranks={module: tuple(each) for module, each in dense.items()})


def _factorised_size(anatomy: Anatomy, module: str, layer: int) -> LinearSize:
    name = f"model.layers.{layer}.{module}"
    sizes = anatomy.sizes_in(layer)
    rows, _ = anatomy.tensors[f"{name}.A.weight"].shape(sizes)
    _, columns = anatomy.tensors[f"{name}.B.weight"].shape(sizes)
    return LinearSize(path=name, out_count=rows, in_count=columns)
