"""A plan: which units of which axis stay in which layer, decided before a byte of weights moves.

    {"model_type": "llama",
     "axes": {"intermediate": {"unit_count": 14336, "keep": ["0-5,7,9-14335", ...]},     one entry per layer
              "kv_group":     {"unit_count": 8,     "keep": ["0-3", "0,2-4", ...]}}}

Axes that a plan does not name stay whole. Ranges keep the file short, readable and easy to compare.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from harness.document import Document
from harness.errors import UsageError

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


class AxisPlan(Document):
    """The units of one axis that stay."""

    unit_count: int = Field(gt=0, le=MAX_UNIT_COUNT)
    """Units before the cut."""
    keep: tuple[Units, ...] = Field(min_length=1)
    """Kept units, ascending, one entry per layer; a single one where the axis belongs to the whole model."""

    @model_validator(mode="after")
    def _within(self) -> Self:
        for layer, units in enumerate(self.keep):
            ascending = all(left < right for left, right in pairwise(units))
            if not units or not ascending or units[0] < 0 or units[-1] >= self.unit_count:
                raise ValueError(
                    f"layer {layer}: kept units must be ascending, at least one, in 0..{self.unit_count - 1}"
                )
        return self


class Plan(Document):
    """What stays of a checkpoint."""

    model_type: str
    axes: dict[str, AxisPlan] = Field(default_factory=dict)

    def check(self, anatomy: Anatomy) -> None:
        """Hold the plan against the model that it is to be applied to.

        Raises:
            UsageError: it was made for another architecture or other sizes.
        """
        if self.model_type != anatomy.table.model_type:
            raise UsageError(f"the plan is for a {self.model_type}, the checkpoint is a {anatomy.table.model_type}")
        for name, axis in self.axes.items():
            _check_axis(name, axis, anatomy)

    def kept(self, axis: str, layer: int | None) -> NDArray[np.int64] | None:
        """The kept units of ``axis`` in ``layer`` (None: outside of layers); None where all stay."""
        if axis not in self.axes:
            return None
        keep = self.axes[axis].keep
        return np.asarray(keep[0 if len(keep) == 1 or layer is None else layer], dtype=np.int64)

    def sizes(self, anatomy: Anatomy, layer: int | None) -> dict[str, int]:
        """Units of every axis that remain in ``layer``."""
        left = {name: len(units) for name in self.axes if (units := self.kept(name, layer)) is not None}
        return {**anatomy.sizes, **left}

    def uniform_sizes(self, anatomy: Anatomy) -> dict[str, int]:
        """Units of every axis that remain, where all layers keep equally many.

        Raises:
            UsageError: layers keep different numbers, which no stock class can express.
        """
        for name, axis in self.axes.items():
            counts = sorted({len(units) for units in axis.keep})
            if len(counts) > 1:
                raise UsageError(f"plan: axis {name}: every layer must keep equally many units, found {counts}")
        return self.sizes(anatomy, 0)


def keep_all(anatomy: Anatomy) -> Plan:
    """The plan that removes nothing."""
    return Plan(model_type=anatomy.table.model_type)


def plan_of(anatomy: Anatomy, keep: Mapping[str, Sequence[Sequence[int]]]) -> Plan:
    """The plan that keeps, of each axis in ``keep``, the units given per layer; raises as ``Plan.check``."""
    axes: dict[str, Any] = {
        name: AxisPlan(unit_count=anatomy.sizes[name], keep=tuple(tuple(map(int, units)) for units in layers))
        for name, layers in keep.items()
    }
    plan = Plan(model_type=anatomy.table.model_type, axes=axes)
    plan.check(anatomy)
    return plan


def _check_axis(name: str, axis: AxisPlan, anatomy: Anatomy) -> None:
    if name not in anatomy.sizes:
        raise UsageError(f"plan: no axis {name!r}; a {anatomy.table.model_type} has {', '.join(anatomy.sizes)}")
    if axis.unit_count != anatomy.sizes[name]:
        raise UsageError(
            f"plan: axis {name} is planned for {axis.unit_count} units, the checkpoint has {anatomy.sizes[name]}"
        )
    entries = anatomy.layer_count if anatomy.table.axes[name].scope == "layer" else 1
    if len(axis.keep) != entries:
        raise UsageError(f"plan: axis {name} must have {entries} entries, found {len(axis.keep)}")
