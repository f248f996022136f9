"""Tensors of a checkpoint as numpy arrays, one at a time or in chunks of rows, without torch.

Memory is what the caller holds: nothing is mapped, cached or read ahead.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from harness.checkpoint.blocks import read_fully
from harness.checkpoint.dtypes import storage_dtype
from harness.checkpoint.shards import Layout, read_layout
from harness.errors import CheckpointCorrupt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from harness.checkpoint.header import TensorEntry

CHUNK_BYTES: Final = 4 << 20


class CheckpointReader:
    """The open shards of one checkpoint; a context manager."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._places = {entry.name: (shard.path, entry) for shard in layout.shards for entry in shard.tensors}
        self._descriptors: dict[Path, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def entry(self, name: str) -> TensorEntry:
        """Dtype, shape and place of a tensor; raises ``CheckpointCorrupt`` where there is none of that name."""
        if name not in self._places:
            raise CheckpointCorrupt(f"{self.layout.path}: tensor {name!r} is missing")
        return self._places[name][1]

    def read(self, name: str) -> NDArray[Any]:
        """The whole tensor, in its stored dtype (``BF16`` as ``uint16`` bit patterns).

        Raises:
            CheckpointCorrupt: there is no such tensor, or the file ends before it does.
        """
        entry = self.entry(name)
        return self._read_span(entry, 0, entry.element_count).reshape(entry.shape)

    def chunks(self, name: str, *, chunk_bytes: int = CHUNK_BYTES) -> Iterator[NDArray[Any]]:
        """The tensor as consecutive blocks of whole rows ``[rows, ...]``, each of about ``chunk_bytes``.

        Raises:
            CheckpointCorrupt: as ``read``.
        """
        entry = self.entry(name)
        if entry.element_count == 0 or not entry.shape:
            yield self.read(name)
            return
        for first, last in _row_spans(entry, chunk_bytes):
            yield self.rows(name, first, last)

    def chunks_into(self, name: str, buffer: NDArray[np.uint8]) -> Iterator[NDArray[Any]]:
        """As ``chunks``, each chunk lying in ``buffer``: valid until the next one, and free to be overwritten.

        Memory that is used again stays in the processor's cache, and the system has no fresh pages to clear. A row
        that is larger than ``buffer`` gets memory of its own.

        Raises:
            CheckpointCorrupt: as ``read``.
        """
        entry = self.entry(name)
        if entry.element_count == 0 or not entry.shape:
            yield self.read(name)
            return
        row_bytes = entry.size_bytes // entry.shape[0]
        room = buffer if row_bytes <= len(buffer) else np.empty(row_bytes, np.uint8)
        for first, last in _row_spans(entry, len(room)):
            yield self._read_rows(entry, first, last, room)

    def rows(self, name: str, first: int, last: int) -> NDArray[Any]:
        """Rows ``first`` to ``last`` (not included) of a tensor: ``[last - first, ...]``; raises as ``read``."""
        return self._read_rows(self.entry(name), first, last)

    def _read_rows(
        self, entry: TensorEntry, first: int, last: int, room: NDArray[np.uint8] | None = None
    ) -> NDArray[Any]:
        row = math.prod(entry.shape[1:])
        return self._read_span(entry, first * row, last * row, room).reshape(last - first, *entry.shape[1:])

    def _read_span(
        self, entry: TensorEntry, first: int, last: int, room: NDArray[np.uint8] | None = None
    ) -> NDArray[Any]:
        """Elements ``first`` to ``last`` of a tensor, flat; at the front of ``room`` where that is given."""
        dtype = storage_dtype(entry.dtype)
        if dtype is None:
            raise CheckpointCorrupt(f"{self.layout.path}: tensor {entry.name!r}: dtype {entry.dtype} cannot be read")
        count = last - first
        array = np.empty(count, dtype) if room is None else room[: count * dtype.itemsize].view(dtype)
        path = self._places[entry.name][0]
        read_fully(self._descriptor(path), array, entry.start + first * dtype.itemsize, path)
        return array

    def _descriptor(self, path: Path) -> int:
        if path not in self._descriptors:
            self._descriptors[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        return self._descriptors[path]


def open_checkpoint(path: Path) -> CheckpointReader:
    """The tensors of the checkpoint folder ``path``, after its layout was checked; raises ``CheckpointCorrupt``."""
    return CheckpointReader(read_layout(path))


def _row_spans(entry: TensorEntry, chunk_bytes: int) -> Iterator[tuple[int, int]]:
    """First row and the one after the last of each chunk of about ``chunk_bytes``, at least one row."""
    rows = max(1, chunk_bytes // max(1, entry.size_bytes // entry.shape[0]))
    for first in range(0, entry.shape[0], rows):
        yield first, min(first + rows, entry.shape[0])
