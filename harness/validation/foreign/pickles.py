"""Pickles, named and never opened: the opcode that would run something, found without running anything.

A pickle is a program. ``pickletools.genops`` decodes it and executes none of it; here it decodes the first 64 KiB, up
to the first opcode that would fetch something to call.

    .bin .pt .pth .ckpt   a zip with data.pkl (PyTorch), a bare pickle, or raw bytes that are none (MLC's shards)
    .pkl .pickle .joblib  a pickle by its name
"""

from __future__ import annotations

import io
import os
import pickletools
import re
import stat
import warnings
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from harness.validation.foreign.streams import Broken, Oversized
from harness.validation.foreign.zip_members import ZIP_ERRORS, open_zip

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

SCANNED_BYTES: Final = 1 << 16
"""Of one pickle: a program that hides its first call behind more is still a pickle, and reported as such."""
MAX_PICKLES: Final = 8
"""Within one zip."""
MAYBE: Final = (".bin", ".pt", ".pth", ".ckpt", ".th", ".model", ".npy", ".npz")
BY_NAME: Final = (".pkl", ".pickle", ".joblib", ".dill")
SUFFIXES: Final = (*MAYBE, *BY_NAME)
_NO_CALL: Final = "no call in what was scanned"
_ZIP: Final = b"PK\x03\x04"
_PROTOCOL: Final = re.compile(rb"\x80[\x02-\x05]")
_DOTTED: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_FETCHES: Final = frozenset(("GLOBAL", "INST", "STACK_GLOBAL"))
_CALLS: Final = frozenset(("INST", "REDUCE", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"))
_TEXT: Final = frozenset(
    ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pickle:
    """A pickle and what it would do first."""

    member: str | None
    """Its name in the zip that holds it."""
    opcode: str
    """E.g. ``GLOBAL 'os system'``; what is known where none was reached."""
    byte_offset: int
    """Of that opcode in the pickle, bytes."""


def find_pickle(path: Path) -> Pickle | None:
    """The pickle in the plain file ``path``; None where it holds none, or cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None  # a link or an unreadable file: hostile.link or foreign.unreadable says so
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        head = stream.read(SCANNED_BYTES)
        if head.startswith(_ZIP):
            return _in_zip(stream)
    is_named = path.name.casefold().endswith(BY_NAME)
    return _in_array(head) if head.startswith(b"\x93NUMPY") else find_opcode(head, is_named=is_named)


def find_opcode(content: bytes, *, is_named: bool = False, member: str | None = None) -> Pickle | None:
    """The first opcode of ``content`` that would fetch something to call.

    Args:
        content: the beginning of a file.
        is_named: whether its name says that it is a pickle, so that it is one whatever it holds.
        member: passed on.
    """
    is_marked = is_named or _PROTOCOL.match(content) is not None
    seen = _Seen(member=member, is_marked=is_marked)
    try:
        for opcode, argument, position in _decoded(content):
            if (found := seen.add(opcode.name, argument, position or 0)) is not None:
                return found
    except (ValueError, EOFError, IndexError, OverflowError) as error:
        seen.fault = error  # bytes that are no pickle, or the end of what is scanned
    is_pickle = is_named or (is_marked and (seen.fault is None or len(content) == SCANNED_BYTES))
    return Pickle(member=member, opcode=_NO_CALL, byte_offset=seen.position) if is_pickle else None


def _decoded(content: bytes) -> Iterator[tuple[pickletools.OpcodeInfo, object, int | None]]:
    """The opcodes of ``content``; a stranger's escapes are no reason to warn anybody."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield from pickletools.genops(io.BytesIO(content))


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What the opcodes so far would have done."""

    member: str | None
    is_marked: bool
    """Whether the bytes say that they are a pickle; if not, only a fetch that is followed by a call is believed."""
    texts: list[str] = field(default_factory=list)
    """The last two that were pushed."""
    fetch: Pickle | None = None
    position: int = 0
    fault: Exception | None = None

    def add(self, name: str, argument: object, position: int) -> Pickle | None:
        """The opcode that would call something, as soon as there is one."""
        self.position = position
        if self.fetch is None and name in _FETCHES and _is_meant(name, argument, self.texts):
            opcode = _described(name, argument, self.texts)
            self.fetch = Pickle(member=self.member, opcode=opcode, byte_offset=position)
        if name in _TEXT and isinstance(argument, (str, bytes)):
            text = argument if isinstance(argument, str) else argument.decode("latin-1")
            self.texts = [*self.texts[-1:], text]
        return self.fetch if self.is_marked or name in _CALLS else None


def _is_meant(name: str, argument: object, texts: list[str]) -> bool:
    """Whether the opcode can be one of a pickle, and no byte of something else that looks like it."""
    if name in {"GLOBAL", "INST"}:
        return all(_DOTTED.fullmatch(part) for part in str(argument).split(" "))
    return name != "STACK_GLOBAL" or len(texts) == 2  # noqa: PLR2004 - module and name


def _described(name: str, argument: object, texts: list[str]) -> str:
    if name == "STACK_GLOBAL":
        argument = " ".join(texts)
    return name if argument is None else f"{name} {str(argument)[:120]!r}"


def _in_zip(stream: BinaryIO) -> Pickle | None:
    """The first pickle of a zip that would call something, else the first."""
    try:
        with closing(open_zip(stream)) as opened:
            found = list(_pickles(opened))
    except (Broken, Oversized, *ZIP_ERRORS) as error:
        return Pickle(member=None, opcode=f"a zip that cannot be read: {error}", byte_offset=0)
    calling = [one for one in found if one.opcode != _NO_CALL]
    return next(iter((*calling, *found)), None)


def _pickles(opened: zipfile.ZipFile) -> Iterator[Pickle]:
    for info in _first_pickles(opened.infolist()):
        with opened.open(info) as content:
            found = find_opcode(content.read(SCANNED_BYTES), is_named=True, member=info.filename)
        if found is not None:
            yield found


def _first_pickles(infos: Iterable[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    return [info for info in infos if info.filename.casefold().endswith(BY_NAME)][:MAX_PICKLES]


def _in_array(head: bytes) -> Pickle | None:
    """A numpy file whose elements are pickled objects."""
    header = head[:4096].partition(b"\n")[0]
    return Pickle(member=None, opcode="an array of objects", byte_offset=0) if b"'|O'" in header else None
