"""What executorch writes to standard error about processors, files and itself: kept back, told with an error."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from typing import IO, TYPE_CHECKING

from harness.errors import EngineFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOWN_CHARACTERS = 600


@contextlib.contextmanager
def quiet(what: str) -> Iterator[None]:
    """Hold standard error and log messages back while executorch works.

    Raises:
        EngineFailed: it failed; the message has the end of what it wrote.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as kept, _without_logging():
        try:
            with _standard_error(kept):
                yield
        except (RuntimeError, ImportError, OSError) as error:
            raise EngineFailed(f"{what}: {error}; {_tail(kept)}") from error


@contextlib.contextmanager
def _standard_error(target: IO[str]) -> Iterator[None]:
    """Both ways there: the descriptor, and Python's stream, which bindings write to."""
    sys.stderr.flush()
    before = os.dup(2)
    os.dup2(target.fileno(), 2)
    try:
        with contextlib.redirect_stderr(target):
            yield
        target.flush()
    finally:
        os.dup2(before, 2)
        os.close(before)


@contextlib.contextmanager
def _without_logging() -> Iterator[None]:
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _tail(kept: IO[str]) -> str:
    kept.seek(0)
    return kept.read()[-SHOWN_CHARACTERS:].strip()
