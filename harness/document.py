"""The base of everything that crosses the file border: frozen, closed, with stable bytes.

What a person writes (recipes, editions) and what a run leaves behind (``submission.json``, the ledger, a step's
record) derive from ``Document``, so an unknown field is an error with its path and equal content has equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import JsonValue


class Document(BaseModel):
    """A value that is read from or written to a file."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Parse ``path`` (JSON); raises ``pydantic.ValidationError`` or ``OSError``."""
        return cls.model_validate_json(path.read_bytes())

    def write(self, path: Path) -> None:
        """Write as indented JSON, whole or not at all."""
        write_atomically(path, (self.model_dump_json(indent=2) + "\n").encode())

    def content_digest(self) -> str:
        """SHA-256 of the canonical JSON, as hexadecimal."""
        return digest_of(self.model_dump(mode="json"))


def digest_of(value: JsonValue) -> str:
    """SHA-256 of ``value`` as canonical JSON (sorted keys, no spaces), as hexadecimal."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``: written beside, flushed to the disk, renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with beside.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
