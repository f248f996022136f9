"""Archives made to harm whoever unpacks them: names that lead out, headers that lie, bombs."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile

ROW = (
    "CommonsenseQA,BIG-Bench-Hard,GSM8K,HumanEval,CHID,TruthfulQA,Throughput,Memory-Usage\n"
    "26.54,28.12,21.38,12.80,11.59,0.17,23.1 inf/s,900 MiB\n"
)
"""A sound table of results, so that nothing but the archive is at fault."""


def tar(*members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes], suffix: str = "") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=f"w:{suffix}", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            info, content = member if isinstance(member, tuple) else (member, b"")
            info.size = len(content) or info.size
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def info(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content, compress_type=zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def zip_link() -> bytes:
    member = zipfile.ZipInfo("weights")
    member.create_system, member.external_attr = 3, 0o120777 << 16
    return zipped((member, b"/etc"), ("Results.csv", ROW.encode()))


def zip_encrypted() -> bytes:
    content = bytearray(zipped(("Results.csv", ROW.encode())))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def zip_overlapping() -> bytes:
    """Two names for the same compressed bytes, as the quine bombs do it."""
    content = zipped(("a", bytes(1000)))
    start = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    entry = content[start:end]
    twin = entry[:46] + b"b" + entry[47:]
    closing = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 2, 2, len(entry) * 2, start, 0)
    return content[:start] + entry + twin + closing


def zip_lying() -> bytes:
    """A member that unpacks to more than both headers say."""
    content = bytearray(zipped(("Results.csv", ROW.encode() * 50)))
    for at in (22, content.index(b"PK\x01\x02") + 24):
        content[at : at + 4] = struct.pack("<L", 10)
    return bytes(content)


def tar_with_huge_header() -> bytes:
    """A pax header that claims a gibibyte, in a gzip that would give it."""
    head = info("x", tarfile.XHDTYPE)
    head.size = 1 << 30
    return gzip.compress(head.tobuf(tarfile.USTAR_FORMAT) + bytes(8 << 20))


def tar_of_headers() -> bytes:
    """Extended headers upon extended headers: a reader that recurses falls."""
    head = info("x", tarfile.XHDTYPE)
    record = b"12 comment=\n"
    head.size = len(record)
    return (head.tobuf(tarfile.USTAR_FORMAT) + record.ljust(512, b"\0")) * 3000


def tar_past_the_end() -> bytes:
    member = info("weights.bin")
    member.size = 1 << 40
    return member.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
