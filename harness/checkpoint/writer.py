"""Write a checkpoint tensor by tensor; it appears whole or not at all.

    .NAME.partial/   .key, shards (each under another name until it is whole), other files, index last, all flushed
        │ rename
        v
    NAME/            was absent, or the whole checkpoint that stood there before

The bytes depend on the content alone: a rerun after a kill makes the same files, and with the same ``resume_key`` it
goes on after the last shard that was whole. A disk too full for the result is refused before the first byte.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, Self

import numpy as np

from harness.checkpoint.dtypes import BITS, storage_dtype
from harness.checkpoint.header import LENGTH_BYTES, METADATA_KEY
from harness.checkpoint.shards import INDEX_NAME, SINGLE_NAME
from harness.document import sync_folder, write_atomically
from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

MAX_SHARD_BYTES: Final = 5 * 10**9
KEY_NAME: Final = ".key"
UNFINISHED_SUFFIX: Final = ".unfinished"
SPARE_BYTES: Final = 64 << 20
"""Left free on the disk for the small files and everybody else."""
ALIGNMENT_BYTES: Final = 8
_METADATA: Final = {"format": "pt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """A tensor that is going to be written."""

    name: str
    dtype: str
    """As safetensors names it."""
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of the tensor."""
        return int(np.prod(self.shape, dtype=np.int64)) * BITS[self.dtype] // 8


class CheckpointWriter:
    """A checkpoint folder in the making; a context manager that commits on success and cleans up on an error.

    Tensors are appended in the order in which ``specs`` names them.
    """

    def __init__(
        self,
        output: Path,
        specs: Sequence[TensorSpec],
        *,
        max_shard_bytes: int | None = None,
        resume_key: str | None = None,
    ) -> None:
        """Announce what will be written.

        Args:
            output: the folder to make.
            specs: all tensors, in the order in which they will come.
            max_shard_bytes: largest shard, bytes; a larger tensor gets one of its own.
            resume_key: names the content; whole shards that a killed writer of the same key left are kept.
        """
        if not specs:
            raise ValueError("a checkpoint must have at least one tensor, got none")
        self._output = output
        self._partial = output.with_name(f".{output.name}.partial")
        self._shards = split_shards(specs, max_shard_bytes or MAX_SHARD_BYTES)
        self._key = resume_key
        self._finished: set[int] = set()
        self._pending: list[tuple[int, TensorSpec]] = []
        self._number = -1
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self._finished = self._found()
        self._clear()
        todo = [(number, spec) for number, shard in enumerate(self._shards) for spec in shard]
        self._pending = [(number, spec) for number, spec in reversed(todo) if number not in self._finished]
        self._check_room(sum(spec.size_bytes for _, spec in self._pending))
        if self._key is not None and not self._finished:
            write_atomically(self._partial / KEY_NAME, self._key.encode())
        return self

    def has(self, name: str) -> bool:
        """Whether a shard that an earlier writer finished holds the tensor already."""
        return any(spec.name == name for number in self._finished for spec in self._shards[number])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_shard(whole=kind is None)
        if kind is None:
            self._commit()
        elif self._key is None or issubclass(kind, Exception):
            # What Ctrl-C interrupts is gone on from; what failed is not.
            shutil.rmtree(self._partial, ignore_errors=True)

    def append(self, name: str, chunks: Iterable[NDArray[Any]]) -> None:
        """Write the next tensor from its consecutive ``chunks``.

        Raises:
            ValueError: it is not the tensor whose turn it is, or its bytes are not as announced.
        """
        number, spec = self._take(name)
        if number != self._number:
            self._open_shard(number)
        if self._stream is None:
            raise ValueError(f"tensor {name!r}: the writer is closed")
        dtype, done = storage_dtype(spec.dtype), 0
        for chunk in chunks:
            if chunk.dtype != dtype:
                raise ValueError(f"tensor {name!r} must be {dtype} for {spec.dtype}, got {chunk.dtype}")
            done += self._stream.write(np.ascontiguousarray(chunk).data if chunk.size else b"")
        if done != spec.size_bytes:
            raise ValueError(f"tensor {name!r} must have {spec.size_bytes} bytes, got {done}")

    def write_file(self, name: str, content: bytes) -> None:
        """Add a file that is no weights."""
        write_atomically(self._partial / name, content)

    def copy_file(self, source: Path) -> None:
        """Add a copy of ``source`` under its own name."""
        with source.open("rb") as reading, (self._partial / source.name).open("wb") as writing:
            shutil.copyfileobj(reading, writing)
            _flush(writing)

    def _take(self, name: str) -> tuple[int, TensorSpec]:
        expected = self._pending[-1][1].name if self._pending else "no more tensors"
        if name != expected:
            raise ValueError(f"the next tensor must be {expected!r}, got {name!r}")
        return self._pending.pop()

    def _open_shard(self, number: int) -> None:
        self._close_shard(whole=True)
        self._number = number
        self._stream = self._unfinished(number).open("wb")
        self._stream.write(header_bytes(self._shards[number]))

    def _close_shard(self, *, whole: bool) -> None:
        if self._stream is None:
            return
        with self._stream as stream:
            _flush(stream)
        self._stream = None
        if whole:
            self._unfinished(self._number).rename(self._partial / shard_name(self._number, len(self._shards)))
            sync_folder(self._partial)

    def _unfinished(self, number: int) -> Path:
        return self._partial / f"{shard_name(number, len(self._shards))}{UNFINISHED_SUFFIX}"

    def _found(self) -> set[int]:
        """Shards that a killed writer of the same key had finished."""
        try:
            same = self._key is not None and (self._partial / KEY_NAME).read_text() == self._key
        except OSError:
            return set()
        if not same:
            return set()
        paths = {number: self._partial / shard_name(number, len(self._shards)) for number in range(len(self._shards))}
        found = {number: path.stat().st_size for number, path in paths.items() if path.is_file()}
        return {number for number, size_bytes in found.items() if size_bytes == self._size(number)}

    def _clear(self) -> None:
        """Make the folder, with the key and what is finished in it and nothing else."""
        kept = {shard_name(number, len(self._shards)) for number in self._finished} | {KEY_NAME}
        self._partial.mkdir(parents=True, exist_ok=True)
        for entry in self._partial.iterdir():
            if not self._finished or entry.name not in kept:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()

    def _size(self, number: int) -> int:
        """Bytes of a whole shard."""
        shard = self._shards[number]
        return len(header_bytes(shard)) + sum(spec.size_bytes for spec in shard)

    def _check_room(self, needed_bytes: int) -> None:
        free_bytes = shutil.disk_usage(self._partial).free
        asked_bytes = needed_bytes + SPARE_BYTES
        if asked_bytes > free_bytes:
            shutil.rmtree(self._partial, ignore_errors=True)
            raise UsageError(
                f"{self._output}: the result needs {asked_bytes / 1e9:.3f} GB, {SPARE_BYTES / 1e9:.3f} of it spare; "
                f"the disk has {free_bytes / 1e9:.3f} GB free; make room, or write elsewhere"
            )

    def _commit(self) -> None:
        if self._pending:
            shutil.rmtree(self._partial, ignore_errors=True)
            raise ValueError(f"tensor {self._pending[-1][1].name!r} was announced and not written")
        if len(self._shards) > 1:
            self.write_file(INDEX_NAME, index_bytes(self._shards))
        (self._partial / KEY_NAME).unlink(missing_ok=True)
        sync_folder(self._partial)
        replace_folder(self._output, self._partial)


