"""Python's garbage collector, told that little of what an exporter makes is garbage."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

RARELY: Final = 200_000
"""New objects before the collector looks; Python's own number is 700."""


@contextlib.contextmanager
def collecting_rarely() -> Iterator[None]:
    """Imported code and graphs are millions of small objects that live: looking there for garbage is wasted."""
    first, second, third = gc.get_threshold()
    gc.set_threshold(RARELY, second, third)
    try:
        yield
    finally:
        gc.set_threshold(first, second, third)
