"""Where every tensor of the result comes from: rows and columns of source tensors, put together.

Gather   rows (and columns) of one tensor, or of several below each other (fusing, parting)     exact bits
Factor   one of the two matrices of a linear that becomes factorised                            from a method
Product  a factorised linear made dense again                                                   A @ B
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.surgery.anatomy import load
from harness.surgery.dimension import kept_positions, length, parse_dimension
from harness.surgery.linear import rank_axis
from harness.surgery.shape import reduced_config
from harness.surgery.table import HIDDEN_AXIS, LAYER_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from harness.surgery.anatomy import Anatomy
    from harness.surgery.dimension import Dimension
    from harness.surgery.linear import Tensor
    from harness.surgery.plan import Plan

Positions = slice | np.ndarray[Any, np.dtype[np.int64]]
"""Positions along a dimension of a source tensor, ascending; a slice where they are contiguous."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Part of one source tensor."""

    source: str
    rows: Positions
    columns: Positions | None = None
    """None where the source has one dimension only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gather:
    """Pieces below each other."""

    pieces: tuple[Piece, ...]
    scale: float = 1.0
    """Factor of every value; 1 leaves the bits alone."""

    @property
    def first_source(self) -> str:
        """The source tensor that is read first."""
        return self.pieces[0].source


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """One matrix of ``weight`` factorised at ``rank``."""

    weight: Gather
    module: str
    """The linear's full name in the result, ``model.layers.3.mlp.down_proj``."""
    rank: int
    side: Literal["A", "B"]

    @property
    def first_source(self) -> str:
        """As of ``Gather``."""
        return self.weight.first_source


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """``left @ right``."""

    left: Gather
    right: Gather

    @property
    def first_source(self) -> str:
        """As of ``Gather``."""
        return self.left.first_source


Assembly = Gather | Factor | Product


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """A plan put to a model: the result's anatomy, and where each of its tensors comes from."""

    source: Anatomy
    result: Anatomy
    assemblies: Mapping[str, Assembly]
    """By the result's tensor names."""


def blueprint(config: Mapping[str, Any], plan: Plan) -> Blueprint:
    """Lay out ``plan`` for the model that ``config`` describes; raises ``UsageError`` where it does not fit."""
    source, result = load(config), load(reduced_config(config, plan))
    kept = plan.kept_layers(source)
    outside, layers = _Layer(source, result, plan, None), [_Layer(source, result, plan, layer) for layer in kept]
    assemblies = {
        tensor.name: (outside if tensor.layer is None else layers[tensor.layer]).assembly(tensor)
        for tensor in result.tensors.values()
    }
    return Blueprint(source=source, result=result, assemblies=assemblies)


class _Layer:
    """One layer of the source (None: what is outside of layers), asked for tensors of the result."""

    def __init__(self, source: Anatomy, result: Anatomy, plan: Plan, layer: int | None) -> None:
        self._source, self._result = source, result
        self._sizes, self._keep = source.sizes_in(layer), plan.kept_units(layer)
        self._tensors = {(part.module, part.leaf): part for part in source.tensors.values() if part.layer == layer}
        self._fused = {part: name for name, parts in source.fused.items() for part in parts}
        self._scale = self._norm_scale(plan)

    def assembly(self, tensor: Tensor) -> Assembly:
        """Where ``tensor`` of the result comes from."""
        if (tensor.module, tensor.leaf) in self._tensors:
            return self._gather(tensor.module, tensor.leaf, scale=self._scale_of(tensor))
        side, _, leaf = tensor.leaf.rpartition(".")
        if side == "A" and leaf == "bias":
            return self._gather(tensor.module, "bias")
        if side in {"A", "B"}:
            return self._factor(tensor, side)
        if tensor.is_linear and (tensor.module, "A.weight") in self._tensors:
            return Product(left=self._gather(tensor.module, "A.weight"), right=self._gather(tensor.module, "B.weight"))
        if (tensor.module, "A.bias") in self._tensors:
            return self._gather(tensor.module, "A.bias")
        return self._gather(tensor.module, tensor.leaf)

    def _factor(self, tensor: Tensor, side: str) -> Factor:
        rank = self._result.sizes_in(tensor.layer)[rank_axis(tensor.module)]
        module = tensor.name.removesuffix(f".{tensor.leaf}")
        weight = self._gather(tensor.module, "weight")
        return Factor(weight=weight, module=module, rank=rank, side="A" if side == "A" else "B")

    def _gather(self, module: str, leaf: str, *, scale: float = 1.0) -> Gather:
        """The kept part of a linear, a norm or a bias, by its name in the result."""
        if (module, leaf) in self._tensors:
            return Gather(pieces=(self._piece(self._tensors[module, leaf]),), scale=scale)
        parts = self._result.fused.get(module, (module,))
        return Gather(pieces=tuple(self._part(part, leaf) for part in parts))

    def _part(self, part: str, leaf: str) -> Piece:
        """A linear by its unfused name, wherever the source has it."""
        if (part, leaf) in self._tensors:
            return self._piece(self._tensors[part, leaf])
        name = self._fused[part]
        siblings, fused = self._source.fused[name], self._tensors[name, leaf]
        rows, place = self._rows_of(siblings), siblings.index(part)
        return self._piece(fused, rows=rows[place], offset=sum(length(each, self._sizes) for each in rows[:place]))

    def _rows_of(self, parts: tuple[str, ...]) -> list[Dimension]:
        """The row dimensions of linears that the source has fused, as the table has them."""
        shapes = {entry.name: entry.shape for entry in self._source.table.tensors}
        return [parse_dimension(shapes[f"{LAYER_PREFIX}{part}.weight"][0]) for part in parts]

    def _piece(self, tensor: Tensor, *, rows: Dimension | None = None, offset: int = 0) -> Piece:
        dimensions = (rows or tensor.dimensions[0], *tensor.dimensions[1:])
        kept = [self._positions(dimension) for dimension in dimensions]
        return Piece(
            source=tensor.name, rows=_shifted(kept[0], offset), columns=_compact(kept[1]) if len(kept) > 1 else None
        )

    def _positions(self, dimension: Dimension) -> NDArray[np.int64]:
        positions = kept_positions(dimension, self._sizes, self._keep)
        return np.arange(length(dimension, self._sizes)) if positions is None else positions

    def _scale_of(self, tensor: Tensor) -> float:
        block = self._source.table.block
        norms = {block.attention_norm, block.mlp_norm, f"model.{block.final_norm}"}
        return self._scale if tensor.module in norms and tensor.leaf == "weight" else 1.0

    def _norm_scale(self, plan: Plan) -> float:
        kept = plan.kept(HIDDEN_AXIS, None)
        if kept is None or not plan.rescale_norms or self._source.table.block.norm != "rms":
            return 1.0
        return math.sqrt(self._source.sizes[HIDDEN_AXIS] / len(kept))


def _shifted(positions: NDArray[np.int64], offset: int) -> Positions:
    return _compact(positions + offset if offset else positions)


def _compact(positions: NDArray[np.int64]) -> Positions:
    """``positions`` as a slice where they are contiguous."""
    first, last = int(positions[0]), int(positions[-1])
    return slice(first, last + 1) if last - first + 1 == len(positions) else positions
