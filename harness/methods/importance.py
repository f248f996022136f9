"""How much each unit matters: higher scores stay.

Magnitude: the L1 or L2 norm over everything that goes when the unit goes, i.e. over all tensors of the layer that name
its axis (He et al. 2017, Li et al. 2017; grouping as in LLM-Pruner, Ma et al. 2023).

                       gate_proj rows ─┐
    intermediate j  =  up_proj rows   ─┼─> |w| or w² summed over row or column j ─> score j
                       down_proj cols ─┘

Each tensor is read once, in pieces that stay in the processor's cache: widened to FP32, added up along rows and columns
by products with a vector of ones, which is several times faster than a norm along a dimension, and in FP64 from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import torch

from harness.surgery.dimension import axes_of, unit_sums

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from harness.checkpoint.reader import CheckpointReader
    from harness.surgery.anatomy import Anatomy
    from harness.surgery.linear import Tensor

Aggregation = Literal["sum", "mean"]
"""``sum``: every weight counts alike. ``mean``: every tensor does, so q and o do not outweigh k and v."""
Order = Literal[1, 2]
"""1: sum of |w|. 2: root of the sum of w²."""

CHUNK_BYTES: Final = 2 << 20
"""A chunk and its FP32 copy stay in the last-level cache, and calls are cheap beside the work on them."""
_TORCH_DTYPES: Final = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}


def magnitude(  # noqa: PLR0913 - what, where, and how to add up
    reader: CheckpointReader,
    anatomy: Anatomy,
    axis: str,
    layer: int,
    *,
    aggregation: Aggregation = "sum",
    order: Order = 1,
) -> NDArray[np.float64]:
    """Norm of each unit of ``axis`` in ``layer``, over its coupled tensors, biases included.

    Returns:
        ``[units]``; as ``magnitudes``.
    """
    return magnitudes(reader, anatomy, (axis,), layer, aggregation=aggregation, order=order)[axis]


def magnitudes(  # noqa: PLR0913 - as magnitude
    reader: CheckpointReader,
    anatomy: Anatomy,
    axes: Iterable[str],
    layer: int,
    *,
    aggregation: Aggregation = "sum",
    order: Order = 1,
) -> dict[str, NDArray[np.float64]]:
    """Norms of the units of several ``axes`` of one ``layer``; a tensor that several axes reach into is read once.

    A weight that is not finite, or whose square FP32 cannot hold, makes its unit's score not finite.

    Returns:
        Per axis ``[units]``. With ``mean``, the means of |w| over each tensor's part of the unit, added up; of order 2
        the root of the means of w², added up.

    Raises:
        ValueError: a tensor has a dtype other than F16, BF16, F32 or F64.
        CheckpointCorrupt: a tensor is missing, or its file ends before it does.
    """
    sizes = anatomy.sizes_in(layer)
    scores = {axis: np.zeros(sizes[axis]) for axis in axes}
    summation = _Summation(order)
    for tensor in (part for part in anatomy.tensors.values() if part.layer == layer):
        places = {axis: _place(tensor, axis) for axis in scores if tensor.names_axis(axis)}
        if not places:
            continue
        sums = summation.along(reader, tensor.name, frozenset(places.values()))
        for axis, place in places.items():
            parts = unit_sums(tensor.dimensions[place], axis, sizes, sums[place])
            weight_count = reader.entry(tensor.name).element_count / sizes[axis]
            scores[axis] += parts / weight_count if aggregation == "mean" else parts
    return {axis: np.sqrt(score) if order == 2 else score for axis, score in scores.items()}  # noqa: PLR2004


def _place(tensor: Tensor, axis: str) -> int:
    """The dimension of ``tensor`` that names ``axis``."""
    return next(place for place, dimension in enumerate(tensor.dimensions) if axis in axes_of(dimension))


class _Summation:
    """Adds up |w| or w² of tensors by row, column or any other dimension, in buffers that serve all of them."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._room = np.empty(CHUNK_BYTES, np.uint8)
        self._wide = torch.empty(CHUNK_BYTES // 2, dtype=torch.float32)
        self._ones = torch.ones(0)

    def along(self, reader: CheckpointReader, name: str, places: frozenset[int]) -> dict[int, NDArray[np.float64]]:
        """Sums over all dimensions but one, for each of ``places``: ``[length of that dimension]``."""
        entry = reader.entry(name)
        totals = {place: torch.zeros(entry.shape[place], dtype=torch.float64) for place in places}
        first = 0
        for chunk in reader.chunks_into(name, self._room):
            weights = self._weights(chunk, entry.dtype)
            for place, total in totals.items():
                part = total[first : first + len(chunk)] if place == 0 else total
                part += self._sums(weights, place)
            first += len(chunk)
        return {place: total.numpy() for place, total in totals.items()}

    def _weights(self, chunk: NDArray[np.generic], dtype: str) -> torch.Tensor:
        """|w| or w² of ``chunk`` in FP32, in its shape; valid until the next call."""
        if dtype not in _TORCH_DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(_TORCH_DTYPES)}, got {dtype}")
        stored = torch.from_numpy(chunk).view(_TORCH_DTYPES[dtype])
        if self._wide.numel() < stored.numel():
            self._wide = torch.empty(stored.numel(), dtype=torch.float32)
        wide = self._wide[: stored.numel()].view(stored.shape).copy_(stored)
        return wide.abs_() if self._order == 1 else wide.square_()

    def _sums(self, weights: torch.Tensor, place: int) -> torch.Tensor:
        """Sums over all dimensions but ``place``."""
        if weights.ndim == 1:
            return weights
        if place == 0:
            rows = weights.flatten(1)  # [rows, all else]
            return torch.mv(rows, self._some_ones(rows.shape[1]))
        columns = weights.movedim(place, -1).flatten(0, -2)  # [all else, columns]
        return torch.mv(columns.t(), self._some_ones(columns.shape[0]))

    def _some_ones(self, count: int) -> torch.Tensor:
        if len(self._ones) < count:
            self._ones = torch.ones(count)
        return self._ones[:count]
