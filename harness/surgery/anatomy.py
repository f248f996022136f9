"""The anatomy of an architecture: its tensors, their shapes in axes, and what must be cut together.

A table (``harness/surgery/tables/<model_type>.toml``) names tensors and axes; ``load`` puts a configuration into it.
Adding an architecture is adding a table.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

from harness.document import Document
from harness.errors import UsageError
from harness.surgery.dimension import Dimension, axes_of, length, parse_dimension
from harness.surgery.expression import evaluate

if TYPE_CHECKING:
    from collections.abc import Mapping

LAYER_AXIS = "layer"


class AxisTable(Document):
    """How many units an axis has, and whether each layer may keep other ones."""

    size: str
    scope: Literal["layer", "model"]


class TensorTable(Document):
    """One tensor, or the same tensor of every layer."""

    name: str
    """``{layer}`` stands for the layer's number."""
    shape: tuple[str, ...]
    when: str = "True"
    """Condition on the configuration under which the tensor is stored."""


class ConstraintTable(Document):
    """What stock classes ask of a configuration beyond fitting shapes."""

    holds: str
    reason: str


class AnatomyTable(Document):
    """One architecture, as its file has it."""

    model_type: str
    architecture: str
    axes: dict[str, AxisTable]
    config: dict[str, str]
    """Fields of the reduced ``config.json`` as expressions of the axes that remain."""
    tensors: tuple[TensorTable, ...]
    constraints: tuple[ConstraintTable, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor of a model."""

    name: str
    layer: int | None
    dimensions: tuple[Dimension, ...]

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Its shape where axes have ``sizes``."""
        return tuple(length(dimension, sizes) for dimension in self.dimensions)

    def names_axis(self, axis: str) -> bool:
        """Whether units of ``axis`` reach into this tensor."""
        return any(axis in axes_of(dimension) for dimension in self.dimensions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """A table with a configuration put into it."""

    table: AnatomyTable
    config: Mapping[str, Any]
    sizes: Mapping[str, int]
    """Units of every axis."""
    tensors: Mapping[str, Tensor]
    """By name, in the order of the table, layer by layer."""

    @property
    def layer_count(self) -> int:
        """Decoder layers."""
        return self.sizes[LAYER_AXIS]

    def coupled(self, axis: str, layer: int) -> tuple[Tensor, ...]:
        """The tensors of ``layer`` that lose the same units when ``axis`` is cut there."""
        return tuple(part for part in self.tensors.values() if part.layer == layer and part.names_axis(axis))


def load(config: Mapping[str, Any]) -> Anatomy:
    """The anatomy of the model that ``config`` (a parsed ``config.json``) describes.

    Raises:
        UsageError: there is no table for its ``model_type``, or its fields make no shape.
    """
    table = load_table(str(config.get("model_type")))
    sizes = axis_sizes(table, config)
    return Anatomy(table=table, config=config, sizes=sizes, tensors=_tensors(table, config, sizes[LAYER_AXIS]))


def model_types() -> tuple[str, ...]:
    """The architectures that have a table, sorted."""
    folder = resources.files("harness.surgery") / "tables"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


@cache
def load_table(model_type: str) -> AnatomyTable:
    """The table of ``model_type``; raises ``UsageError`` where there is none."""
    if model_type not in model_types():
        raise UsageError(f"no anatomy for model_type {model_type!r}; there are tables for {', '.join(model_types())}")
    text = (resources.files("harness.surgery") / "tables" / f"{model_type}.toml").read_text()
    return AnatomyTable.model_validate(tomllib.loads(text))


def axis_sizes(table: AnatomyTable, config: Mapping[str, Any]) -> dict[str, int]:
    """Units of every axis; raises ``UsageError`` where the fields of ``config`` make none."""
    return {name: _size(table, name, axis.size, config) for name, axis in table.axes.items()}


def broken_constraint(table: AnatomyTable, config: Mapping[str, Any]) -> ConstraintTable | None:
    """The first constraint of the stock classes that ``config`` breaks."""
    return next((item for item in table.constraints if not evaluate(item.holds, config)), None)


def _size(table: AnatomyTable, axis: str, text: str, config: Mapping[str, Any]) -> int:
    try:
        size = evaluate(text, config)
    except ValueError as error:
        raise UsageError(f"config.json of a {table.model_type}: axis {axis}: {error}") from error
    if not isinstance(size, int) or size < 1:
        raise UsageError(f"config.json of a {table.model_type}: axis {axis} must be at least 1, found {size!r}")
    return size


def _tensors(table: AnatomyTable, config: Mapping[str, Any], layer_count: int) -> dict[str, Tensor]:
    stored = [tensor for tensor in table.tensors if evaluate(tensor.when, config)]
    per_layer = [tensor for tensor in stored if "{layer}" in tensor.name]
    first = stored.index(per_layer[0])
    ordered = [_tensor(tensor, None) for tensor in stored[:first]]
    ordered += [_tensor(tensor, layer) for layer in range(layer_count) for tensor in per_layer]
    ordered += [_tensor(tensor, None) for tensor in stored[first:] if tensor not in per_layer]
    return {tensor.name: tensor for tensor in ordered}


def _tensor(tensor: TensorTable, layer: int | None) -> Tensor:
    dimensions = tuple(parse_dimension(text) for text in tensor.shape)
    return Tensor(name=tensor.name.replace("{layer}", str(layer)), layer=layer, dimensions=dimensions)
