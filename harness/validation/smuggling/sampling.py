"""Pieces of a checkpoint's matrices, read for ``verdict.judge``: a few megabytes of each, whatever its size.

matrix [rows, columns]     rows 0 … 127     a first block always
                           128 rows         then some at places drawn by tensor name and seed
                           ≤ 4096 columns of each
"""

from __future__ import annotations

import itertools
import math
import os
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from harness.checkpoint.blocks import open_plain, read_fully
from harness.checkpoint.dtypes import storage_dtype
from harness.validation.smuggling.lines import Block
from harness.validation.smuggling.verdict import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from harness.checkpoint.header import Header, TensorEntry

DTYPES: Final = frozenset({"F16", "BF16", "F32"})
MIN_ELEMENTS: Final = 2048
"""Of a matrix that is judged; what could be hidden in a smaller one saves nothing."""
BLOCK_ROWS: Final = 128
BLOCK_COLUMNS: Final = 4096
BLOCKS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A tensor that looks quantised."""

    entry: TensorEntry
    verdict: Verdict

    @property
    def first_byte(self) -> int:
        """Offset in the file of the first group that was found."""
        return self.entry.start + self.verdict.first * (self.entry.size_bytes // self.entry.element_count)


def suspects(shard: Header, size_bytes: int, *, seed: int = 0) -> Iterator[Suspect]:
    """The matrices of ``shard`` that look quantised, in the order of their bytes.

    Vectors (norms, biases) are not judged: trained norms have few different values by themselves.

    Args:
        shard: header of the file, which has ``size_bytes``.
        size_bytes: what the file must still have.
        seed: of the places that are looked at; another one looks elsewhere.

    Raises:
        CheckpointCorrupt: the file is another one by now.
    """
    judged = [entry for entry in shard.tensors if is_judged(entry)]
    with open_plain(shard.path, size_bytes) as descriptor:
        for entry, after in itertools.zip_longest(judged, judged[1:]):
            if after is not None:
                _announce(descriptor, after, _own(after, seed))
            own = _own(entry, seed)
            verdict = judge([_read(descriptor, shard, entry, *place) for place in _places(entry, own)], own)
            if verdict is not None:
                yield Suspect(entry=entry, verdict=verdict)


def is_judged(entry: TensorEntry) -> bool:
    """Whether ``entry`` is a matrix of floats that is large enough to judge."""
    return entry.dtype in DTYPES and len(entry.shape) > 1 and entry.element_count >= MIN_ELEMENTS


def _places(entry: TensorEntry, seed: int) -> list[tuple[int, int]]:
    """First row and first column of each block, multiples of its size."""
    random = np.random.default_rng(seed)
    down, across = -(-_rows(entry) // BLOCK_ROWS), -(-entry.shape[-1] // BLOCK_COLUMNS)
    later = random.choice(down - 1, min(BLOCKS, down) - 1, replace=False) + 1 if down > 1 else ()
    places = [(0, 0), *((int(row), int(random.integers(across))) for row in sorted(later))]
    return [(row * BLOCK_ROWS, column * BLOCK_COLUMNS) for row, column in places]


def _own(entry: TensorEntry, seed: int) -> int:
    """The seed of one tensor's places."""
    return zlib.crc32(entry.name.encode()) + seed


def _rows(entry: TensorEntry) -> int:
    return math.prod(entry.shape[:-1])


def _announce(descriptor: int, entry: TensorEntry, own: int) -> None:
    """Tell the kernel which bytes come next, so that the disk works while the matrix before is judged."""
    width_bytes = entry.size_bytes // _rows(entry)
    for first_row, first_column in _places(entry, own):
        rows = min(BLOCK_ROWS, _rows(entry) - first_row)
        piece_bytes = min(BLOCK_COLUMNS, entry.shape[-1] - first_column) * width_bytes // entry.shape[-1]
        start = entry.start + first_row * width_bytes + first_column * width_bytes // entry.shape[-1]
        whole = piece_bytes == width_bytes
        for row in range(1 if whole else rows):
            length = rows * width_bytes if whole else piece_bytes
            os.posix_fadvise(descriptor, start + row * width_bytes, length, os.POSIX_FADV_WILLNEED)


def _read(descriptor: int, shard: Header, entry: TensorEntry, first_row: int, first_column: int) -> Block:
    dtype = storage_dtype(entry.dtype)
    if dtype is None:
        raise ValueError(f"dtype must be one of {', '.join(sorted(DTYPES))}, got {entry.dtype}")
    width = entry.shape[-1]
    rows, columns = min(BLOCK_ROWS, _rows(entry) - first_row), min(BLOCK_COLUMNS, width - first_column)
    values: NDArray[Any] = np.empty((rows, columns), dtype)
    start = entry.start + (first_row * width + first_column) * dtype.itemsize
    if columns == width:
        read_fully(descriptor, values.reshape(-1), start, shard.path)
    else:
        for number, row in enumerate(values):
            read_fully(descriptor, row, start + number * width * dtype.itemsize, shard.path)
    return Block(values=values, dtype=entry.dtype, first_row=first_row, first_column=first_column, width=width)
