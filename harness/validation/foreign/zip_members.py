"""The directory of a zip, bounded before it is read, and held against where its members lie.

The library reads a zip's whole directory at once; ``CappedFile`` lets it do so up to two mebibytes.
"""

from __future__ import annotations

import itertools
import stat
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Final, cast

from harness.validation.foreign.members import MAX_MEMBERS, Member, MemberKind
from harness.validation.foreign.streams import Broken, CappedFile, Oversized

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO, BinaryIO

LOCAL_HEADER_BYTES: Final = 30
ZIP_ERRORS: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    IndexError,
)
"""What the library raises on a zip that is none; whatever else it raises is our fault and a crashed check."""
_ENCRYPTED: Final = 0x1 | 0x40
_UNIX: Final = 3


def open_zip(stream: BinaryIO) -> zipfile.ZipFile:
    """The zip in ``stream``, its directory read.

    Raises:
        Broken: it is none.
        Oversized: its directory is too long, or names too many members.
    """
    try:
        opened = zipfile.ZipFile(cast("IO[bytes]", CappedFile(stream)))
    except ZIP_ERRORS as error:
        raise Broken(f"is no zip that can be read: {error}") from error
    if len(opened.infolist()) > MAX_MEMBERS:
        raise Oversized(f"{len(opened.infolist())} members")
    return opened


def members(opened: zipfile.ZipFile) -> tuple[Member, ...]:
    """Every member, in the order of the directory.

    Raises:
        Broken: two members claim the same bytes, as in a bomb of overlapping files.
    """
    infos = opened.infolist()
    _check_overlap(infos)
    return tuple(_member(info) for info in infos)


def _check_overlap(infos: Sequence[zipfile.ZipInfo]) -> None:
    in_order = sorted(infos, key=lambda info: info.header_offset)
    for one, after in itertools.pairwise(in_order):
        if one.header_offset + LOCAL_HEADER_BYTES + one.compress_size > after.header_offset:
            reason = f"has members that overlap: {one.filename!r} and {after.filename!r}"
            raise Broken(reason, byte_offset=after.header_offset)


def _member(info: zipfile.ZipInfo) -> Member:
    return Member(
        name=info.orig_filename,
        kind=_kind(info),
        size_bytes=info.file_size,
        stored_bytes=info.compress_size,
        offset=max(info.header_offset, 0),
        is_encrypted=bool(info.flag_bits & _ENCRYPTED),
        is_readable=info.compress_type in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED},
    )


def _kind(info: zipfile.ZipInfo) -> MemberKind:
    mode = stat.S_IFMT(info.external_attr >> 16) if info.create_system == _UNIX else 0
    if mode == stat.S_IFLNK:
        return "symbolic link"
    if mode not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "device or pipe"
    return "folder" if info.filename.endswith("/") or mode == stat.S_IFDIR else "file"
