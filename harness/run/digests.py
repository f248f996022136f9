"""Digests of large inputs, remembered: a file that looks the same as when it was read is not read again.

    size, mtime      anybody can give another content the same (``touch``, ``cp -p``)
    inode            another file in its place has another, unless the number was free again
    ctime            the system's own, moves with every write, rename and ``touch``, and no program can set it

A file that was swapped in place with its size and its times restored has another ctime, and is read again. What
remains: writes past the file system (to the raw device, or with the system's clock set back), and file systems
that keep no ctime of their own. Two changes within one tick of the clock would look alike, so a file is left to rest
for a moment before it is read.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from harness.checkpoint.checkpoint import Checkpoint, CheckpointFile, files_digest, list_files, sha256_of
from harness.document import Document, digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.run.workspace import Workspace

CLOCK_TICK_S = 0.05
"""Longer than a tick of any kernel's file clock."""
FILES = TypeAdapter(tuple[CheckpointFile, ...])
"""The files of a checkpoint or package with their digests, as a step's record keeps them."""


class FileLook(Document):
    """How a file looks without reading it."""

    name: str
    size_bytes: int
    modified_ns: int
    changed_ns: int
    """``ctime``."""
    inode: int
    device: int


class Remembered(Document):
    """A digest and how the files looked when it was made."""

    digest: str
    files: tuple[FileLook, ...]
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
        looks = _looks(path, sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [])
        known = self._known(path, looks)
        if known is not None and known.contents:
            return known.contents
        files = list_files(path)
        self._remember(path, Remembered(digest=files_digest(files), files=looks, contents=files))
        return files

    def tree(self, path: Path) -> str:
        """SHA-256 over a file, or over the names and contents of all files below a folder."""
        files = [path] if path.is_file() else sorted(entry for entry in path.rglob("*") if entry.is_file())
        looks = _looks(path, files)
        known = self._known(path, looks)
        if known is not None:
            return known.digest
        digest = digest_of([[look.name, sha256_of(file)] for look, file in zip(looks, files, strict=True)])
        self._remember(path, Remembered(digest=digest, files=looks))
        return digest

    def _note(self, path: Path) -> Path:
        return self._folder / f"{digest_of(str(path.resolve()))}.json"

    def _known(self, path: Path, files: tuple[FileLook, ...]) -> Remembered | None:
        try:
            remembered = Remembered.read(self._note(path))
        except (OSError, ValidationError):
            return None
        return remembered if remembered.files == files and files else None

    def _remember(self, path: Path, remembered: Remembered) -> None:
        remembered.write(self._note(path))


def _looks(root: Path, files: Sequence[Path]) -> tuple[FileLook, ...]:
    """How ``files`` look, once the last change of any of them lies a tick of the clock back."""
    looks = tuple(_look(file.relative_to(root).as_posix(), file) for file in files)
    since_s = time.time() - max((look.changed_ns for look in looks), default=0) / 1e9
    if since_s >= CLOCK_TICK_S:
        return looks
    time.sleep(CLOCK_TICK_S)
    return tuple(_look(file.relative_to(root).as_posix(), file) for file in files)


def _look(name: str, file: Path) -> FileLook:
    status = file.stat()
    return FileLook(
        name=name,
        size_bytes=status.st_size,
        modified_ns=status.st_mtime_ns,
        changed_ns=status.st_ctime_ns,
        inode=status.st_ino,
        device=status.st_dev,
    )
