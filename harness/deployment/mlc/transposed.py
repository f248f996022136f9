"""The transposed weight layout of the winning entry: groups of 128 outputs, inputs outside, outputs inside.

    plain        W [n, k]
    transposed   P [n / 128, k, 128]   P[g, k, c] = W[128 g + c, k]     where 128 divides n
                 P [k, n]                                               elsewhere
    y[j] = sum over k of x[k] P[j // 128, k, j % 128]

No number is added or changed: the padding is zero, the memory the same, and sums taken in the same order are the same
bits. A kernel that vectorises along the outputs reads 128 neighbours at once; a linear whose outputs 128 does not
divide misses that path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

GROUP_OUTPUTS: Final = 128
MATRIX_DIMENSIONS: Final = 2


def transposed_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a tensor of ``shape`` in the transposed layout; only matrices have another one."""
    if len(shape) != MATRIX_DIMENSIONS:
        return shape
    outputs, inputs = shape
    if outputs % GROUP_OUTPUTS:
        return (inputs, outputs)
    return (outputs // GROUP_OUTPUTS, inputs, GROUP_OUTPUTS)


def transpose(weight: NDArray[Any]) -> NDArray[Any]:
    """``weight [n, k]`` in the transposed layout, contiguous."""
    outputs, inputs = weight.shape
    if outputs % GROUP_OUTPUTS:
        return np.ascontiguousarray(weight.T)
    return np.ascontiguousarray(weight.reshape(-1, GROUP_OUTPUTS, inputs).transpose(0, 2, 1))


def restore(packed: NDArray[Any]) -> NDArray[Any]:
    """The plain ``[n, k]`` of what ``transpose`` gave."""
    if packed.ndim == MATRIX_DIMENSIONS:
        return np.ascontiguousarray(packed.T)
    groups, inputs, width = packed.shape
    return np.ascontiguousarray(packed.transpose(0, 2, 1).reshape(groups * width, inputs))


def matmul(inputs: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """``inputs [tokens, k]`` times a plain ``weight [n, k]``: ``[tokens, n]``, summed over k from the first on."""
    total = np.zeros((len(inputs), len(weight)), np.float32)
    for place in range(weight.shape[1]):
        total += inputs[:, place, None] * weight[None, :, place]
    return total


def matmul_transposed(inputs: NDArray[np.float32], packed: NDArray[np.float32]) -> NDArray[np.float32]:
    """As ``matmul``, from the transposed layout and without restoring it: the same sums in the same order."""
    groups = packed[None] if packed.ndim == MATRIX_DIMENSIONS else packed
    total = np.zeros((len(inputs), groups.shape[0], groups.shape[2]), np.float32)
    for place in range(groups.shape[1]):
        total += inputs[:, place, None, None] * groups[None, :, place, :]
    return total.reshape(len(inputs), -1)


def transposed_chunks(chunks: Iterable[NDArray[Any]], rows: int) -> Iterator[NDArray[Any]]:
    """The transposed layout of a matrix of ``rows`` that comes as consecutive ``chunks`` of rows, group by group.

    Memory is that of a group of 128 rows; of the whole matrix where 128 does not divide ``rows``.
    """
    width = rows if rows % GROUP_OUTPUTS else GROUP_OUTPUTS
    for group in _regrouped(chunks, width):
        yield np.ascontiguousarray(group.T)


def vectorised_share(shapes: Iterable[tuple[int, ...]]) -> float:
    """Share of the matrices' elements that lie in groups of 128, 0 to 1."""
    matrices = [shape for shape in shapes if len(shape) == MATRIX_DIMENSIONS]
    total = sum(rows * columns for rows, columns in matrices)
    return sum(rows * columns for rows, columns in matrices if rows % GROUP_OUTPUTS == 0) / total if total else 0.0


def _regrouped(chunks: Iterable[NDArray[Any]], rows: int) -> Iterator[NDArray[Any]]:
    """Blocks of exactly ``rows`` rows."""
    held: list[NDArray[Any]] = []
    count = 0
    for chunk in chunks:
        rest = chunk
        while count + len(rest) >= rows:
            needed = rows - count
            yield np.concatenate([*held, rest[:needed]])
            rest, held, count = rest[needed:], [], 0
        if len(rest):
            held.append(rest)
            count += len(rest)
