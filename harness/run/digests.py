"""Digests of large inputs, remembered: a file that looks the same as when it was read is not read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from harness.checkpoint.checkpoint import Checkpoint, CheckpointFile, files_digest, list_files, sha256_of
from harness.document import Document, digest_of
from harness.run.workspace import FileStamp, Workspace, stamps

if TYPE_CHECKING:
    from pathlib import Path

FILES = TypeAdapter(tuple[CheckpointFile, ...])
"""The files of a checkpoint or package with their digests, as a step's record keeps them."""


class Remembered(Document):
    """A digest and how the files looked when it was made."""

    digest: str
    files: tuple[FileStamp, ...]
    contents: tuple[CheckpointFile, ...] = ()
    """Of a checkpoint: each of its files with its own digest."""


class DigestMemory:
    """Digests of checkpoints, files and folders, kept in the workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._folder = workspace.root / "digests"

    def checkpoint(self, path: Path) -> Checkpoint:
        """The checkpoint in the folder ``path``."""
        return Checkpoint(path=path, digest=files_digest(self.checkpoint_files(path)))

    def checkpoint_files(self, path: Path) -> tuple[CheckpointFile, ...]:
        """The files of the checkpoint in the folder ``path``, by name, with their digests."""
        looks = stamps(path)
        known = self._known(path, looks)
        if known is not None and known.contents:
            return known.contents
        files = list_files(path)
        self._remember(path, Remembered(digest=files_digest(files), files=looks, contents=files))
        return files

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
            return known.digest
        digest = digest_of([[look.name, sha256_of(file)] for look, file in zip(looks, files, strict=True)])
        self._remember(path, Remembered(digest=digest, files=looks))
        return digest

    def _note(self, path: Path) -> Path:
        return self._folder / f"{digest_of(str(path.resolve()))}.json"

    def _known(self, path: Path, files: tuple[FileStamp, ...]) -> Remembered | None:
        try:
            remembered = Remembered.read(self._note(path))
        except (OSError, ValidationError):
            return None
        return remembered if remembered.files == files and files else None

    def _remember(self, path: Path, remembered: Remembered) -> None:
        remembered.write(self._note(path))
