"""An entry, opened: read once, safely, before any check looks at it.

    archive ──unpack──┐
    folder ───────────┴─list_folder──> Listing ──kind_of──> bundle      documents           ─┐
    results file ────────────────────> Listing              elsewhere   tables, packages,    ├─> Entry ──> checks
                                                                        loose checkpoints    │
                                       what could not be read, or was assumed: findings     ─┘

Nothing outside the entry is read, except checkpoints in the folder that the caller names for them; an archive is
unpacked into a private folder that goes when the entry is closed.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.rules.finding import Place
from harness.submission import layout
from harness.submission.model_result import ModelResult
from harness.submission.provenance import LedgerRecord, Lock, RecipeRecord
from harness.submission.schema import Submission
from harness.validation.catalogue import finding
from harness.validation.foreign import archive
from harness.validation.foreign.kind import Kind, is_results_name, kind_of, package_folders, results_files
from harness.validation.foreign.loose import loose_weights
from harness.validation.foreign.normalise import read_results as read_foreign_results
from harness.validation.foreign.package import read_package
from harness.validation.foreign.packaged import PackageComparison
from harness.validation.listing import Listing, list_file, list_folder
from harness.validation.record import DocumentT, read_document, read_results
from harness.validation.weights import Weights, locate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.rules.finding import Finding
    from harness.submission.results_csv import ResultsTable
    from harness.validation.foreign.package import Package
    from harness.validation.foreign.results import ForeignResults


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
    weights: tuple[Weights, ...]
    """Every checkpoint of the record and where it was found, if it was."""
    faults: tuple[Finding, ...]
    """What could not be read, under the rule ``bundle.schema``."""
    kind: Kind = Kind.BUNDLE
    said: tuple[Finding, ...] = ()
    """What opening the entry found under other rules: of archives, of what was assumed and refused."""
    tables: tuple[ForeignResults, ...] = ()
    """The results of an entry made elsewhere, normalised."""
    packages: tuple[Package, ...] = ()
    """The MLC packages of an entry made elsewhere."""
    comparison: PackageComparison | None = None
    """These held against the checkpoints that stand beside them."""

    @property
    def name(self) -> str:
        """The entry's folder name, or its file's."""
        return self.path.name

    @property
    def models(self) -> tuple[ModelResult, ...]:
        """The results of the base models; none where the manifest could not be read."""
        return self.submission.models if self.submission else ()


@contextmanager
def opened(path: Path, *, weights: Path | None = None) -> Iterator[Entry]:
    """The entry at ``path``: a folder, an archive or a file of results; closed, nothing of an archive is left.

    Args:
        path: what was filed.
        weights: folder with the checkpoints that a bundle references.

    Raises:
        UsageError: ``path`` is not there, or ``weights`` is no folder that can be listed.
    """
    path = path.resolve()
    if not path.is_file():
        yield open_entry(path, weights=weights)
    elif (packed_as := _packed_as(path)) is None:
        yield _open_file(path)
    else:
        with tempfile.TemporaryDirectory(prefix="harness-entry-") as private:
            yield _open_archive(path, packed_as, Path(private), weights)


def _packed_as(path: Path) -> str | None:
    try:
        return archive.format_of(path)
    except OSError as error:
        raise UsageError(f"{path}: expected a file that can be read, found none ({error.strerror})") from error


def open_entry(path: Path, *, weights: Path | None = None) -> Entry:
    """The entry in the folder ``path``; a bundle's checkpoints are looked for in it and in the folder ``weights``.

    Raises:
        UsageError: ``path`` or ``weights`` is no folder that can be listed.
    """
    listing = _listed(path.resolve())
    kind = kind_of(listing)
    return _open_bundle(listing, weights) if kind is Kind.BUNDLE else _open_foreign(listing, kind)


def _open_bundle(listing: Listing, weights: Path | None) -> Entry:
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
        weights=locate(submission, listing.root, _listed(weights.resolve()).root if weights else None),
        faults=tuple(reader.faults),
    )


def _open_foreign(listing: Listing, kind: Kind) -> Entry:
    """An entry that this harness did not make: its tables, packages and checkpoints, wherever they stand in it."""
    read = [read_foreign_results(listing.root / name, name) for name in results_files(listing.files)]
    packages = tuple(read_package(listing, folder) for folder in package_folders(listing.files))
    weights = loose_weights(listing)
    return replace(
        _without_record(listing, kind),
        weights=weights,
        tables=tuple(one.results for one in read if one.results is not None),
        packages=packages,
        comparison=PackageComparison(root=listing.root, packages=packages, weights=weights),
        said=(
            *(fault for one in read for fault in one.findings),
            *(fault for package in packages for fault in package.findings),
        ),
    )


def _without_record(listing: Listing, kind: Kind) -> Entry:
    return Entry(
        path=listing.root,
        listing=listing,
        submission=None,
        recipe=None,
        ledger=None,
        lock=None,
        results=None,
        model_files={},
        weights=(),
        faults=(),
        kind=kind,
    )


def _open_file(path: Path) -> Entry:
    """A file of results on its own; any other file is an entry of an unknown kind."""
    listing = list_file(path)
    if is_results_name(path.name):
        return replace(_open_foreign(listing, Kind.COMPETITION), path=path)
    message = "the file is no entry of a kind that is known"
    allowed = "a folder, a .zip, .tar or .tar.gz, or a table named Results.csv"
    fault = finding("foreign.kind", Place(file=path.name), message, found=path.name, allowed=allowed)
    return replace(_without_record(listing, Kind.UNKNOWN), path=path, said=(fault,))


def _open_archive(path: Path, packed_as: str, private: Path, weights: Path | None) -> Entry:
    """The entry in an archive, in its only folder where it has one."""
    folder = private / archive.stem(path)
    folder.mkdir()
    faults = archive.unpack(path, packed_as, folder)
    inner = list(folder.iterdir())
    if not inner:
        return replace(_without_record(_listed(folder), Kind.UNKNOWN), path=path, said=faults)
    root = inner[0] if len(inner) == 1 and inner[0].is_dir() else folder
    entry = open_entry(root, weights=weights)
    return replace(entry, said=(*faults, *entry.said))


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
