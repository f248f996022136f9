"""The ledger: which rows of which data set a run has read, counted, digested and held against the scored tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.corpora.overlap import TaskMatches, TaskOverlap, merged
from harness.document import Document

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness.corpora.overlap import Pass


class LedgerFile(Document):
    """One local file that rows were read from."""

    name: str
    size_bytes: int
    sha256: str


class LedgerEntry(Document):
    """What one step read from one data set in one pass."""

    data: str
    """Short name in the edition."""
    hub_id: str
    revision: str
    origin: Literal["hub", "local", "embedded"]
    split: str
    file_sha256: str | None = None
    """Of the local copy: of its one file, or the digest over names, sizes and SHA-256 of several."""
    files: tuple[LedgerFile, ...] = ()
    """The files of the local copy that were read, in reading order."""
    first_row: int
    last_row: int
    """Numbers of the first and the last row that samples were taken from, counted from 0 in reading order."""
    sample_count: int
    skipped_count: int = 0
    """Samples among these rows that have no text, or that a filter held back: they were read and left out."""
    token_count: int
    """Tokens that training or calibration took from these rows."""
    text_digest: str
    """SHA-256 over the samples in reading order, each a line ``[prompt, text]`` of JSON; hexadecimal."""
    parents: tuple[str, ...] = ()
    """For derived samples: digests of the checkpoints or generators that made them."""


class ScannedEntry(LedgerEntry):
    """An entry whose text was also held against the scored tasks, as the worker hands it back."""

    matches: tuple[TaskMatches, ...]
    """What was seen of each task; the record of a submission has the counts of the whole step instead."""

    def plain(self) -> LedgerEntry:
        """The entry as it is filed."""
        return LedgerEntry.model_validate({name: getattr(self, name) for name in LedgerEntry.model_fields})


class Ledger(Document):
    """Everything that a run has read through the data door."""

    entries: tuple[ScannedEntry | LedgerEntry, ...] = ()

    def plain_entries(self) -> tuple[LedgerEntry, ...]:
        """The entries as they are filed."""
        return tuple(entry.plain() if isinstance(entry, ScannedEntry) else entry for entry in self.entries)

    def overlaps(self) -> tuple[TaskOverlap, ...]:
        """What of each scored task stands in the text of all entries; empty where none was scanned."""
        return merged(_passes(self.entries))


def _passes(entries: Iterable[LedgerEntry]) -> Iterator[Pass]:
    before = 0
    for entry in entries:
        if isinstance(entry, ScannedEntry):
            yield before, entry.matches
        before += entry.sample_count
