"""One dimension of a tensor, written in axes, and what cutting an axis means for it.

    "intermediate"                              rows of gate_proj
    "kv_group * head * head_dim"                rows of q_proj: group 0 head 0, group 0 head 1, …
    "intermediate + intermediate"               rows of a fused gate_up_proj: [gate; up]

A dimension is a sum of blocks; a block is a product of axes, the slowest first.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

Block = tuple[str, ...]
Dimension = tuple[Block, ...]


@cache
def parse_dimension(text: str) -> Dimension:
    """The blocks of ``text``; raises ``ValueError`` where a factor is no axis name."""
    blocks = tuple(tuple(factor.strip() for factor in block.split("*")) for block in text.split("+"))
    for factor in (factor for block in blocks for factor in block):
        if not factor.isidentifier():
            raise ValueError(f"a dimension must be a sum of products of axes, got {text!r}")
    return blocks


def axes_of(dimension: Dimension) -> frozenset[str]:
    """The axes that ``dimension`` names."""
    return frozenset(axis for block in dimension for axis in block)


def length(dimension: Dimension, sizes: Mapping[str, int]) -> int:
    """Elements along ``dimension`` where axes have ``sizes``."""
    return sum(block_length(block, sizes) for block in dimension)


def block_length(block: Block, sizes: Mapping[str, int]) -> int:
    """Elements of one block."""
    return math.prod(sizes[axis] for axis in block)


def kept_positions(
    dimension: Dimension, sizes: Mapping[str, int], keep: Mapping[str, NDArray[np.int64]]
) -> NDArray[np.int64] | None:
    """Positions along ``dimension`` that stay when of each axis in ``keep`` only those units do; None means all.

    Args:
        dimension: the dimension before the cut.
        sizes: units of every axis before the cut.
        keep: kept units of the axes that are cut, ascending.
    """
    if not axes_of(dimension) & keep.keys():
        return None
    positions, start = [], 0
    for block in dimension:
        grid = np.arange(start, start + block_length(block, sizes)).reshape([sizes[axis] for axis in block])
        for place, axis in enumerate(block):
            if axis in keep:
                grid = grid.take(keep[axis], axis=place)
        positions.append(grid.ravel())
        start += block_length(block, sizes)
    return np.concatenate(positions)


def unit_sums(
    dimension: Dimension, axis: str, sizes: Mapping[str, int], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``values`` along ``dimension``, summed by the unit of ``axis`` that each position belongs to.

    Returns:
        ``[sizes[axis]]``.
    """
    total, start = np.zeros(sizes[axis]), 0
    for block in dimension:
        stop = start + block_length(block, sizes)
        if axis in block:
            grid = values[start:stop].reshape([sizes[name] for name in block])
            others = tuple(place for place, name in enumerate(block) if name != axis)
            total += grid.sum(axis=others)
        start = stop
    return total
