"""What an archive says that it holds, judged before a byte of it is unpacked.

members of a .zip or .tar ──judge──> safe members   plain files and folders with harmless names
                            └──────> findings       everything else, and why; too much of it: nothing is safe
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from harness.rules.finding import Finding, Place
from harness.submission.layout import is_items_file
from harness.validation.catalogue import finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_MEMBERS: Final = 5_000
MAX_DEPTH: Final = 8
MAX_NAME_BYTES: Final = 255
"""Of one part of a name, as file systems have it."""
MAX_TOTAL_BYTES: Final = 64 << 30
"""Three models of 8 billion FP16 parameters and their packages, and room."""
MAX_RATIO: Final = 100
HARMLESS_BYTES: Final = 64 << 20
"""Below this size the ratio does not matter: text compresses well."""
_ARCHIVE_NAME: Final = re.compile(r".*\.(?:zip|tar|tgz|gz|bz2|xz|zst|7z|rar)", re.IGNORECASE)
_DRIVE: Final = re.compile(r"[A-Za-z]:")

MemberKind = Literal["file", "folder", "symbolic link", "hard link", "device or pipe", "sparse file", "unknown type"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member of an archive, as its header claims it."""

    name: str
    kind: MemberKind
    size_bytes: int
    """Once unpacked."""
    stored_bytes: int | None = None
    """Within the archive; none where the archive is compressed as a whole."""
    offset: int
    """Of its header, bytes; in a compressed tar, of the unpacked stream."""
    data_offset: int = 0
    """Of its content in a tar's stream."""
    is_encrypted: bool = False
    is_readable: bool = True
    """Whether it is compressed in a way that is read here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The members that may be unpacked, and what is wrong with the others."""

    safe: tuple[Member, ...]
    faults: tuple[Finding, ...]
    size_bytes: int = field(default=0)
    """Of the safe members together."""


def judge(members: Sequence[Member], archive: str, archive_bytes: int) -> Judged:
    """The safe members of the archive named ``archive``; none where it holds too much altogether.

    Args:
        members: in the order of the archive.
        archive: what findings call it.
        archive_bytes: size of the archive itself.
    """
    bounds = tuple(_bounds(members, archive, archive_bytes))
    faults = [(member, fault) for member in members for fault in _member_faults(member, archive)]
    refused = {id(member) for member, _ in faults}
    kept = [member for member in members if id(member) not in refused]
    twice = list(_collisions(kept, archive))
    collided = {id(member) for member, _ in twice}
    safe = tuple(member for member in kept if id(member) not in collided)
    return Judged(
        safe=() if bounds else safe,
        faults=(*bounds, *(fault for _, fault in (*faults, *twice))),
        size_bytes=0 if bounds else sum(member.size_bytes for member in safe),
    )


def safe_parts(name: str) -> tuple[str, ...] | None:
    """The parts of a harmless relative name; None for one that could lead out, hide, or fool a terminal."""
    if not name or name.startswith("/") or "\\" in name or _DRIVE.match(name) or not name.isprintable():
        return None
    parts = tuple(part for part in name.rstrip("/").split("/") if part != ".")
    if not all(parts) or ".." in parts or len(parts) > MAX_DEPTH:
        return None
    return parts if all(len(part.encode()) <= MAX_NAME_BYTES for part in parts) else None


def is_archive_name(name: str) -> bool:
    """Whether a file of that name is an archive."""
    return _ARCHIVE_NAME.fullmatch(name) is not None


def place_of(member: Member, archive: str) -> Place:
    """Where a finding about ``member`` is: the archive, the member, its header."""
    return Place(file=archive, field=member.name, byte_offset=member.offset)


def _bounds(members: Sequence[Member], archive: str, archive_bytes: int) -> Iterator[Finding]:
    total = sum(member.size_bytes for member in members)
    if len(members) > MAX_MEMBERS:
        yield bounds_finding(archive, f"{len(members)} members", f"at most {MAX_MEMBERS} members")
    if total > MAX_TOTAL_BYTES:
        yield bounds_finding(archive, f"{total} bytes", f"at most {MAX_TOTAL_BYTES} bytes unpacked")
    elif total > max(HARMLESS_BYTES, MAX_RATIO * archive_bytes):
        found = f"{archive_bytes} bytes that unpack to {total}"
        yield bounds_finding(archive, found, f"at most {MAX_RATIO} times its size beyond {HARMLESS_BYTES} bytes")


def bounds_finding(archive: str, found: str, allowed: str) -> Finding:
    """That ``archive`` holds too much, so that nothing of it is unpacked."""
    message = "the archive holds more than is unpacked, so nothing of it was"
    return finding("archive.bounds", Place(file=archive), message, found=found, allowed=allowed)


def _member_faults(member: Member, archive: str) -> Iterator[Finding]:
    place = place_of(member, archive)
    if member.kind not in {"file", "folder"}:
        message = f"the member is a {member.kind}; it was not unpacked"
        yield finding("archive.member_kind", place, message, found=member.kind, allowed="plain files and folders")
    if safe_parts(member.name) is None:
        message = "the member's name leads out of the entry, or hides what it is; it was not unpacked"
        allowed = f"relative printable names with '/', at most {MAX_DEPTH} deep"
        yield finding("archive.member_name", place, message, found=member.name or "no name", allowed=allowed)
    if member.is_encrypted:
        message = "the member is encrypted, so nobody can check it"
        yield finding("archive.encrypted", place, message, found="an encrypted member", allowed="readable members")
    elif not member.is_readable:
        message = "the member is compressed in a way that is not read"
        yield finding("archive.unreadable", place, message, found="another compression", allowed="stored or deflated")
    if member.kind == "file" and is_archive_name(member.name) and not _is_items_file(member.name):
        message = "an archive within the archive is not opened"
        yield finding("archive.nested", place, message, found=member.name, allowed="files, packed once")


def _is_items_file(name: str) -> bool:
    """Whether it is a file of items of a bundle, in whatever folder the archive has the bundle."""
    return is_items_file("/".join(name.split("/")[-2:]))


def _collisions(members: Sequence[Member], archive: str) -> Iterator[tuple[Member, Finding]]:
    """Members whose names some file system takes for one, or that need a file to be a folder."""
    files: dict[tuple[str, ...], str] = {}
    inner: set[tuple[str, ...]] = set()
    for member in members:
        parts = _folded(member.name)
        above = {parts[:depth] for depth in range(1, len(parts))}
        clash = files.get(parts) or next((files[one] for one in sorted(above) if one in files), None)
        if clash is None and member.kind == "file" and parts in inner:
            clash = f"{member.name}/"
        inner |= above | ({parts} if member.kind == "folder" else set())
        if clash is not None:
            message = "two members stand for one file; only the first was unpacked"
            found = f"{clash} and {member.name}"
            yield member, finding("archive.duplicate", place_of(member, archive), message, found=found, allowed="once")
        elif member.kind == "file":
            files[parts] = member.name


def _folded(name: str) -> tuple[str, ...]:
    return tuple(unicodedata.normalize("NFC", part).casefold() for part in safe_parts(name) or ())
