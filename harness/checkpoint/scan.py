"""Every weight of a checkpoint looked at once: what is not finite, where it stands, how large the rest gets.

    shards ──2 MiB at a time──> two maxima of the bit patterns ──> largest magnitude
                                       │ only where they trip
                                       v
                                  counts, first places: shard, tensor, index, byte

No torch, one pass, a small buffer for each worker; ``scan_and_digest`` and ``scan_and_list`` hash the same bytes on
their way.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from harness.checkpoint.bit_patterns import FORMATS, KINDS, Kind, Tally
from harness.checkpoint.blocks import CHUNK_BYTES, Chunk, available_processors, blocks, over_chunks
from harness.checkpoint.checkpoint import CheckpointFile
from harness.checkpoint.shards import read_layout
from harness.checkpoint.tree_digest import TreeDigest, assemble, grid, plain_files
from harness.document import Document
from harness.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from harness.checkpoint.header import Header, TensorEntry
    from harness.checkpoint.shards import Layout

    Tallies = dict[str, Tally]


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """One element on the disk."""

    shard: str
    """Name of the file."""
    tensor: str
    index: tuple[int, ...]
    """Of the element in its tensor; empty for a scalar."""
    byte_offset: int
    """Of the element's first byte in the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """How often something is there, and where first, in the order of storage."""

    count: int
    first: Location | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorScan:
    """One tensor. Of dtypes other than F16, BF16, F32 and F64 only dtype and shape are known."""

    shard: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    is_scanned: bool
    nan: Occurrence
    positive_infinity: Occurrence
    negative_infinity: Occurrence
    saturated: Occurrence
    """Values of the largest finite magnitude of the dtype (65504 in FP16): where a cast that clips leaves overflow."""
    largest_magnitude: float | None
    """Of the finite values; None where there is none, or the tensor was not scanned."""
    is_zero: bool
    """It has elements, and all are zero."""

    @property
    def nonfinite_count(self) -> int:
        """Values that are NaN or infinite."""
        return self.nan.count + self.positive_infinity.count + self.negative_infinity.count

    @property
    def saturated_count(self) -> int:
        """Values of the largest finite magnitude."""
        return self.saturated.count


