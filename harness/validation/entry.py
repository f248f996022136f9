"""An entry, opened: a bundle's folder read once, safely, before any check looks at it.

    folder ──list_folder──> Listing ──read──> documents that could be read   ─┐
                                         └──> findings about those that not  ─┴─> Entry ──> checks

Nothing outside the folder is read, except checkpoints in the folder that the caller names for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.submission import layout
from harness.submission.measurements import ItemScores
from harness.submission.model_result import ModelResult
from harness.submission.provenance import LedgerRecord, Lock, RecipeRecord
from harness.submission.schema import Submission
from harness.validation.listing import Listing, list_folder
from harness.validation.record import DocumentT, read_document, read_results
from harness.validation.weights import Weights, locate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.rules.finding import Finding
    from harness.submission.results_csv import ResultsTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What could be read of an entry, and what could not."""

    path: Path
    listing: Listing
    submission: Submission | None
    recipe: RecipeRecord | None
    ledger: LedgerRecord | None
    lock: Lock | None
    results: ResultsTable | None
    model_files: Mapping[str, ModelResult]
    """``models/<name>.json`` by file name."""
    item_files: Mapping[str, ItemScores]
    weights: tuple[Weights, ...]
    """Every checkpoint of the record and where it was found, if it was."""
    faults: tuple[Finding, ...]
    """What could not be read, under the rule ``bundle.schema``."""

    @property
    def name(self) -> str:
        """The entry's folder name."""
        return self.path.name

    @property
    def models(self) -> tuple[ModelResult, ...]:
        """The results of the base models; none where the manifest could not be read."""
        return self.submission.models if self.submission else ()


def open_entry(path: Path, *, weights: Path | None = None) -> Entry:
    """Open the bundle at ``path``; checkpoints are looked for in it and in the folder ``weights``.

    Raises:
        UsageError: ``path`` or ``weights`` is no folder that can be listed.
    """
    listing = _listed(path.resolve())
    reader = _Reader(listing)
    submission = reader.document(layout.SUBMISSION, Submission)
    return Entry(
        path=listing.root,
        listing=listing,
        submission=submission,
        recipe=reader.document(layout.RECIPE, RecipeRecord),
        ledger=reader.document(layout.LEDGER, LedgerRecord),
        lock=reader.document(layout.LOCK, Lock),
        results=reader.results(),
        model_files=reader.documents(f"{layout.MODELS}/", ModelResult),
        item_files=reader.documents(f"{layout.ITEMS}/", ItemScores),
        weights=locate(submission, listing.root, _listed(weights.resolve()).root if weights else None),
        faults=tuple(reader.faults),
    )


def _listed(path: Path) -> Listing:
    try:
        return list_folder(path)
    except OSError as error:
        raise UsageError(f"{path}: expected a folder, found none that can be listed ({error.strerror})") from error


class _Reader:
    """Reads the files of one listing and gathers what is wrong with them."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self.faults: list[Finding] = []

    def document(self, name: str, model: type[DocumentT]) -> DocumentT | None:
        if name not in self._listing.files:
            return None
        document, faults = read_document(self._listing.root, name, model)
        self.faults += faults
        return document

    def documents(self, prefix: str, model: type[DocumentT]) -> dict[str, DocumentT]:
        names = [name for name in self._listing.files if name.startswith(prefix) and layout.is_bundle_file(name)]
        found = {name: self.document(name, model) for name in names}
        return {name: document for name, document in found.items() if document is not None}

    def results(self) -> ResultsTable | None:
        if layout.RESULTS not in self._listing.files:
            return None
        table, faults = read_results(self._listing.root, layout.RESULTS)
        self.faults += faults
        return table
