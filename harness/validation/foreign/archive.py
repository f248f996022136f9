"""An archive, unpacked into a private folder: listed and judged first, then only what is safe.

    .zip .tar .tar.gz ──list──> members ──judge──> safe members ──unpack──> folder/<stem>/...
                                            └────> findings

Content is never believed either: a member that has more or fewer bytes than it claims ends its unpacking.
"""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from typing import TYPE_CHECKING, Final

from harness.rules.finding import Finding, Place
from harness.validation.catalogue import finding
from harness.validation.foreign import tar_members, zip_members
from harness.validation.foreign.members import bounds_finding, judge, place_of, safe_parts
from harness.validation.foreign.streams import CHUNK_BYTES, Broken, GzipStream, Oversized, PlainStream

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from harness.validation.foreign.members import Judged, Member
    from harness.validation.foreign.streams import Stream

_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_GZIP: Final = b"\x1f\x8b"
_TAR_MAGIC: Final = b"ustar"
_SUFFIXES: Final = (".tar.gz", ".tgz", ".tar", ".zip", ".gz")
_PACKED_OTHERWISE: Final = {
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "rar",
}


def format_of(path: Path) -> str | None:
    """``zip``, ``tar`` or ``gzip`` by the first bytes; the name of a packer that is not read; None for no archive."""
    with path.open("rb") as stream:
        head = stream.read(tar_members.BLOCK_BYTES)
    if head.startswith(_ZIP):
        return "zip"
    if head.startswith(_GZIP):
        return "gzip"
    if head[257:262] == _TAR_MAGIC or path.name.casefold().endswith(".tar"):
        return "tar"
    other = next((name for magic, name in _PACKED_OTHERWISE.items() if head.startswith(magic)), None)
    return "zip" if other is None and path.name.casefold().endswith(".zip") else other


def stem(path: Path) -> str:
    """The archive's name without its suffix: what the entry in it is called."""
    suffix = next((one for one in _SUFFIXES if path.name.casefold().endswith(one)), "")
    return path.name[: len(path.name) - len(suffix)] or "archive"


def unpack(path: Path, packed_as: str, folder: Path) -> tuple[Finding, ...]:
    """Unpack the safe members of ``path`` into the new, empty ``folder``; what is wrong with the others comes back.

    Args:
        path: a plain file.
        packed_as: what ``format_of`` said.
        folder: nobody else writes into it.
    """
    try:
        with path.open("rb") as stream:
            if packed_as == "zip":
                return _unpack_zip(stream, path, folder)
            if packed_as in {"tar", "gzip"}:
                return _unpack_tar(stream, path, packed_as, folder)
        return (_unreadable(path, Broken(f"is packed as {packed_as}")),)
    except Broken as error:
        return (_unreadable(path, error),)
    except Oversized as error:
        return (bounds_finding(path.name, str(error), "an archive within its bounds"),)


def _unreadable(path: Path, error: Broken) -> Finding:
    place = Place(file=path.name, byte_offset=error.byte_offset)
    allowed = "a whole .zip, .tar or .tar.gz"
    return finding("archive.unreadable", place, f"the archive {error}", found=str(error), allowed=allowed)


def _unpack_zip(stream: BinaryIO, path: Path, folder: Path) -> tuple[Finding, ...]:
    with closing(zip_members.open_zip(stream)) as opened:
        judged = judge(zip_members.members(opened), path.name, path.stat().st_size)
        lacking = tuple(_lack_of_space(judged, path.name, folder))
        if lacking:
            return (*judged.faults, *lacking)
        infos = {max(info.header_offset, 0): info for info in opened.infolist()}
        broken = [
            fault
            for member in judged.safe
            for fault in _unpacked(member, path.name, folder, _zip_content(opened, infos[member.offset]))
        ]
    return (*judged.faults, *broken)


def _zip_content(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    try:
        with opened.open(info) as content:
            while chunk := content.read(CHUNK_BYTES):
                yield chunk
    except zip_members.ZIP_ERRORS as error:
        raise Broken(f"cannot be unpacked: {error}") from error


def _unpack_tar(stream: BinaryIO, path: Path, packed_as: str, folder: Path) -> tuple[Finding, ...]:
    """Two passes over the stream: nothing is unpacked before everything was judged."""
    size_bytes = path.stat().st_size
    judged = judge(tuple(tar_members.members(_stream(stream, packed_as, size_bytes))), path.name, size_bytes)
    lacking = tuple(_lack_of_space(judged, path.name, folder))
    if lacking:
        return (*judged.faults, *lacking)
    stream.seek(0)
    again = _stream(stream, packed_as, size_bytes)
    broken: list[Finding] = []
    for member in judged.safe:
        if member.kind == "file":
            again.skip(member.data_offset - again.position)
        broken += _unpacked(member, path.name, folder, _tar_content(again, member))
    return (*judged.faults, *broken)


def _stream(stream: BinaryIO, packed_as: str, size_bytes: int) -> Stream:
    return GzipStream(stream) if packed_as == "gzip" else PlainStream(stream, size_bytes)


def _tar_content(stream: Stream, member: Member) -> Iterator[bytes]:
    left = member.size_bytes
    while left:
        chunk = stream.read(min(left, CHUNK_BYTES))
        if not chunk:
            raise Broken(f"ends {left} bytes early")
        left -= len(chunk)
        yield chunk


def _lack_of_space(judged: Judged, archive: str, folder: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free
    if judged.size_bytes > free:
        yield bounds_finding(archive, f"{judged.size_bytes} bytes", f"at most the {free} bytes that the disk has free")


def _unpacked(member: Member, archive: str, folder: Path, content: Iterator[bytes]) -> Iterator[Finding]:
    """Write one member; a finding where its content is not what its header claims."""
    target = folder.joinpath(*(safe_parts(member.name) or ()))
    if member.kind == "folder":
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        found = _write(target, content, member.size_bytes)
    except Broken as error:
        place = place_of(member, archive)
        message = f"the member {error}"
        yield finding(
            "archive.unreadable", place, message, found=str(error), allowed=f"{member.size_bytes} whole bytes"
        )
        target.unlink()
        return
    if found != member.size_bytes:
        place = place_of(member, archive)
        message = "the member has another size than it claims"
        allowed = f"{member.size_bytes} bytes"
        yield finding("archive.unreadable", place, message, found=f"{found} bytes", allowed=allowed)
        target.unlink()


def _write(target: Path, content: Iterator[bytes], size_bytes: int) -> int:
    """Write ``content`` into a new file, at most ``size_bytes`` of it; how many bytes came, at most one chunk more."""
    written = 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        for chunk in content:
            written += len(chunk)
            if written > size_bytes:
                break
            stream.write(chunk)
    return written
