"""Digests of large inputs, remembered: a file that looks the same as when it was read is not read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from harness.checkpoint.checkpoint import Checkpoint, sha256_of
from harness.document import Document, digest_of
from harness.run.workspace import FileStamp, Workspace, stamps

if TYPE_CHECKING:
    from pathlib import Path


class Remembered(Document):
    """A digest and how the files looked when it was made."""

    digest: str
    files: tuple[FileStamp, ...]


class DigestMemory:
    """Digests of checkpoints, files and folders, kept in the workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._folder = workspace.root / "digests"

    def checkpoint(self, path: Path) -> Checkpoint:
        """The checkpoint in the folder ``path``."""
        known = self._known(path, stamps(path))
        if known is not None:
            return Checkpoint(path=path, digest=known)
        checkpoint = Checkpoint.of(path)
        self._remember(path, checkpoint.digest, stamps(path))
        return checkpoint

    def tree(self, path: Path) -> str:
        """SHA-256 over a file, or over the names and contents of all files below a folder."""
        files = [path] if path.is_file() else sorted(entry for entry in path.rglob("*") if entry.is_file())
        looks = tuple(
            FileStamp(
                name=file.relative_to(path).as_posix(),
                size_bytes=file.stat().st_size,
                modified_ns=file.stat().st_mtime_ns,
            )
            for file in files
        )
        known = self._known(path, looks)
        if known is not None:
            return known
        digest = digest_of([[look.name, sha256_of(file)] for look, file in zip(looks, files, strict=True)])
        self._remember(path, digest, looks)
        return digest

    def _note(self, path: Path) -> Path:
        return self._folder / f"{digest_of(str(path.resolve()))}.json"

    def _known(self, path: Path, files: tuple[FileStamp, ...]) -> str | None:
        try:
            remembered = Remembered.read(self._note(path))
        except (OSError, ValidationError):
            return None
        return remembered.digest if remembered.files == files and files else None

    def _remember(self, path: Path, digest: str, files: tuple[FileStamp, ...]) -> None:
        Remembered(digest=digest, files=files).write(self._note(path))
