"""A plan: which units of which axis stay in which layer, decided before a byte of weights moves.

    {"model_type": "llama",
     "axes": {"intermediate": {"unit_count": 14336, "keep": ["0-5,7,9-14335", ...]},     one entry per layer
              "kv_group":     {"unit_count": 8,     "keep": ["0-3", "0,2-4", ...]},
              "layer":        {"unit_count": 32,    "keep": ["0-20,22-31"]}},            or one for the model
     "fused": ["self_attn.qkv_proj"],                                       linears that are concatenated afterwards
     "ranks": {"mlp.down_proj": [512, 640, null, 0, ...]}}                  per layer: a rank, as it is, or dense again

First units go, then linears are fused or parted, then factorised. Layers are counted as they stand before the cut.
Axes that a plan does not name stay whole. Ranges keep the file short, readable and easy to compare.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from harness.document import Document
from harness.errors import UsageError
from harness.surgery.table import LAYER_AXIS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from harness.surgery.anatomy import Anatomy

MAX_UNIT_COUNT = 1 << 24


def format_ranges(units: Sequence[int]) -> str:
    """Ascending ``units`` as text: ``[0, 1, 2, 5]`` is ``0-2,5``."""
    if not units:
        return ""
    breaks = [place + 1 for place, (left, right) in enumerate(pairwise(units)) if right != left + 1]
    edges = [0, *breaks, len(units)]
    runs = [(units[first], units[stop - 1]) for first, stop in pairwise(edges)]
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def parse_ranges(text: object) -> object:
    """The units that ``text`` names; what is no text passes as it is. Raises ``ValueError``."""
    if not isinstance(text, str):
        return text
    units: list[int] = []
    for run in text.split(","):
        first, _, last = run.partition("-")
        start, stop = int(first), int(last or first) + 1
        if not 0 < stop - start <= MAX_UNIT_COUNT - len(units):
            raise ValueError(f"a range must ascend and all of them name at most {MAX_UNIT_COUNT} units, got {run:.50}")
        units.extend(range(start, stop))
    return tuple(units)


Units = Annotated[tuple[int, ...], BeforeValidator(parse_ranges), PlainSerializer(format_ranges, return_type=str)]


UnitCount = Annotated[int, Field(gt=0, le=MAX_UNIT_COUNT)]


class AxisPlan(Document):
    """The units of one axis that stay."""

    unit_count: UnitCount | tuple[UnitCount, ...]
    """Units before the cut; one for each layer where they differ."""
    keep: tuple[Units, ...] = Field(min_length=1)
    """Kept units, ascending, one entry per layer; a single one where the axis belongs to the whole model."""

    @model_validator(mode="after")
    def _within(self) -> Self:
        if isinstance(self.unit_count, tuple) and len(self.unit_count) != len(self.keep):
            raise ValueError(f"{len(self.unit_count)} unit counts for {len(self.keep)} entries of kept units")
        for layer, units in enumerate(self.keep):
            last = self.unit_count_in(layer) - 1
            ascending = all(left < right for left, right in pairwise(units))
            if not units or not ascending or units[0] < 0 or units[-1] > last:
                raise ValueError(f"layer {layer}: kept units must be ascending, at least one, in 0..{last}")
        return self

    def unit_count_in(self, layer: int) -> int:
        """Units before the cut in ``layer``."""
        return self.unit_count[layer] if isinstance(self.unit_count, tuple) else self.unit_count


class Plan(Document):
    """What stays of a checkpoint, and how its linears are stored."""

    model_type: str
    axes: dict[str, AxisPlan] = Field(default_factory=dict)
    fused: tuple[str, ...] | None = None
    """Concatenated linears, in all layers; None leaves what is fused as it is, an empty list parts all."""
    ranks: dict[str, tuple[Annotated[int, Field(ge=0, le=MAX_UNIT_COUNT)] | None, ...]] = Field(default_factory=dict)
    """Linear to its rank in each layer: None leaves it as it is, 0 multiplies a factorised one out."""
    rescale_norms: bool = True
    """Where hidden units go, multiply the weights of RMSNorms by ``sqrt(before / after)``, since the mean of squares is
    now over fewer units: exact, but for epsilon, where the units that go are zero."""

    def check(self, anatomy: Anatomy) -> None:
        """Hold the plan against the model that it is to be applied to.

        Raises:
            UsageError: it was made for another architecture, other sizes or other linears.
        """
        if self.model_type != anatomy.table.model_type:
            raise UsageError(f"the plan is for a {self.model_type}, the checkpoint is a {anatomy.table.model_type}")
        for name, axis in self.axes.items():
            _check_axis(name, axis, anatomy)
        for name in self.fused or ():
            anatomy.table.fusion(name)
        for module, ranks in self.ranks.items():
            if len(ranks) != anatomy.layer_count:
                raise UsageError(f"plan: ranks of {module} must have {anatomy.layer_count} entries, found {len(ranks)}")

    def kept(self, axis: str, layer: int | None) -> NDArray[np.int64] | None:
        """The kept units of ``axis`` in ``layer`` (None: outside of layers); None where all stay."""
        if axis not in self.axes:
            return None
        keep = self.axes[axis].keep
        return np.asarray(keep[0 if len(keep) == 1 or layer is None else layer], dtype=np.int64)

    def kept_units(self, layer: int | None) -> dict[str, NDArray[np.int64]]:
        """The kept units in ``layer`` of every axis that the plan names."""
        return {axis: units for axis in self.axes if (units := self.kept(axis, layer)) is not None}

    def kept_layers(self, anatomy: Anatomy) -> tuple[int, ...]:
        """The layers that stay, by their number before the cut."""
        return self.axes[LAYER_AXIS].keep[0] if LAYER_AXIS in self.axes else tuple(range(anatomy.layer_count))

    def sizes(self, anatomy: Anatomy, layer: int | None) -> dict[str, int]:
        """Units of every axis that remain in ``layer``, counted before the cut."""
        left = {axis: len(units) for axis, units in self.kept_units(layer).items()}
        return {**anatomy.sizes_in(layer), **left}


def keep_all(anatomy: Anatomy) -> Plan:
    """The plan that removes nothing."""
    return Plan(model_type=anatomy.table.model_type)


def plan_of(anatomy: Anatomy, keep: Mapping[str, Sequence[Sequence[int]]], **fields: Any) -> Plan:  # noqa: ANN401
    """The plan that keeps, of each axis in ``keep``, the units given per layer; raises as ``Plan.check``.

    Args:
        anatomy: the model before the cut.
        keep: axis to kept units, one entry per layer or one for the model.
        fields: ``fused``, ``ranks`` and ``rescale_norms`` of the plan.
    """
    axes: dict[str, Any] = {
        name: AxisPlan(unit_count=_unit_count(anatomy, name), keep=tuple(tuple(map(int, units)) for units in layers))
        for name, layers in keep.items()
    }
    plan = Plan(model_type=anatomy.table.model_type, axes=axes, **fields)
    plan.check(anatomy)
    return plan


def _unit_count(anatomy: Anatomy, axis: str) -> int | tuple[int, ...]:
    _require_axis(axis, anatomy)
    counts = tuple(sizes[axis] for sizes in anatomy.layer_sizes)
    return counts if len(set(counts)) > 1 else anatomy.sizes[axis]


def _require_axis(name: str, anatomy: Anatomy) -> None:
    if name not in anatomy.table.axes:
        raise UsageError(f"plan: no axis {name!r}; a {anatomy.table.model_type} has {', '.join(anatomy.table.axes)}")
    fixed = anatomy.table.axes[name].fixed
    if fixed is not None:
        raise UsageError(f"plan: axis {name} of a {anatomy.table.model_type} cannot be cut: {fixed}")


def _check_axis(name: str, axis: AxisPlan, anatomy: Anatomy) -> None:
    _require_axis(name, anatomy)
    entries = anatomy.layer_count if anatomy.table.axes[name].scope == "layer" else 1
    if len(axis.keep) != entries:
        raise UsageError(f"plan: axis {name} must have {entries} entries, found {len(axis.keep)}")
    for layer in range(entries):
        planned, found = axis.unit_count_in(layer), anatomy.sizes_in(layer if entries > 1 else None)[name]
        if planned != found:
            raise UsageError(f"plan: axis {name} is planned for {planned} units, the checkpoint has {found}")
