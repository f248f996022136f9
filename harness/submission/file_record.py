"""One file, named, sized and digested: the atom of every reference in the record."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeInt

from harness.document import Document

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256, 64 lower-case hexadecimal digits."""


class FileRecord(Document):
    """A file that the record vouches for."""

    name: str
    """Relative to the folder that the record is about, with forward slashes."""
    size_bytes: NonNegativeInt
    sha256: Sha256
