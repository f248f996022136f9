"""Tensors of a checkpoint as numpy arrays, one at a time or in chunks of rows, without torch.

Memory is what the caller holds: nothing is mapped, cached or read ahead.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

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
        row = math.prod(entry.shape[1:])
        rows = max(1, chunk_bytes // max(1, entry.size_bytes // entry.shape[0]))
        for first in range(0, entry.shape[0], rows):
            last = min(first + rows, entry.shape[0])
            yield self._read_span(entry, first * row, last * row).reshape(last - first, *entry.shape[1:])

    def _read_span(self, entry: TensorEntry, first: int, last: int) -> NDArray[Any]:
        """Elements ``first`` to ``last`` of a tensor, flat."""
        dtype = storage_dtype(entry.dtype)
        if dtype is None:
            raise CheckpointCorrupt(f"{self.layout.path}: tensor {entry.name!r}: dtype {entry.dtype} cannot be read")
        array = np.empty(last - first, dtype)
        path = self._places[entry.name][0]
        _read_fully(self._descriptor(path), array, entry.start + first * dtype.itemsize, path)
        return array

    def _descriptor(self, path: Path) -> int:
        if path not in self._descriptors:
            self._descriptors[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        return self._descriptors[path]


def open_checkpoint(path: Path) -> CheckpointReader:
    """The tensors of the checkpoint folder ``path``, after its layout was checked; raises ``CheckpointCorrupt``."""
    return CheckpointReader(read_layout(path))


def _read_fully(descriptor: int, array: NDArray[Any], offset: int, path: Path) -> None:
    view = array.view(np.uint8).data
    done = 0
    while done < len(view):
        count = os.preadv(descriptor, [view[done:]], offset + done)
        if count == 0:
            raise CheckpointCorrupt(f"{path}: the file ends at byte {offset + done}, in the middle of a tensor")
        done += count
