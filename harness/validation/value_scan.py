"""Every value of a final checkpoint, read once in the background while the checks before it run.

judge ── begin ──> threads read the weights, large stretches each ────┐
  │                                                                   │
  └─ record, dtypes, samples of matrices, … ── checks of values ── wait

Reading the values and judging samples take as long as each other: side by side, they cost one read of the bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future
from threading import Lock, Thread
from typing import TYPE_CHECKING, Final

from harness.checkpoint.blocks import available_processors
from harness.checkpoint.scan import scan, scan_and_list
from harness.checkpoint.tree_digest import plain_files
from harness.errors import CheckpointCorrupt

if TYPE_CHECKING:
    from pathlib import Path

    from harness.checkpoint.checkpoint import CheckpointFile
    from harness.checkpoint.scan import Scan

    Stamps = tuple[tuple[str, int, int, int, int], ...]
    Found = tuple[Scan, tuple[CheckpointFile, ...]]

KEPT: Final = 8
"""Checkpoints whose results are remembered; what leaves is read again."""
_lock = Lock()
_begun: OrderedDict[tuple[Path, bool, Stamps], Future[Found]] = OrderedDict()


def begin(folder: Path, *, with_digests: bool) -> None:
    """Start reading ``folder``, so that ``scanned`` finds it read; what is wrong with it is said there."""
    try:
        _future(folder, with_digests=with_digests)
    except CheckpointCorrupt:
        return  # `scanned` raises the same, to somebody who can report it


def scanned(folder: Path, *, with_digests: bool) -> Found:
    """What was seen in ``folder``, and its files with their SHA-256 (none without ``with_digests``).

    Read once for as long as the files look the same.

    Raises:
        CheckpointCorrupt: the layout is broken, or a file changed meanwhile.
    """
    return _future(folder, with_digests=with_digests).result()


def _future(folder: Path, *, with_digests: bool) -> Future[Found]:
    key = (folder, with_digests, _stamps(folder))
    with _lock:
        future = _begun.get(key)
        if future is None:
            future = _begun[key] = Future()
            # A daemon: who interrupts a validation need not wait for the rest of the weights.
            Thread(target=_read, args=(future, folder, with_digests), daemon=True).start()
        _begun.move_to_end(key)
        while len(_begun) > KEPT:
            _begun.popitem(last=False)
    return future


def _read(future: Future[Found], folder: Path, with_digests: bool) -> None:
    try:
        found = scan_and_list(folder) if with_digests else (scan(folder, workers=available_processors()), ())
    except BaseException as error:  # noqa: BLE001 - raised again by whoever asks for the result
        future.set_exception(error)
    else:
        future.set_result(found)


def _stamps(folder: Path) -> Stamps:
    """How the files look: what was read is read again only where they look otherwise."""
    states = [(file.name, file.stat()) for file in plain_files(folder)]
    return tuple((name, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns) for name, state in states)
