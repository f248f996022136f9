"""Do a piece of work once: addressed by the digest of what it depends on, reused where it stands."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.document import digest_of
from harness.run.workspace import StepRecord, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
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
    done = perform_together(workspace, {"": depends_on}, lambda folders: {"": work(folders[""])})
    return done[""]


def perform_together(
    workspace: Workspace,
    pieces: Mapping[str, dict[str, JsonValue]],
    work: Callable[[Mapping[str, Path]], Mapping[str, Product]],
) -> dict[str, Done]:
    """Several pieces of work, of which those that are not finished are done in one go, and kept each by itself.

    Args:
        workspace: where they stand.
        pieces: what each depends on, by a name of the caller's; two may be the same piece.
        work: folders of the unfinished to their products, under the same names; called once, or not at all.
    """
    keys = {name: digest_of(depends_on) for name, depends_on in pieces.items()}
    with contextlib.ExitStack() as claims:
        for key in sorted(set(keys.values())):  # in one order everywhere, so that no two runs wait for each other
            claims.enter_context(workspace.claimed(key))
        records = {key: workspace.finished(key) for key in keys.values()}
        missing = {key: name for name, key in keys.items() if records[key] is None}
        products = work({name: workspace.partial(key) for key, name in missing.items()}) if missing else {}
        for key, name in missing.items():
            records[key] = _finish(workspace, key, pieces[name], products[name])
    return {
        name: Done(record=record, reused=key not in missing)
        for name, key in keys.items()
        if (record := records[key]) is not None
    }


def _finish(workspace: Workspace, key: str, depends_on: dict[str, JsonValue], product: Product) -> StepRecord:
    record = StepRecord(
        key=key,
        depends_on=depends_on,
        value=product.value,
        duration_s=product.duration_s,
        peak_memory_bytes=product.peak_memory_bytes,
    )
    return workspace.finish(record, product.made)
