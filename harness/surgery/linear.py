"""The tensors of one layer where linears are fused or factorised.

    q_proj, k_proj, v_proj   --fuse-->       qkv_proj.weight  rows [q; k; v]
    down_proj.weight         --factorise-->  down_proj.A.weight [out, rank], down_proj.B.weight [rank, in]

Biases follow the rows: to the fused linear, or to A.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from harness.errors import UsageError
from harness.surgery.dimension import axes_of, length

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.surgery.dimension import Dimension

FACTORS: Final = ("A.weight", "B.weight")
"""The two matrices of a factorised linear."""
LINEAR_RANK: Final = 2
"""Dimensions of a linear's weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor of a model."""

    name: str
    layer: int | None
    module: str
    """``self_attn.q_proj`` within its layer, ``model.norm`` outside of layers."""
    leaf: str
    """``weight``, ``bias``, or of a factorised linear ``A.weight``, ``A.bias``, ``B.weight``."""
    dimensions: tuple[Dimension, ...]

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Its shape where axes have ``sizes``."""
        return tuple(length(dimension, sizes) for dimension in self.dimensions)

    def names_axis(self, axis: str) -> bool:
        """Whether units of ``axis`` reach into this tensor."""
        return any(axis in axes_of(dimension) for dimension in self.dimensions)

    @property
    def is_linear(self) -> bool:
        """Whether it is the weight of a linear within a layer."""
        return self.layer is not None and self.leaf == "weight" and len(self.dimensions) == LINEAR_RANK


def rank_axis(module: str) -> str:
    """The name of the axis that a factorised linear has between its two matrices."""
    return f"rank({module})"


def fuse(tensors: Iterable[Tensor], name: str, parts: tuple[str, ...]) -> tuple[Tensor, ...]:
    """The tensors of a layer with the linears ``parts`` concatenated as ``name``, at the place of the first."""
    every = tuple(tensors)
    fused = {leaf: _fused(every, name, parts, leaf) for leaf in ("weight", "bias")}
    result: list[Tensor] = []
    for tensor in every:
        if tensor.module == parts[0]:
            result.extend(part for part in [fused[tensor.leaf]] if part is not None)
        elif tensor.module not in parts:
            result.append(tensor)
    return tuple(result)


def factorise(tensors: Iterable[Tensor], module: str) -> tuple[Tensor, ...]:
    """The tensors of a layer with the linear ``module`` stored as two.

    Raises:
        UsageError: it has no such linear.
    """
    every = tuple(tensors)
    if not any(tensor.module == module and tensor.is_linear for tensor in every):
        names = ", ".join(tensor.module for tensor in every if tensor.is_linear)
        raise UsageError(f"no linear {module!r} in a layer; there are: {names}")
    return tuple(part for tensor in every for part in (_factors(tensor) if tensor.module == module else (tensor,)))


def _factors(tensor: Tensor) -> tuple[Tensor, ...]:
    rank: Dimension = ((rank_axis(tensor.module),),)
    if not tensor.is_linear:
        return (_renamed(tensor, f"A.{tensor.leaf}", tensor.dimensions),)
    rows, columns = tensor.dimensions
    return (_renamed(tensor, "A.weight", (rows, rank)), _renamed(tensor, "B.weight", (rank, columns)))


def _renamed(tensor: Tensor, leaf: str, dimensions: tuple[Dimension, ...]) -> Tensor:
    return replace(tensor, name=f"{tensor.name.removesuffix(tensor.leaf)}{leaf}", leaf=leaf, dimensions=dimensions)


def _fused(tensors: tuple[Tensor, ...], name: str, parts: tuple[str, ...], leaf: str) -> Tensor | None:
    found = {tensor.module: tensor for tensor in tensors if tensor.module in parts and tensor.leaf == leaf}
    if not found:
        return None
    if len(found) != len(parts):
        raise UsageError(f"{name} cannot be fused: {', '.join(sorted(found))} have a {leaf} and the others have none")
    first = found[parts[0]]
    rows: Dimension = tuple(block for part in parts for block in found[part].dimensions[0])
    prefix = first.name.removesuffix(f"{first.module}.{leaf}")
    return replace(first, name=f"{prefix}{name}.{leaf}", module=name, dimensions=(rows, *first.dimensions[1:]))
