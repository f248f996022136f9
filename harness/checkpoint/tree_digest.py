"""A digest that says where: SHA-256 of every chunk of every file, and one root over them.

    root ── model-00001.safetensors ── chunk 0   bytes 0 … 4 MiB
         │                         ├── chunk 1
         │                         └── …           one changed byte changes one chunk, and the root
         └── config.json ── chunk 0

A checkpoint's plain digest (``Checkpoint.digest``) needs its bytes in one order; here every processor hashes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.checkpoint.blocks import CHUNK_BYTES, Chunk, available_processors, blocks, chunks_of, over_chunks
from harness.document import Document, digest_of
from harness.errors import CheckpointCorrupt
from harness.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from harness.checkpoint.header import Header

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""Hexadecimal."""
Change = Literal["missing", "added", "changed"]


class FileDigest(Document):
    """One file, by its chunks."""

    name: Annotated[str, Field(pattern=r"^[^./\\\x00][^/\\\x00]*$")]
    """A plain name: no folder, not hidden."""
    size_bytes: Annotated[int, Field(ge=0)]
    chunks: tuple[Sha256, ...]
    """SHA-256 of each chunk, in order."""


class TreeDigest(Document):
    """All files of a checkpoint, by their chunks."""

    chunk_bytes: Annotated[int, Field(ge=1)]
    """Bytes of a chunk; the last one of a file may have fewer."""
    files: tuple[FileDigest, ...]
    """By name."""
    root: Sha256
    """SHA-256 over the chunk size and every file's name, size and chunks: equal for equal bytes and chunk size."""

    @classmethod
    def of(cls, chunk_bytes: int, files: Iterable[FileDigest]) -> Self:
        """The digest of ``files``, in any order."""
        ordered = tuple(sorted(files, key=lambda file: file.name))
        return cls(chunk_bytes=chunk_bytes, files=ordered, root=_root(chunk_bytes, ordered))

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        names = [file.name for file in self.files]
        if names != sorted(set(names)):
            raise ValueError("files must be sorted by name, each once")
        for file in self.files:
            expected = -(-file.size_bytes // self.chunk_bytes)
            if len(file.chunks) != expected:
                raise ValueError(f"{file.name}: its size makes {expected} chunks, found {len(file.chunks)}")
        if self.root != _root(self.chunk_bytes, self.files):
            raise ValueError("root is not the digest of the files")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A file that two digests do not agree about."""

    name: str
    change: Change
    spans: tuple[tuple[int, int], ...]
    """Bytes in which a changed file differs, first and one after the last, whole chunks, ascending, apart."""


def tree_digest(
    path: Path, *, chunk_bytes: int = CHUNK_BYTES, workers: int | None = None, progress: Progress = silent
) -> TreeDigest:
    """Read every byte of the checkpoint folder ``path`` once, in the memory of a small buffer for each worker.

    Args:
        path: a folder with a ``config.json``; hidden files are not part of it.
        chunk_bytes: bytes that a change is traced to.
        workers: threads; as many as there are processors if None.
        progress: told of every chunk.

    Raises:
        CheckpointCorrupt: as ``Checkpoint.of``, or a file changes its size meanwhile.
    """
    sizes = plain_files(path)
    chunks = grid(sizes, chunk_bytes)
    workers = workers or available_processors()
    digests = over_chunks(_digest_chunk, chunks, workers=workers, label="digesting", progress=progress)
    return assemble(sizes, chunk_bytes, digests)


def compare(before: TreeDigest, after: TreeDigest) -> tuple[Difference, ...]:
    """Which files differ, and in which bytes; empty where both are the same.

    Raises:
        ValueError: the chunks are not of the same size.
    """
    if before.chunk_bytes != after.chunk_bytes:
        raise ValueError(f"chunks must have the same size, got {before.chunk_bytes} and {after.chunk_bytes} bytes")
    if before.root == after.root:
        return ()
    old, new = ({file.name: file for file in tree.files} for tree in (before, after))
    found = (_difference(name, old.get(name), new.get(name), before.chunk_bytes) for name in sorted(old | new))
    return tuple(difference for difference in found if difference is not None)


def verify(
    path: Path, expected: TreeDigest, *, workers: int | None = None, progress: Progress = silent
) -> tuple[Difference, ...]:
    """What of the checkpoint folder ``path`` is not as in ``expected``; raises as ``tree_digest``."""
    found = tree_digest(path, chunk_bytes=expected.chunk_bytes, workers=workers, progress=progress)
    return compare(expected, found)


def touched_tensors(shard: Header, difference: Difference) -> tuple[str, ...]:
    """Names of the tensors of ``shard`` that reach into the differing chunks, in the order of their bytes."""
    return tuple(
        entry.name
        for entry in shard.tensors
        if any(entry.start < stop and start < entry.stop for start, stop in difference.spans)
    )


def plain_files(path: Path) -> dict[Path, int]:
    """Files of the checkpoint folder ``path`` and their sizes in bytes, by name; raises as ``Checkpoint.of``."""
    if not (path / "config.json").is_file():
        raise CheckpointCorrupt(f"{path}: no config.json; a checkpoint is a folder with config.json and safetensors")
    return {entry: _plain_size(entry) for entry in sorted(path.iterdir()) if not entry.name.startswith(".")}


def grid(sizes: Mapping[Path, int], chunk_bytes: int) -> list[Chunk]:
    """The chunks of all files; raises ``ValueError`` where a chunk would have no byte."""
    if chunk_bytes < 1:
        raise ValueError(f"chunk_bytes must be at least 1, got {chunk_bytes}")
    return [chunk for path, size_bytes in sizes.items() for chunk in chunks_of(path, size_bytes, chunk_bytes)]


def assemble(sizes: Mapping[Path, int], chunk_bytes: int, digests: Iterable[str]) -> TreeDigest:
    """The tree over the ``digests`` of the chunks of ``grid``, in its order."""
    found = list(digests)
    files, first = [], 0
    for path, size_bytes in sizes.items():
        last = first - (-size_bytes // chunk_bytes)
        files.append(FileDigest(name=path.name, size_bytes=size_bytes, chunks=tuple(found[first:last])))
        first = last
    return TreeDigest.of(chunk_bytes, files)


def _plain_size(entry: Path) -> int:
    if entry.is_symlink() or not entry.is_file():
        raise CheckpointCorrupt(f"{entry}: a checkpoint holds plain files only, no folders and no links")
    return entry.stat().st_size


def _digest_chunk(chunk: Chunk, buffer: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256()
    for start, stop in blocks(chunk, buffer):
        digest.update(buffer[: stop - start].data)
    return digest.hexdigest()


def _root(chunk_bytes: int, files: Iterable[FileDigest]) -> str:
    return digest_of([chunk_bytes, [[file.name, file.size_bytes, list(file.chunks)] for file in files]])


def _difference(name: str, old: FileDigest | None, new: FileDigest | None, chunk_bytes: int) -> Difference | None:
    if old is None or new is None:
        return Difference(name=name, change="added" if old is None else "missing", spans=())
    if old == new:
        return None
    pairs = enumerate(zip_longest(old.chunks, new.chunks))
    end = max(old.size_bytes, new.size_bytes)
    differing = [number * chunk_bytes for number, (left, right) in pairs if left != right]
    spans = ((start, min(start + chunk_bytes, end)) for start in differing)
    return Difference(name=name, change="changed", spans=_joined(spans))


def _joined(spans: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """``spans``, ascending, with neighbours made one."""
    joined: list[tuple[int, int]] = []
    for start, stop in spans:
        if joined and joined[-1][1] == start:
            start = joined.pop()[0]  # noqa: PLW2901 - the span begins where its neighbour did
        joined.append((start, stop))
    return tuple(joined)
