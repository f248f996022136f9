"""Pieces of a matrix in memory: whole lines of it along either axis, and groups within them.

    block [rows, columns]        rows line  ────────  groups of 32, 64, 128 columns
                                 columns line  │      groups of 32, 64, 128 rows

Groups begin at multiples of their size, counted from the edge of the tensor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from harness.checkpoint.dtypes import to_float32

if TYPE_CHECKING:
    from numpy.typing import NDArray

Axis = Literal["rows", "columns"]
_PREVAIL: Final = 0.1
_NEAR: Final = 0.1
"""Distance of two rows by the length of one."""
AXES: Final[tuple[Axis, ...]] = ("rows", "columns")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rows ``first_row`` and on, columns ``first_column`` and on, of a matrix."""

    values: NDArray[Any]
    """``[rows, columns]``, in the dtype of storage (``BF16`` as bits)."""
    dtype: str
    """As safetensors names it."""
    first_row: int
    first_column: int
    width: int
    """Columns of the whole matrix."""

    def length(self, axis: Axis) -> int:
        """Elements of a line."""
        rows, columns = self.values.shape
        return int(columns if axis == "rows" else rows)

    def without_copies(self) -> Block:
        """The block with zeros for every row that nearly equals an earlier one, and every column that equals one.

        Rows of tokens that were never trained drift together until most of their values are the same.
        """
        values = self.values.copy()
        values[_near_copies(to_float32(values, self.dtype))] = 0
        columns = np.ascontiguousarray(values.T)
        raw = columns.view(np.dtype((np.void, columns.shape[1] * columns.itemsize))).ravel()
        _, first = np.unique(raw, return_index=True)
        values[:, np.setdiff1d(np.arange(len(columns)), first)] = 0
        return replace(self, values=values)


def _near_copies(rows: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows lie next to an earlier one: ``[rows]``."""
    exact = rows.astype(np.float64)
    products = exact @ exact.T
    squares = np.diagonal(products)
    distances = squares[:, None] + squares - 2 * products
    near: NDArray[np.bool_] = distances <= _NEAR**2 * squares[:, None]
    earlier: NDArray[np.bool_] = np.logical_or.reduce(np.tril(near, -1), axis=1)
    return earlier


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Groups of one length along one axis."""

    values: NDArray[np.float32]
    """``[groups, length]``."""
    firsts: NDArray[np.int64]
    """Flat index in the tensor of each group's first element: ``[groups]``."""


def groups(block: Block, axis: Axis, length: int, most: int, random: np.random.Generator) -> Lines:
    """Up to ``most`` groups of ``length`` along ``axis``, one or more from each of some lines."""
    across = block.values.shape[0] if axis == "rows" else block.values.shape[1]
    along = block.length(axis) // length
    chosen = np.sort(random.choice(across * along, min(most, across * along), replace=False))
    chosen[0] = 0
    line, place = chosen // along, chosen % along
    steps = place[:, None] * length + np.arange(length)
    rows, columns = (line[:, None], steps) if axis == "rows" else (steps, line[:, None])
    picked = to_float32(block.values[rows, columns], block.dtype)
    first = (block.first_row + rows[:, 0]) * block.width + block.first_column + columns[:, 0]
    return Lines(values=picked, firsts=first.astype(np.int64))


def some_values(block: Block, most: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Up to ``most`` values from anywhere in ``block``, flat; where zeros prevail, of those that are none."""
    flat = block.values.reshape(-1)
    picked = _some(flat, most, random)
    if np.count_nonzero(picked) < _PREVAIL * picked.size:
        picked = _some(flat[flat != 0], most, random)
    return to_float32(picked, block.dtype)


def _some(flat: NDArray[Any], most: int, random: np.random.Generator) -> NDArray[Any]:
    return flat if flat.size <= most else flat[random.integers(0, flat.size, most)]