def replace_folder(target: Path, source: Path) -> None:
    """Make ``source`` stand as ``target``; at no moment does ``target`` hold half of anything."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    source.rename(target)
    sync_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def split_shards(specs: Iterable[TensorSpec], max_shard_bytes: int) -> tuple[tuple[TensorSpec, ...], ...]:
    """``specs`` in order, cut so that no shard has more than ``max_shard_bytes`` unless one tensor alone has."""
    shards: list[list[TensorSpec]] = [[]]
    filled = 0
    for spec in specs:
        if shards[-1] and filled + spec.size_bytes > max_shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(spec)
        filled += spec.size_bytes
    return tuple(tuple(shard) for shard in shards)


def shard_name(number: int, count: int) -> str:
    """File name of shard ``number`` (from 0) of ``count``."""
    return SINGLE_NAME if count == 1 else f"model-{number + 1:05d}-of-{count:05d}.safetensors"


def header_bytes(specs: Sequence[TensorSpec]) -> bytes:
    """Length and JSON of a safetensors header for ``specs`` in order, padded with spaces to eight bytes."""
    content: dict[str, object] = {METADATA_KEY: _METADATA}
    offset = 0
    for spec in specs:
        stop = offset + spec.size_bytes
        content[spec.name] = {"dtype": spec.dtype, "shape": list(spec.shape), "data_offsets": [offset, stop]}
        offset = stop
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT_BYTES)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def index_bytes(shards: Sequence[Sequence[TensorSpec]]) -> bytes:
    """The index of several shards, as JSON."""
    total = sum(spec.size_bytes for shard in shards for spec in shard)
    places = {spec.name: shard_name(number, len(shards)) for number, shard in enumerate(shards) for spec in shard}
    content = {"metadata": {"total_size": total}, "weight_map": places}
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def _flush(stream: IO[bytes]) -> None:
    stream.flush()
    os.fsync(stream.fileno())
