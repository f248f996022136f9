"""A filed bundle, read for its page: as any stranger's, so links are not followed and sizes are bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from harness.document import Document
from harness.errors import UsageError
from harness.submission import layout
from harness.submission.provenance import LedgerRecord, Lock, RecipeRecord
from harness.submission.schema import Submission
from harness.validation.record import read_document

if TYPE_CHECKING:
    from pathlib import Path

DocumentT = TypeVar("DocumentT", bound=Document)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The documents of a bundle; all but the manifest may be missing or broken, and then their parts are left out."""

    submission: Submission
    recipe: RecipeRecord | None
    ledger: LedgerRecord | None
    lock: Lock | None


def read_record(bundle: Path) -> Record:
    """The documents of the folder ``bundle``.

    Raises:
        UsageError: there is no ``submission.json`` that can be read.
    """
    submission, faults = read_document(bundle, layout.SUBMISSION, Submission)
    if submission is None:
        reason = faults[0].message if faults else "cannot be read"
        raise UsageError(f"{bundle}: no bundle of this harness: {layout.SUBMISSION}: {reason}; harness validate says more")
    return Record(
        submission=submission,
        recipe=_read(bundle, layout.RECIPE, RecipeRecord),
        ledger=_read(bundle, layout.LEDGER, LedgerRecord),
        lock=_read(bundle, layout.LOCK, Lock),
    )


def _read(bundle: Path, name: str, model: type[DocumentT]) -> DocumentT | None:
    document, _ = read_document(bundle, name, model)
    return document
