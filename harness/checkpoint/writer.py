"""Write a checkpoint tensor by tensor; it appears whole or not at all.

    .NAME.partial/   shards, other files, index last, each flushed to the disk
        │ rename
        v
    NAME/            was absent, or the whole checkpoint that stood there before

The bytes depend on the content alone: a rerun after a kill makes the same files.
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

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

MAX_SHARD_BYTES: Final = 5 * 10**9
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

    def __init__(self, output: Path, specs: Sequence[TensorSpec], *, max_shard_bytes: int = MAX_SHARD_BYTES) -> None:
        if not specs:
            raise ValueError("a checkpoint must have at least one tensor, got none")
        self._output = output
        self._partial = output.with_name(f".{output.name}.partial")
        self._shards = split_shards(specs, max_shard_bytes)
        self._pending = [(number, spec) for number, shard in enumerate(self._shards) for spec in shard]
        self._pending.reverse()
        self._number = -1
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> Self:
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_shard()
        if kind is None:
            self._commit()
        else:
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
        self._close_shard()
        self._number = number
        self._stream = (self._partial / shard_name(number, len(self._shards))).open("wb")
        self._stream.write(header_bytes(self._shards[number]))

    def _close_shard(self) -> None:
        if self._stream is not None:
            with self._stream as stream:
                _flush(stream)
            self._stream = None

    def _commit(self) -> None:
        if self._pending:
            shutil.rmtree(self._partial, ignore_errors=True)
            raise ValueError(f"tensor {self._pending[-1][1].name!r} was announced and not written")
        if len(self._shards) > 1:
            self.write_file(INDEX_NAME, index_bytes(self._shards))
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
