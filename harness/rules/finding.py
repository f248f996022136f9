"""What a check reports: one rule, one place, what was found, what is allowed, and the way out."""

from __future__ import annotations

from enum import StrEnum

from harness.document import Document


class Severity(StrEnum):
    """How much a finding weighs."""

    ERROR = "error"
    """A broken rule: the entry cannot be filed."""
    WARNING = "warning"
    """Something a judge should look at."""
    NOTE = "note"
    """Something that was assumed or could not be checked."""


class Place(Document):
    """Where a finding is; as exact as the check can be."""

    file: str
    """Relative to the entry, with forward slashes."""
    tensor: str | None = None
    index: int | None = None
    """Flat index of the first offending element."""
    byte_offset: int | None = None
    """Offset of that element in the file, bytes."""
    field: str | None = None
    """Path of a field within a JSON, TOML or CSV file."""


class Finding(Document):
    """One finding of one check."""

    rule: str
    """Stable id, ``family.name``, e.g. ``precision.dtype``."""
    severity: Severity
    place: Place
    message: str
    """One sentence, lower case."""
    found: str
    allowed: str
    fix: str
    """What to do about it."""
