r"""The headers of a tar, read block by block: no header is believed beyond its bounds, and nothing recurses.

512 bytes   name 0-100 │ mode … │ size 124-136 │ checksum 148-156 │ type 156 │ link 157-257 │ magic 257 │ prefix 345
type x, g   pax records "<length> <key>=<value>\n" for the next member, or for all
type L, K   a long name, a long link, for the next member (GNU)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.validation.foreign.members import MAX_MEMBERS, Member, MemberKind
from harness.validation.foreign.streams import Broken, Oversized

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.validation.foreign.streams import Stream

BLOCK_BYTES: Final = 512
MAX_EXTENSION_BYTES: Final = 1 << 16
MAX_EXTENSIONS: Final = 8
"""Before one member."""
_KINDS: Final[dict[bytes, MemberKind]] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"1": "hard link",
    b"2": "symbolic link",
    b"3": "device or pipe",
    b"4": "device or pipe",
    b"5": "folder",
    b"6": "device or pipe",
    b"S": "sparse file",
}
_WITHOUT_CONTENT: Final = frozenset((b"1", b"2", b"3", b"4", b"5", b"6"))
_EXTENSIONS: Final = frozenset((b"x", b"g", b"L", b"K"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    name: bytes
    size_bytes: int
    type: bytes
    offset: int


def members(stream: Stream) -> Iterator[Member]:
    """Every member, in the order of the archive.

    Raises:
        Broken: a header is no header, or the archive ends within a member.
        Oversized: more members than are listed.
    """
    extensions: dict[str, bytes] = {}
    waiting = count = 0
    while (header := _next_header(stream)) is not None:
        if header.type in _EXTENSIONS:
            waiting += 1
            if waiting > MAX_EXTENSIONS:
                raise Broken("has too many extended headers in a row", byte_offset=header.offset)
            extensions |= _extension(stream, header)
            continue
        count += 1
        if count > MAX_MEMBERS:
            raise Oversized(f"more than {MAX_MEMBERS} members")
        member = _member(header, extensions, stream.position)
        yield member
        has_content = header.type not in _WITHOUT_CONTENT
        stream.skip(_padded(member.size_bytes) if has_content else 0)
        extensions, waiting = {}, 0
    if waiting:
        raise Broken("ends after an extended header", byte_offset=stream.position)
    stream.finish()


def _next_header(stream: Stream) -> _Header | None:
    """The next header; None at the end of the archive."""
    offset = stream.position
    block = stream.read(BLOCK_BYTES)
    if not block or not block.strip(b"\0"):
        return None
    if len(block) < BLOCK_BYTES:
        raise Broken("ends within a header", byte_offset=offset)
    if _octal(block[148:156], offset) != sum(block[:148]) + 8 * ord(" ") + sum(block[156:]):
        raise Broken("has a header whose checksum is wrong", byte_offset=offset)
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500])):
        name = prefix + b"/" + name
    return _Header(name=name, size_bytes=_number(block[124:136], offset), type=block[156:157], offset=offset)


def _member(header: _Header, extensions: dict[str, bytes], data_offset: int) -> Member:
    name = extensions.get("path", header.name).decode("utf-8", "surrogateescape")
    kind = _KINDS.get(header.type, "unknown type")
    if kind == "file" and any(key.startswith("GNU.sparse.") for key in extensions):
        kind = "sparse file"
    if header.type == b"\0" and name.endswith("/"):
        kind = "folder"
    size_bytes = header.size_bytes
    if "size" in extensions:
        size_bytes = _decimal(extensions["size"], header.offset)
    return Member(name=name, kind=kind, size_bytes=size_bytes, offset=header.offset, data_offset=data_offset)


def _extension(stream: Stream, header: _Header) -> dict[str, bytes]:
    """What an extended header says about the next member."""
    if header.size_bytes > MAX_EXTENSION_BYTES:
        raise Broken(f"has an extended header of {header.size_bytes} bytes", byte_offset=header.offset)
    content = stream.read(_padded(header.size_bytes))[: header.size_bytes]
    if len(content) < header.size_bytes:
        raise Broken("ends within an extended header", byte_offset=header.offset)
    if header.type == b"L":
        return {"path": _text(content)}
    if header.type == b"K":
        return {}
    records = dict(_records(content, header.offset))
    if header.type == b"g" and not records.keys().isdisjoint(("path", "size")):
        raise Broken("has a global header that renames or resizes members", byte_offset=header.offset)
    return records


def _records(content: bytes, offset: int) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(content):
        length, space, _ = content[at : at + 8].partition(b" ")
        end = at + _decimal(length, offset)
        record = content[at + len(length) + 1 : end]
        key, equals, value = record.partition(b"=")
        if not (space and equals and record.endswith(b"\n")) or end > len(content):
            raise Broken("has an extended header that is none", byte_offset=offset)
        yield key.decode("utf-8", "surrogateescape"), value[:-1]
        at = end


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes, offset: int) -> int:
    """Octal digits, or a big-endian number behind 0x80."""
    if field[0] == 0x80:  # noqa: PLR2004 - the mark of the base-256 form
        return int.from_bytes(field[1:], "big")
    return _octal(field, offset)


def _octal(field: bytes, offset: int) -> int:
    digits = field.strip(b" \0") or b"0"
    if not digits.isdigit() or digits.translate(None, b"01234567"):
        raise Broken("has a header with a number that is none", byte_offset=offset)
    return int(digits, 8)


def _decimal(digits: bytes, offset: int) -> int:
    if not digits.isdigit() or len(digits) > 20:  # noqa: PLR2004 - digits of 2**64
        raise Broken("has an extended header with a number that is none", byte_offset=offset)
    return int(digits)


def _padded(size_bytes: int) -> int:
    return -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES
