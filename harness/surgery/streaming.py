"""Values of a result's tensors, in chunks of whole rows, from the tensors of the source: memory is a few chunks.

Only a factorisation holds a whole matrix, because its method needs one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from harness.checkpoint.dtypes import from_float32, to_float32
from harness.errors import UsageError
from harness.surgery.assembly import Factor, Gather, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from harness.checkpoint.reader import CheckpointReader
    from harness.surgery.assembly import Assembly, Piece, Positions

CHUNK_BYTES: Final = 8 << 20
"""Of a source tensor, read at once."""


class Factorise(Protocol):
    """A method that writes a matrix as a product of two."""

    def __call__(
        self, module: str, weight: NDArray[np.float32], rank: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """A ``[out, rank]`` and B ``[rank, in]`` for ``weight`` ``[out, in]`` of the linear ``module``.

        The same arguments must give the same matrices, or a resumed run does not end in the same bytes.
        """


def no_factors(module: str, weight: NDArray[np.float32], rank: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What ``apply`` uses where it was given no method: raises ``UsageError``."""
    del weight
    raise UsageError(f"plan: {module} is to have rank {rank}, and no method to factorise it was given")


class Stream:
    """Chunks of result tensors out of one open checkpoint."""

    def __init__(self, reader: CheckpointReader, factorise: Factorise = no_factors) -> None:
        self._reader = reader
        self._factorise = factorise
        self._waiting: dict[str, NDArray[np.float32]] = {}
        """B of the linears whose A was written last."""

    def chunks(self, assembly: Assembly, dtype: str) -> Iterator[NDArray[Any]]:
        """The values of one tensor in its stored ``dtype``, in consecutive blocks of whole rows."""
        match assembly:
            case Gather():
                return self._gathered(assembly, dtype)
            case Factor():
                return iter([from_float32(self._factor(assembly), dtype)])
            case Product():
                return self._product(assembly, dtype)

    def _gathered(self, gather: Gather, dtype: str) -> Iterator[NDArray[Any]]:
        for piece in gather.pieces:
            for chunk in piece_chunks(self._reader, piece):
                if gather.scale == 1.0:
                    yield chunk
                else:
                    yield from_float32(to_float32(chunk, dtype) * np.float32(gather.scale), dtype)

    def _factor(self, factor: Factor) -> NDArray[np.float32]:
        """The matrix asked for; A and B come from one factorisation when they are asked for one after the other."""
        key = f"{factor.module}.{factor.side}"
        if key not in self._waiting:
            left, right = self._factors(factor)
            self._waiting = {f"{factor.module}.A": left, f"{factor.module}.B": right}
        return self._waiting.pop(key)

    def _factors(self, factor: Factor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        weight = self._whole(factor.weight)
        left, right = self._factorise(factor.module, weight, factor.rank)
        rows, columns = weight.shape
        if left.shape != (rows, factor.rank) or right.shape != (factor.rank, columns):
            raise ValueError(
                f"{factor.module}: A and B must be {[rows, factor.rank]} and {[factor.rank, columns]}, "
                f"got {list(left.shape)} and {list(right.shape)}"
            )
        return left, right

    def _product(self, product: Product, dtype: str) -> Iterator[NDArray[Any]]:
        right = self._whole(product.right)
        for piece in product.left.pieces:
            source = self._reader.entry(piece.source).dtype
            for chunk in piece_chunks(self._reader, piece):
                yield from_float32(to_float32(chunk, source) @ right, dtype)

    def _whole(self, gather: Gather) -> NDArray[np.float32]:
        """All rows in FP32."""
        parts = [
            to_float32(chunk, self._reader.entry(piece.source).dtype)
            for piece in gather.pieces
            for chunk in piece_chunks(self._reader, piece)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def piece_chunks(reader: CheckpointReader, piece: Piece, *, chunk_bytes: int = CHUNK_BYTES) -> Iterator[NDArray[Any]]:
    """The rows and columns of ``piece`` in consecutive blocks; whole rows are never read twice."""
    entry = reader.entry(piece.source)
    row_bytes = max(1, entry.size_bytes // max(1, entry.shape[0]))
    rows = max(1, chunk_bytes // row_bytes)
    start, stop = _span(piece.rows)
    for first in range(start, stop, rows):
        last = min(first + rows, stop)
        wanted = _within(piece.rows, first, last)
        if wanted is None:
            yield _columns(reader.rows(piece.source, first, last), piece.columns)
        elif len(wanted):
            read = reader.rows(piece.source, int(wanted[0]), int(wanted[-1]) + 1)
            yield _columns(read.take(wanted - wanted[0], axis=0), piece.columns)


def _span(rows: Positions) -> tuple[int, int]:
    return (rows.start, rows.stop) if isinstance(rows, slice) else (int(rows[0]), int(rows[-1]) + 1)


def _within(rows: Positions, first: int, last: int) -> NDArray[np.int64] | None:
    """The kept rows among ``first`` to ``last``; None where all are."""
    if isinstance(rows, slice):
        return None
    found = rows[np.searchsorted(rows, first) : np.searchsorted(rows, last)]
    return None if len(found) == last - first else found


def _columns(chunk: NDArray[Any], columns: Positions | None) -> NDArray[Any]:
    if columns is None:
        return chunk
    if isinstance(columns, slice):
        return chunk[:, columns]
    return chunk.take(columns, axis=1)
