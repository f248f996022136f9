"""The ledger: which rows of which data set a run has read, counted and digested."""

from __future__ import annotations

from typing import Literal

from harness.document import Document


class LedgerEntry(Document):
    """What one step read from one data set."""

    data: str
    """Short name in the edition."""
    hub_id: str
    revision: str
    origin: Literal["hub", "local", "embedded"]
    split: str
    file_sha256: str | None = None
    """Of the local copy."""
    first_row: int
    last_row: int
    sample_count: int
    token_count: int
    """Tokens that training or calibration took from these rows."""
    text_digest: str
    """SHA-256 over the text of the rows in reading order, hexadecimal."""
    parents: tuple[str, ...] = ()
    """For derived samples: digests of the checkpoints or generators that made them."""


class Ledger(Document):
    """Everything that a run has read through the data door."""

    entries: tuple[LedgerEntry, ...] = ()
