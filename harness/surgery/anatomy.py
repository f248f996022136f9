"""The anatomy of a model: its tensors, their shapes in axes, and what must be cut together.

    table (tables/<model_type>.toml) + config.json (+ structure.json) --load--> Anatomy

A ``config`` here is the parsed ``config.json``; that of a structured checkpoint has the content of its
``structure.json`` under ``structure`` (``harness.checkpoint.checkpoint.Checkpoint.config`` puts it there).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harness.checkpoint.structure import LAYER_STRUCTURE_AXES, MAX_LAYERS, Structure
from harness.errors import UsageError
from harness.surgery.dimension import parse_dimension
from harness.surgery.expression import evaluate
from harness.surgery.linear import FACTORS, Tensor, factorise, fuse, rank_axis
from harness.surgery.table import LAYER_AXIS, LAYER_PREFIX, axis_sizes, table_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.surgery.table import AnatomyTable, TensorTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """A table with a configuration put into it."""

    table: AnatomyTable
    config: Mapping[str, Any]
    structure: Structure | None
    """None where a stock class has the shape."""
    sizes: Mapping[str, int]
    """Units of every axis; of an axis that differs between layers, the largest."""
    layer_sizes: tuple[Mapping[str, int], ...]
    """Units of every axis in each layer, the ranks of factorised linears included."""
    tensors: Mapping[str, Tensor]
    """By name, in the order of the table, layer by layer."""

    @property
    def layer_count(self) -> int:
        """Decoder layers."""
        return self.sizes[LAYER_AXIS]

    @property
    def fused(self) -> dict[str, tuple[str, ...]]:
        """Concatenated linears and their parts."""
        return dict(self.structure.fused) if self.structure else {}

    def ranks(self, layer: int) -> dict[str, int]:
        """Factorised linears of ``layer`` and their ranks."""
        return dict(self.structure.layers[layer].ranks) if self.structure else {}

    def sizes_in(self, layer: int | None) -> Mapping[str, int]:
        """Units of every axis in ``layer``; None: outside of layers."""
        return self.sizes if layer is None else self.layer_sizes[layer]

    def coupled(self, axis: str, layer: int) -> tuple[Tensor, ...]:
        """The tensors of ``layer`` that lose the same units when ``axis`` is cut there."""
        return tuple(part for part in self.tensors.values() if part.layer == layer and part.names_axis(axis))

    def linears(self, layer: int) -> tuple[Tensor, ...]:
        """The weights of all dense linears of ``layer``, fused ones as one."""
        return tuple(part for part in self.tensors.values() if part.layer == layer and part.is_linear)


def load(config: Mapping[str, Any]) -> Anatomy:
    """The anatomy of the model that ``config`` describes.

    Raises:
        UsageError: there is no table for its ``model_type``, its fields make no shape, or its structure does not fit.
    """
    table = table_of(config)
    structure = _structure(table, config)
    sizes = {**axis_sizes(table, config), **(_largest(structure) if structure else {})}
    if sizes[LAYER_AXIS] > MAX_LAYERS:
        raise UsageError(f"num_hidden_layers must be at most {MAX_LAYERS}, found {sizes[LAYER_AXIS]}")
    anatomy = Anatomy(
        table=table,
        config=config,
        structure=structure,
        sizes=sizes,
        layer_sizes=tuple({**sizes, **_own_sizes(structure, layer)} for layer in range(sizes[LAYER_AXIS])),
        tensors=_tensors(table, config, structure, sizes[LAYER_AXIS]),
    )
    _check_ranks(anatomy)
    return anatomy


def _check_ranks(anatomy: Anatomy) -> None:
    """No factor is wider than the linear that it stands for: that would be more weights for the same function."""
    for tensor in anatomy.tensors.values() if anatomy.structure else ():
        if tensor.leaf in FACTORS:
            shape = tensor.shape(anatomy.sizes_in(tensor.layer))
            rank, width = shape if tensor.leaf == "B.weight" else shape[::-1]
            if rank > width:
                raise UsageError(f"{tensor.module} of layer {tensor.layer}: rank must be in 1..{width}, found {rank}")


def _structure(table: AnatomyTable, config: Mapping[str, Any]) -> Structure | None:
    found = config.get("structure")
    if found is None:
        return None
    try:
        # By way of JSON, so that lists become tuples and nothing else is coerced.
        structure = Structure.model_validate_json(json.dumps(found))
    except ValidationError as error:
        raise UsageError(f"structure of a {table.model_type}: {error}") from error
    if structure.model_type != table.model_type or len(structure.layers) != config.get("num_hidden_layers"):
        raise UsageError(
            f"the structure is of a {structure.model_type} of {len(structure.layers)} layers, config.json says "
            f"{table.model_type} and {config.get('num_hidden_layers')}"
        )
    if structure.block != table.block:
        raise UsageError(f"the structure builds a layer otherwise than a {table.model_type} does")
    return structure


def _largest(structure: Structure) -> dict[str, int]:
    return {axis: max(getattr(layer, axis) for layer in structure.layers) for axis in LAYER_STRUCTURE_AXES}


def _own_sizes(structure: Structure | None, layer: int) -> dict[str, int]:
    if structure is None:
        return {}
    own = structure.layers[layer]
    ranks = {rank_axis(module): rank for module, rank in own.ranks.items()}
    return {**{axis: getattr(own, axis) for axis in LAYER_STRUCTURE_AXES}, **ranks}


def _tensors(
    table: AnatomyTable, config: Mapping[str, Any], structure: Structure | None, layer_count: int
) -> dict[str, Tensor]:
    stored = [tensor for tensor in table.tensors if evaluate(tensor.when, config)]
    per_layer = [tensor for tensor in stored if "{layer}" in tensor.name]
    first = stored.index(per_layer[0])
    ordered = [_tensor(tensor, None) for tensor in stored[:first]]
    for layer in range(layer_count):
        ordered += _layer_tensors(per_layer, layer, structure)
    ordered += [_tensor(tensor, None) for tensor in stored[first:] if tensor not in per_layer]
    return {tensor.name: tensor for tensor in ordered}


def _layer_tensors(entries: Sequence[TensorTable], layer: int, structure: Structure | None) -> tuple[Tensor, ...]:
    tensors = tuple(_tensor(entry, layer) for entry in entries)
    if structure is not None:
        for name, parts in structure.fused.items():
            tensors = fuse(tensors, name, parts)
        for module in structure.layers[layer].ranks:
            tensors = factorise(tensors, module)
    return tensors


def _tensor(entry: TensorTable, layer: int | None) -> Tensor:
    dimensions = tuple(parse_dimension(text) for text in entry.shape)
    module, _, leaf = entry.name.removeprefix(LAYER_PREFIX).rpartition(".")
    name = entry.name.replace("{layer}", str(layer))
    return Tensor(name=name, layer=layer, module=module, leaf=leaf, dimensions=dimensions)
