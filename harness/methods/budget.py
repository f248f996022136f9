"""The largest plan within a budget of parameters or bytes, of a family of plans that differ in widths alone.

    scores {axis: [layers][units]} ──uniform_family | global_family──> Family
    Family, budget ──fit_parameters | fit_bytes──> Plan

    uniform   one ladder an axis, for all layers alike, climbed in turn so that kept shares stay close
    global    one ladder a layer and axis, climbed where a parameter buys the highest score

Nothing is estimated: what a plan weighs is counted from the shapes of the anatomy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from harness.checkpoint.dtypes import BITS
from harness.errors import BudgetUnreachable
from harness.methods.allocation import DEFAULT_MULTIPLE, Normalization, by_worth, climb, make_ladder, normalized
from harness.methods.selection import keep_top, legal_widths
from harness.methods.units import zero_scores
from harness.surgery.count import weigh
from harness.surgery.plan import plan_of
from harness.surgery.shape import is_stock, resized_config

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from harness.surgery.anatomy import Anatomy
    from harness.surgery.plan import Plan

Scores: TypeAlias = "Mapping[str, Sequence[NDArray[np.float64]]]"
"""Axis to one array ``[units]`` for each layer, as every scorer of the shelf gives them."""
Climbed: TypeAlias = "Mapping[int, int]"
"""Steps taken, by the number of the rail; none where it is not named."""
Layers: TypeAlias = "Mapping[str, Collection[int]]"
"""Layers that may be cut, by axis; all of them along axes that are not named."""

DEFAULT_MULTIPLES: Final[Mapping[str, int]] = MappingProxyType({"intermediate": DEFAULT_MULTIPLE})
"""Widths are multiples of these; along axes that are not named, of 1."""
ALL_LAYERS: Final[Layers] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rail:
    """The widths that some layers may have along one axis, all of them the same."""

    axis: str
    layers: tuple[int, ...]
    widths: tuple[int, ...]
    """Ascending; the last is what the layers have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Plans from the smallest legal widths up to the whole model."""

    anatomy: Anatomy
    scores: Scores
    rails: tuple[Rail, ...]
    order: tuple[int, ...]
    """The rail of each step up, from the smallest plan to the whole model."""

    def widths(self, climbed: Climbed) -> list[dict[str, int]]:
        """Units of every scored axis that stay in each layer after these steps."""
        widths = [{axis: sizes[axis] for axis in self.scores} for sizes in self.anatomy.layer_sizes]
        for number, rail in enumerate(self.rails):
            for layer in rail.layers:
                widths[layer][rail.axis] = rail.widths[climbed.get(number, 0)]
        return widths

    def parameter_count(self, climbed: Climbed) -> int:
        """Parameters after these steps: what ``weigh`` finds for ``plan``, a hundred times faster."""
        own = [{**self.anatomy.sizes_in(layer), **width} for layer, width in enumerate(self.widths(climbed))]
        return sum(
            math.prod(tensor.shape(self.anatomy.sizes if tensor.layer is None else own[tensor.layer]))
            for tensor in self.anatomy.tensors.values()
        )

    def plan(self, climbed: Climbed) -> Plan:
        """The plan after these steps: in each layer, of each axis that is cut, the units with the highest scores."""
        widths = self.widths(climbed)
        keep = {
            axis: [keep_top(each, width[axis]).tolist() for each, width in zip(layers, widths, strict=True)]
            for axis, layers in self.scores.items()
            if any(width[axis] < len(each) for each, width in zip(layers, widths, strict=True))
        }
        return plan_of(self.anatomy, keep)


def uniform_family(
    anatomy: Anatomy,
    scores: Scores,
    *,
    multiples: Mapping[str, int] = DEFAULT_MULTIPLES,
    layers: Layers = ALL_LAYERS,
    stock_only: bool = False,
) -> Family:
    """Plans that leave the same widths in every layer that is cut; the axis that has kept the least is raised next.

    Args:
        anatomy: Of the model.
        scores: Of the axes that may be cut.
        multiples: Of the widths, by axis.
        layers: That may be cut, by axis.
        stock_only: Leave out widths that, by themselves, the architecture's stock class refuses.

    Raises:
        ValueError: scores that do not fit the model or are not finite, layers that have different widths now, or stock
            classes asked for where some layers stay whole.
    """
    cut_layers = _checked(anatomy, scores, layers)
    if stock_only and any(len(cut) < anatomy.layer_count for cut in cut_layers.values()):
        raise ValueError("no stock class has layers of different widths; cut all layers, or give up stock_only")
    rails = []
    for axis, cut in cut_layers.items():
        sizes = {anatomy.layer_sizes[layer][axis] for layer in cut}
        if len(sizes) > 1:
            raise ValueError(f"{axis} must be the same in all layers to be cut alike, found {sorted(sizes)}")
        widths = legal_widths(sizes.pop(), multiples.get(axis, 1))
        legal = tuple(
            width for width in widths if not stock_only or _is_stock(anatomy, axis, width) or width == widths[-1]
        )
        rails.append(Rail(axis=axis, layers=cut, widths=legal))
    shares = [(width / rail.widths[-1], number) for number, rail in enumerate(rails) for width in rail.widths[:-1]]
    return Family(
        anatomy=anatomy, scores=scores, rails=tuple(rails), order=tuple(number for _, number in sorted(shares))
    )


def global_family(  # noqa: PLR0913 - the request of a library function, all but the first two by name
    anatomy: Anatomy,
    scores: Scores,
    *,
    normalization: Normalization = "none",
    multiples: Mapping[str, int] = DEFAULT_MULTIPLES,
    minimum_fraction: float = 0.0,
    layers: Layers = ALL_LAYERS,
) -> Family:
    """Plans in which all layers and axes compete: next comes the step whose units score the most per parameter.

    Args:
        anatomy: Of the model.
        scores: Of the axes that may be cut; along several axes they must be on one scale, as Taylor scores are.
        normalization: Of each layer's scores along each axis, before they compete.
        multiples: Of the widths, by axis.
        minimum_fraction: Share of its units that every layer keeps at least, 0..1; one legal width in any case.
        layers: That may be cut, by axis.

    Raises:
        ValueError: scores that do not fit the model or are not finite, or an option out of range.
    """
    cut_layers = _checked(anatomy, scores, layers)
    rails, ladders, costs = [], [], []
    for axis, cut in cut_layers.items():
        comparable = normalized(scores[axis], normalization)
        for layer in cut:
            ladder = make_ladder(comparable[layer], multiple=multiples.get(axis, 1), minimum_fraction=minimum_fraction)
            rails.append(Rail(axis=axis, layers=(layer,), widths=ladder.widths))
            ladders.append(ladder)
            costs.append(_unit_parameters(anatomy, axis, layer))
    return Family(anatomy=anatomy, scores=scores, rails=tuple(rails), order=by_worth(ladders, costs))


def fit_parameters(family: Family, parameter_budget: int) -> Plan:
    """The plan of ``family`` that goes as far as ``parameter_budget``, never over it.

    No legal step up fits any more, whichever rail it is on.

    Raises:
        BudgetUnreachable: the smallest plan has more parameters; the message has their number.
        UsageError: the plan does not fit the model, as where a rank exceeds the width that is left.
    """
    return _fit(family, parameter_budget, f"{parameter_budget:,} parameters")


def fit_bytes(family: Family, byte_budget: int, dtype: str = "F16") -> Plan:
    """As ``fit_parameters``, with a budget of ``weights_bytes(dtype)``: the bytes of all tensors, headers aside."""
    most = (8 * byte_budget + 7) // BITS[dtype]
    return _fit(family, most, f"{byte_budget:,} bytes ({most:,} parameters in {dtype})")


def _fit(family: Family, most: int, asked: str) -> Plan:
    climbed = climb(family.order, family.parameter_count, most)
    if climbed is None:
        raise BudgetUnreachable(
            f"the budget of {asked} cannot be reached: the smallest legal widths leave {family.parameter_count({}):,} "
            f"parameters; raise it, or cut more axes or layers, or allow smaller widths"
        )
    plan = family.plan(climbed)
    count = weigh(family.anatomy.config, plan).parameter_count
    assert count == family.parameter_count(climbed) <= most  # noqa: S101 - both count the same shapes
    return plan


def _checked(anatomy: Anatomy, scores: Scores, layers: Layers) -> dict[str, tuple[int, ...]]:
    """The layers to cut along each axis; ``scores`` are those of the model, and finite."""
    for axis, zeros in zero_scores(anatomy, scores).items():
        wanted, found = [len(each) for each in zeros], [len(each) for each in scores[axis]]
        if wanted != found:
            raise ValueError(f"scores of {axis} must be of {wanted} units by layer, got {found}")
        normalized(scores[axis], "none")
    for axis in layers:
        if axis not in scores:
            raise ValueError(f"layers must be of axes with scores, {', '.join(scores)}, got {axis!r}")
    return {axis: _layers(anatomy, axis, layers.get(axis, range(anatomy.layer_count))) for axis in scores}


def _layers(anatomy: Anatomy, axis: str, asked: Collection[int]) -> tuple[int, ...]:
    cut = tuple(sorted(set(asked)))
    if not cut or cut[0] < 0 or cut[-1] >= anatomy.layer_count:
        raise ValueError(f"layers of {axis} must be some of 0..{anatomy.layer_count - 1}, got {list(cut)}")
    return cut


def _is_stock(anatomy: Anatomy, axis: str, width: int) -> bool:
    return is_stock(resized_config(anatomy.config, {axis: width}))


def _unit_parameters(anatomy: Anatomy, axis: str, layer: int) -> float:
    """Parameters that go with one unit, at the widths that the layer has."""
    sizes = anatomy.sizes_in(layer)
    with_one_less = {**sizes, axis: sizes[axis] - 1}
    return sum(
        math.prod(tensor.shape(sizes)) - math.prod(tensor.shape(with_one_less))
        for tensor in anatomy.coupled(axis, layer)
    )
