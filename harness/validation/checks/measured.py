"""The measured checkpoints of an entry, each with the field that findings name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.submission.measurements import Measurements
    from harness.submission.model_result import CheckpointRole
    from harness.validation.entry import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured on one checkpoint, and where the record says so."""

    model: str
    role: CheckpointRole
    checkpoint_digest: str
    measurements: Measurements
    field: str
    """E.g. ``models.0.checkpoints.2.measurements``."""


def measured(entry: Entry) -> Iterator[Measured]:
    """Every checkpoint of the entry."""
    for m, model in enumerate(entry.models):
        for c, result in enumerate(model.checkpoints):
            yield Measured(
                model=model.name,
                role=result.role,
                checkpoint_digest=result.checkpoint.checkpoint_digest,
                measurements=result.measurements,
                field=f"models.{m}.checkpoints.{c}.measurements",
            )


def finals(entry: Entry) -> Iterator[Measured]:
    """The checkpoints that are submitted: one for each model."""
    return (one for one in measured(entry) if one.role == "final")
