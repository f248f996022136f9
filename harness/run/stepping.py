"""Do a piece of work once: addressed by the digest of what it depends on, reused where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.document import digest_of
from harness.run.workspace import StepRecord, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pydantic import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What a piece of work came to."""

    value: JsonValue
    duration_s: float
    peak_memory_bytes: int
    made: Path | None = None
    """The checkpoint it made, a folder inside the step's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A finished piece of work."""

    record: StepRecord
    reused: bool


def perform(workspace: Workspace, depends_on: dict[str, JsonValue], work: Callable[[Path], Product]) -> Done:
    """Reuse the finished work of that name, or let ``work`` do it in the folder that it is given.

    What ``work`` leaves in its folder when it fails or is killed is there again when it is tried again.
    """
    key = digest_of(depends_on)
    with workspace.claimed(key):
        record = workspace.finished(key)
        if record is not None:
            return Done(record=record, reused=True)
        product = work(workspace.partial(key))
        record = StepRecord(
            key=key,
            depends_on=depends_on,
            value=product.value,
            duration_s=product.duration_s,
            peak_memory_bytes=product.peak_memory_bytes,
        )
        return Done(record=workspace.finish(record, product.made), reused=False)
