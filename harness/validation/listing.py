"""A stranger's folder, listed and read without following anything out of it.

Links are named and never followed; files that are no plain files are never opened; how many, how deep and how large
is bounded before anything is read.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MAX_FILES = 5_000
MAX_DEPTH = 6


class Unreadable(Exception):
    """A file that is not read; the message says why. Becomes a finding, never leaves ``validation``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What stands in a folder, by names relative to it with forward slashes."""

    root: Path
    files: Mapping[str, int]
    """Sizes of the plain files, bytes."""
    links: tuple[str, ...]
    """Symbolic links, and everything else that is neither a plain file nor a folder."""
    folders: tuple[str, ...]
    complete: bool
    """Whether the bounds sufficed to list everything."""


def list_folder(root: Path, *, max_files: int = MAX_FILES, max_depth: int = MAX_DEPTH) -> Listing:
    """Everything under ``root``, sorted by name.

    Raises:
        OSError: ``root`` itself cannot be listed.
    """
    files: dict[str, int] = {}
    links: list[str] = []
    folders: list[str] = []
    complete = True
    for count, (name, status) in enumerate(_walk(root, "", max_depth), start=1):
        if status is None:
            complete = False
            continue
        if count > max_files:
            complete = False
            break
        if stat.S_ISREG(status.st_mode):
            files[name] = status.st_size
        else:
            (folders if stat.S_ISDIR(status.st_mode) else links).append(name)
    return Listing(
        root=root,
        files=dict(sorted(files.items())),
        links=tuple(sorted(links)),
        folders=tuple(sorted(folders)),
        complete=complete,
    )


def list_file(path: Path) -> Listing:
    """The folder of ``path``, as if nothing but that file stood in it."""
    files = {path.name: path.stat().st_size}
    return Listing(root=path.parent, files=files, links=(), folders=(), complete=True)


def _walk(root: Path, prefix: str, depth: int) -> Iterator[tuple[str, os.stat_result | None]]:
    """Names and status, folders before what is in them; a status of None for a folder that is not looked into."""
    with os.scandir(root / prefix if prefix else root) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        name = f"{prefix}/{entry.name}" if prefix else entry.name
        yield name, entry.stat(follow_symlinks=False)
        if not entry.is_dir(follow_symlinks=False):
            continue
        if depth <= 1 or not os.access(entry.path, os.R_OK | os.X_OK):
            yield name, None
        else:
            yield from _walk(root, name, depth - 1)


def read_plain(path: Path, *, max_bytes: int) -> bytes:
    """The bytes of a plain file.

    Raises:
        Unreadable: it is a link, no plain file, longer than ``max_bytes``, or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Unreadable(f"cannot be opened: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("is no plain file")
        content = stream.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise Unreadable(f"has {status.st_size} bytes, at most {max_bytes} are read")
    return content


def stays_inside(root: Path, relative: str) -> Path | None:
    """The folder ``relative`` of ``root``; None where the name or a link on the way leads out of it."""
    parts = relative.split("/")
    if relative.startswith("/") or "\\" in relative or "\0" in relative or any(p in ("", ".", "..") for p in parts):
        return None
    path = root
    for part in parts:
        path = path / part
        if path.is_symlink():
            return None
    return path if path.is_dir() else None
