"""The bytes of a checkpoint in a fixed grid, read through small buffers that are used again.

    file    |---- chunk, 4 MiB ----|---- chunk ----|--|      a unit of work, and of digests
            |-- block --|-- block -|…                        2 MiB: what is in memory, and in the processor's cache

A block may lend the first bytes of the next one, so that an element that lies on the border is read whole.
"""

from __future__ import annotations

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from harness.errors import CheckpointCorrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from harness.progress import Progress

CHUNK_BYTES: Final = 4 << 20
BLOCK_BYTES: Final = 2 << 20
BORDER_BYTES: Final = 16
"""At least the width of the widest element, less one."""
_QUEUED_PER_WORKER: Final = 32
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Bytes ``start`` to ``stop`` of a file."""

    path: Path
    start: int
    stop: int
    file_bytes: int
    """Size that the whole file must have, bytes."""


def chunks_of(path: Path, size_bytes: int, chunk_bytes: int = CHUNK_BYTES) -> Iterator[Chunk]:
    """The chunks of a file of ``size_bytes``, in order; all but the last have ``chunk_bytes``."""
    for start in range(0, size_bytes, chunk_bytes):
        stop = min(start + chunk_bytes, size_bytes)
        yield Chunk(path=path, start=start, stop=stop, file_bytes=size_bytes)


def blocks(chunk: Chunk, buffer: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Read ``chunk`` block by block into ``buffer``: each time the block's first byte and the one after its last.

    Up to ``BORDER_BYTES`` that follow the block in the file follow it in the buffer.

    Raises:
        CheckpointCorrupt: the file is a link or no plain file, or has not the size that it had.
    """
    room = len(buffer) - BORDER_BYTES
    with open_plain(chunk.path, chunk.file_bytes) as descriptor:
        for start in range(chunk.start, chunk.stop, room):
            stop = min(start + room, chunk.stop)
            reach = min(stop + BORDER_BYTES, chunk.file_bytes)
            read_fully(descriptor, buffer[: reach - start], start, chunk.path)
            yield start, stop


def new_buffer(block_bytes: int = BLOCK_BYTES) -> NDArray[np.uint8]:
    """A buffer for ``blocks``."""
    return np.empty(block_bytes + BORDER_BYTES, np.uint8)


@contextmanager
def open_plain(path: Path, size_bytes: int) -> Iterator[int]:
    """A descriptor of the plain file ``path``; raises ``CheckpointCorrupt`` where it is another kind or size."""
    try:
        # Without O_NONBLOCK, opening a pipe that took the file's place would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise CheckpointCorrupt(f"{path}: cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size != size_bytes:
            raise CheckpointCorrupt(f"{path}: must be a file of {size_bytes} bytes, found {status.st_size} now")
        yield descriptor
    finally:
        os.close(descriptor)


def read_fully(descriptor: int, array: NDArray[Any], offset: int, path: Path) -> None:
    """Fill ``array`` from byte ``offset`` on; raises ``CheckpointCorrupt`` where the file ends before it is full."""
    view = array.view(np.uint8).data
    done = 0
    while done < len(view):
        count = os.preadv(descriptor, [view[done:]], offset + done)
        if count == 0:
            raise CheckpointCorrupt(f"{path}: the file ends at byte {offset + done}, in the middle of a tensor")
        done += count


def over_chunks(
    work: Callable[[Chunk, NDArray[np.uint8]], ResultT],
    chunks: Sequence[Chunk],
    *,
    workers: int,
    label: str,
    progress: Progress,
) -> Iterator[ResultT]:
    """``work(chunk, buffer)`` of every chunk, in order, by ``workers`` threads that have a buffer each.

    Raises:
        ValueError: ``workers`` is less than 1.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    results = _alone(work, chunks) if workers == 1 else _together(work, chunks, workers)
    for done, (chunk, result) in enumerate(zip(chunks, results, strict=True)):
        progress(label, done, len(chunks), chunk.path.name)
        yield result
    progress(label, len(chunks), len(chunks))


def available_processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def _alone(work: Callable[[Chunk, NDArray[np.uint8]], ResultT], chunks: Iterable[Chunk]) -> Iterator[ResultT]:
    buffer = new_buffer()
    return (work(chunk, buffer) for chunk in chunks)


def _together(
    work: Callable[[Chunk, NDArray[np.uint8]], ResultT], chunks: Sequence[Chunk], workers: int
) -> Iterator[ResultT]:
    """A bounded number of chunks is queued at a time: the futures of a terabyte would be memory, too."""
    local = threading.local()

    def run(chunk: Chunk) -> ResultT:
        return work(chunk, local.buffer)

    def prepare() -> None:
        local.buffer = new_buffer()

    with ThreadPoolExecutor(workers, initializer=prepare) as pool:
        step = workers * _QUEUED_PER_WORKER
        for first in range(0, len(chunks), step):
            yield from pool.map(run, chunks[first : first + step])
