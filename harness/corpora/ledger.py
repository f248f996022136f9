"""The ledger: which rows of which data set a run has read, counted and digested."""

from __future__ import annotations

from typing import Literal

from harness.document import Document


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
    """Samples without text among these rows: they were read and left out."""
    token_count: int
    """Tokens that training or calibration took from these rows."""
    text_digest: str
    """SHA-256 over the samples in reading order, each a line ``[prompt, text]`` of JSON; hexadecimal."""
    parents: tuple[str, ...] = ()
    """For derived samples: digests of the checkpoints or generators that made them."""


class Ledger(Document):
    """Everything that a run has read through the data door."""

    entries: tuple[LedgerEntry, ...] = ()
