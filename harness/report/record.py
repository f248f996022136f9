"""A filed bundle, read for its page: as any stranger's, so links are not followed and sizes are bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from harness.document import Document
from harness.errors import UsageError
from harness.submission import layout
from harness.submission.provenance import LedgerRecord, Lock, RecipeRecord
from harness.submission.schema import Submission
from harness.validation.record import read_document

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import JsonValue

LARGEST: Final = 1 << 63
"""Of whole numbers: JSON's have no end, and nothing that is counted here comes near."""
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
        UsageError: there is no ``submission.json`` that can be read, or one of its numbers is absurdly large.
    """
    submission, faults = read_document(bundle, layout.SUBMISSION, Submission)
    if submission is None:
        reason = faults[0].message if faults else "cannot be read"
        raise UsageError(
            f"{bundle}: no bundle of this harness: {layout.SUBMISSION}: {reason}; harness validate says more"
        )
    if not _is_sane(submission.model_dump(mode="json")):
        raise UsageError(f"{bundle}: {layout.SUBMISSION} holds a number beyond {LARGEST}, which no page can show")
    return Record(
        submission=submission,
        recipe=_read(bundle, layout.RECIPE, RecipeRecord),
        ledger=_read(bundle, layout.LEDGER, LedgerRecord),
        lock=_read(bundle, layout.LOCK, Lock),
    )


def _read(bundle: Path, name: str, model: type[DocumentT]) -> DocumentT | None:
    document, _ = read_document(bundle, name, model)
    return document


def _is_sane(value: JsonValue) -> bool:
    if isinstance(value, dict):
        return all(_is_sane(one) for one in value.values())
    if isinstance(value, list):
        return all(_is_sane(one) for one in value)
    return not isinstance(value, int) or abs(value) <= LARGEST
