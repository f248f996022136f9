"""How much each unit matters: higher scores stay.

L1 magnitude: the sum of absolute weights over everything that goes when the unit goes, i.e. over all tensors of the
layer that name its axis (He et al. 2017, Li et al. 2017; grouping as in LLM-Pruner, Ma et al. 2023).

                       gate_proj rows ─┐
    intermediate j  =  up_proj rows   ─┼─> |.| summed over row or column j ─> score j
                       down_proj cols ─┘
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.checkpoint.dtypes import to_float32
from harness.surgery.dimension import axes_of, length, unit_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.checkpoint.reader import CheckpointReader
    from harness.surgery.anatomy import Anatomy, Tensor

Aggregation = Literal["sum", "mean"]
"""``sum``: every weight counts alike. ``mean``: every tensor does, so q and o do not outweigh k and v."""


def magnitude(
    reader: CheckpointReader, anatomy: Anatomy, axis: str, layer: int, *, aggregation: Aggregation = "sum"
) -> NDArray[np.float64]:
    """L1 norm of each unit of ``axis`` in ``layer``, over its coupled tensors, biases included.

    Weights are read in chunks, widened to FP32 and added up in FP64, so memory is a few chunks.

    Returns:
        ``[units]``.
    """
    scores = np.zeros(anatomy.sizes[axis])
    for tensor in anatomy.coupled(axis, layer):
        sums = _tensor_sums(reader, anatomy, tensor, axis)
        weight_count = reader.entry(tensor.name).element_count / len(scores)
        scores += sums / weight_count if aggregation == "mean" else sums
    return scores


def _tensor_sums(reader: CheckpointReader, anatomy: Anatomy, tensor: Tensor, axis: str) -> NDArray[np.float64]:
    """Sum of absolute weights of one tensor by unit of ``axis``: ``[units]``."""
    place = next(place for place, dimension in enumerate(tensor.dimensions) if axis in axes_of(dimension))
    dimension = tensor.dimensions[place]
    totals = np.zeros(length(dimension, anatomy.sizes))
    dtype, first = reader.entry(tensor.name).dtype, 0
    for chunk in reader.chunks(tensor.name):
        sums = absolute_sums(to_float32(chunk, dtype), place)
        span = slice(first, first + len(chunk)) if place == 0 else slice(None)
        totals[span] += sums
        first += len(chunk)
    return unit_sums(dimension, axis, anatomy.sizes, totals)


def absolute_sums(values: NDArray[np.float32], place: int) -> NDArray[Any]:
    """Sums of ``|values|`` over all dimensions but ``place``."""
    others = tuple(other for other in range(values.ndim) if other != place)
    sums: NDArray[Any] = np.abs(values, out=values).sum(axis=others)
    return sums