class ScanReport(Document):
    """A scan in short: totals, and the tensors with something to say."""

    tensor_count: int
    parameter_count: int
    dtypes: dict[str, int]
    """Number of tensors by dtype."""
    unscanned: tuple[str, ...]
    """Tensors whose dtype has no values to look at."""
    nan_count: int
    positive_infinity_count: int
    negative_infinity_count: int
    saturated_count: int
    largest_magnitude: float | None
    """Of all finite values."""
    zero_tensors: tuple[str, ...]
    nonfinite: tuple[TensorScan, ...]
    saturated: tuple[TensorScan, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Every tensor of a checkpoint, in the order of the shards and of their bytes."""

    tensors: tuple[TensorScan, ...]

    @property
    def is_finite(self) -> bool:
        """Whether no value is NaN or infinite."""
        return not any(tensor.nonfinite_count for tensor in self.tensors)

    def report(self) -> ScanReport:
        """The scan in short, to be written down."""
        magnitudes = [tensor.largest_magnitude for tensor in self.tensors if tensor.largest_magnitude is not None]
        return ScanReport(
            tensor_count=len(self.tensors),
            parameter_count=sum(int(np.prod(tensor.shape, dtype=np.int64)) for tensor in self.tensors),
            dtypes=dict(sorted(Counter(tensor.dtype for tensor in self.tensors).items())),
            unscanned=tuple(tensor.name for tensor in self.tensors if not tensor.is_scanned),
            nan_count=sum(tensor.nan.count for tensor in self.tensors),
            positive_infinity_count=sum(tensor.positive_infinity.count for tensor in self.tensors),
            negative_infinity_count=sum(tensor.negative_infinity.count for tensor in self.tensors),
            saturated_count=sum(tensor.saturated.count for tensor in self.tensors),
            largest_magnitude=max(magnitudes, default=None),
            zero_tensors=tuple(tensor.name for tensor in self.tensors if tensor.is_zero),
            nonfinite=tuple(tensor for tensor in self.tensors if tensor.nonfinite_count),
            saturated=tuple(tensor for tensor in self.tensors if tensor.saturated.count),
        )


def scan(path: Path, *, workers: int = 1, progress: Progress = silent) -> Scan:
    """Look at every weight of the checkpoint folder ``path``.

    Args:
        path: a folder with ``model.safetensors``, or an index and its shards.
        workers: threads; one keeps up with a disk.
        progress: told of every chunk.

    Raises:
        CheckpointCorrupt: the layout is broken, or a file changes its size meanwhile.
    """
    layout = read_layout(path)
    maps = _shard_maps(layout)
    chunks = grid({shard.path: shard.tensors[-1].stop for shard in layout.shards if shard.tensors}, STRETCH_BYTES)
    found = over_chunks(partial(_scan_chunk, maps), chunks, workers=workers, label="scanning", progress=progress)
    return _scan_of(layout, found)


def scan_and_digest(
    path: Path, *, chunk_bytes: int = CHUNK_BYTES, workers: int | None = None, progress: Progress = silent
) -> tuple[Scan, TreeDigest]:
    """What ``scan`` and ``tree_digest`` give, from one read of every byte; raises as they do."""
    layout, sizes = read_layout(path), plain_files(path)
    work = partial(_scan_and_digest_chunk, _shard_maps(layout))
    chunks = grid(sizes, chunk_bytes)
    workers = workers or available_processors()
    digests: list[str] = []

    def tallies() -> Iterator[Tallies]:
        for found, digest in over_chunks(
            work, chunks, workers=workers, label="scanning and digesting", progress=progress
        ):
            digests.append(digest)
            yield found

    scanned = _scan_of(layout, tallies())
    return scanned, assemble(sizes, chunk_bytes, digests)


def scan_and_list(
    path: Path, *, workers: int | None = None, progress: Progress = silent
) -> tuple[Scan, tuple[CheckpointFile, ...]]:
    """What ``scan`` and ``checkpoint.list_files`` give, from one read of every byte; raises as they do.

    The digest of a file needs its bytes in one order, so a thread takes a whole file: several shards, several threads.
    """
    longest = max(plain_files(path).values(), default=0)
    scanned, tree = scan_and_digest(path, chunk_bytes=max(longest, 1), workers=workers, progress=progress)
    return scanned, tuple(
        CheckpointFile(name=file.name, size_bytes=file.size_bytes, sha256=file.chunks[0] if file.chunks else _NOTHING)
        for file in tree.files
    )


STRETCH_BYTES: Final = 64 << 20
"""Of a file, that a thread reads from end to end: of shorter ones the system reads ahead what another thread reads,
which doubled its time (docs/bench/validation.md)."""
_NOTHING: Final = hashlib.sha256().hexdigest()
"""SHA-256 of an empty file."""


class _ShardMap:
    """Finds the tensors with float values that begin in a stretch of a shard."""

    def __init__(self, shard: Header) -> None:
        self._entries = [entry for entry in shard.tensors if entry.dtype in FORMATS and entry.size_bytes]
        self._starts = [entry.start for entry in self._entries]

    def add(self, tallies: Tallies, buffer: NDArray[np.uint8], start: int, stop: int) -> None:
        """Tally the elements whose first byte is one of ``start`` to ``stop``; ``buffer`` begins at ``start``."""
        first = max(0, bisect_right(self._starts, start) - 1)
        for entry in self._entries[first : bisect_right(self._starts, stop - 1)]:
            form = FORMATS[entry.dtype]
            width = form.unsigned.itemsize
            low = -(-max(start - entry.start, 0) // width)
            high = -(-(min(stop, entry.stop) - entry.start) // width)
            if low < high:
                offset = entry.start + low * width - start
                bits = np.ndarray((high - low,), form.unsigned, buffer, offset)
                tallies.setdefault(entry.name, Tally(format=form)).add(bits, low)


def _shard_maps(layout: Layout) -> dict[Path, _ShardMap]:
    return {shard.path: _ShardMap(shard) for shard in layout.shards}


def _scan_chunk(maps: Mapping[Path, _ShardMap], chunk: Chunk, buffer: NDArray[np.uint8]) -> Tallies:
    shard, tallies = maps[chunk.path], dict[str, Tally]()
    for start, stop in blocks(chunk, buffer):
        shard.add(tallies, buffer, start, stop)
    return tallies


def _scan_and_digest_chunk(
    maps: Mapping[Path, _ShardMap], chunk: Chunk, buffer: NDArray[np.uint8]
) -> tuple[Tallies, str]:
    shard, tallies, digest = maps.get(chunk.path), dict[str, Tally](), hashlib.sha256()
    for start, stop in blocks(chunk, buffer):
        digest.update(buffer[: stop - start].data)
        if shard is not None:
            shard.add(tallies, buffer, start, stop)
    return tallies, digest.hexdigest()


def _scan_of(layout: Layout, found: Iterable[Tallies]) -> Scan:
    """The scan from the tallies of all chunks, in order."""
    totals: Tallies = {}
    for tallies in found:
        for name, tally in tallies.items():
            if name in totals:
                totals[name].merge(tally)
            else:
                totals[name] = tally
    return Scan(tensors=tuple(_tensor_scans(layout, totals)))


def _tensor_scans(layout: Layout, totals: Tallies) -> Iterator[TensorScan]:
    for shard in layout.shards:
        for entry in shard.tensors:
            yield _tensor_scan(shard.path.name, entry, totals.get(entry.name))


def _tensor_scan(shard: str, entry: TensorEntry, tally: Tally | None) -> TensorScan:
    found = {kind: _occurrence(shard, entry, tally, kind) for kind in KINDS}
    largest = tally.largest if tally is not None else -1
    return TensorScan(
        shard=shard,
        name=entry.name,
        dtype=entry.dtype,
        shape=entry.shape,
        is_scanned=entry.dtype in FORMATS,
        largest_magnitude=FORMATS[entry.dtype].value(largest) if largest >= 0 else None,
        is_zero=largest == 0 and not (found["nan"].count + _infinity_count(found)),
        **found,
    )


def _infinity_count(found: Mapping[Kind, Occurrence]) -> int:
    return found["positive_infinity"].count + found["negative_infinity"].count


def _occurrence(shard: str, entry: TensorEntry, tally: Tally | None, kind: Kind) -> Occurrence:
    if tally is None or kind not in tally.firsts:
        return Occurrence(count=0, first=None)
    element = tally.firsts[kind]
    index = tuple(int(place) for place in np.unravel_index(element, entry.shape)) if entry.shape else ()
    byte_offset = entry.start + element * tally.format.unsigned.itemsize
    location = Location(shard=shard, tensor=entry.name, index=index, byte_offset=byte_offset)
    return Occurrence(count=tally.counts[kind], first=location)
