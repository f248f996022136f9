"""Get the supervisor's process ready to be forked from: modules that programs use are there, ctypes is out of reach."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import sys
from typing import TYPE_CHECKING, Final

from . import identity, kernel
from .root import MASKED

if TYPE_CHECKING:
    from collections.abc import Iterable

WARM: Final = (
    *("collections", "copy", "dataclasses", "datetime", "decimal", "fractions", "functools", "hashlib", "heapq"),
    *("itertools", "json", "math", "random", "re", "statistics", "string", "traceback", "typing"),
)
"""Imported before the walls, so that a program finds them ready."""


NOT_FOR_PROGRAMS: Final = (
    "_test",
    "_xx",
    "xx",
    "_tkinter",
    "_curses",
    "readline",
    "nis",
    "ossaudiodev",
    "spwd",
    "syslog",
)
"""Modules that no exercise needs."""


def warm(preload: Iterable[str] = (), packages: tuple[str, ...] = (), *, walled: bool = True) -> None:
    """Make this process one that is good to fork from: warm, and without a way back to ctypes.

    Args:
        preload: modules to import besides the usual ones.
        packages: folders to find them in.
        walled: whether ctypes can no longer be imported, nor, where there are no packages, other native modules.
    """
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    identity.die_with_parent()
    if walled:
        for name in ("ctypes", "_ctypes"):
            sys.modules[name] = None  # type: ignore[assignment]
    sys.path.extend(packages)
    for name in (*WARM, *preload):
        importlib.import_module(name)
    if walled and not packages:
        _load_native_modules()
    del sys.path[len(sys.path) - len(packages) :]
    gc.collect()
    gc.freeze()


def _load_native_modules() -> None:
    """Load the standard library's, but those that reach raw memory: programs may not load any themselves."""
    # What ends a thread loads this library on demand.
    with contextlib.suppress(OSError):
        ctypes.CDLL("libgcc_s.so.1")
    for folder in (path for path in sys.path if path.endswith("lib-dynload") and os.path.isdir(path)):  # noqa: PTH112
        for file in sorted(os.listdir(folder)):  # noqa: PTH208
            name = file.partition(".")[0]
            if name not in MASKED and not name.startswith(NOT_FOR_PROGRAMS):
                # A module whose own library is not installed is not there for programs either.
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)
