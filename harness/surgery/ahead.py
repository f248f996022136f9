"""Read the next chunks while the last one is written: one thread, a short queue."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

DEPTH: Final = 2
"""Items that wait, so memory is that many chunks more."""
POLL_INTERVAL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class _Item(Generic[T]):
    value: T


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None = None


def ahead(items: Iterator[T], *, depth: int = DEPTH) -> Iterator[T]:
    """The same items in the same order, made in a thread while the caller works on those before.

    What the thread raises is raised here in its turn. A caller that stops early ends the thread after its current item.
    """
    waiting: queue.Queue[_Item[T] | _End] = queue.Queue(depth)
    stopped = threading.Event()
    thread = threading.Thread(target=_fill, args=(items, waiting, stopped), daemon=True)
    thread.start()
    try:
        while isinstance(found := waiting.get(), _Item):
            yield found.value
    finally:
        stopped.set()
        thread.join()
    if found.error is not None:
        raise found.error


def _fill(items: Iterator[T], waiting: queue.Queue[_Item[T] | _End], stopped: threading.Event) -> None:
    end = _End()
    try:
        for item in items:
            if not _put(_Item(item), waiting, stopped):
                return
    except BaseException as error:  # noqa: BLE001 - raised by the one who reads
        end = _End(error)
    _put(end, waiting, stopped)


def _put(item: _Item[T] | _End, waiting: queue.Queue[_Item[T] | _End], stopped: threading.Event) -> bool:
    """Whether it was taken; not where the reader has gone."""
    while not stopped.is_set():
        try:
            waiting.put(item, timeout=POLL_INTERVAL_S)
        except queue.Full:
            continue
        return True
    return False
