"""Files that others wrote: read once, within bounds, each value held against the type that it must have."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeVar

from harness.errors import CheckpointCorrupt

if TYPE_CHECKING:
    from pathlib import Path

MAX_VOCABULARY_BYTES: Final = 64 << 20
"""Of a file that lists every token; the largest we know are under 20 MiB."""
MAX_SETTINGS_BYTES: Final = 4 << 20
"""Of any other file."""

_SHOWN_CHARACTERS = 60
_KINDS: Final = {dict: "an object", list: "a list", str: "a text", int: "an integer", bool: "true or false"}

T = TypeVar("T")


def read_object(path: Path, max_bytes: int = MAX_SETTINGS_BYTES) -> dict[str, Any]:
    """The JSON object in the file ``path``.

    Raises:
        CheckpointCorrupt: it cannot be read, is larger than ``max_bytes``, or is no JSON object.
    """
    try:
        value = json.loads(read_bytes(path, max_bytes))
    except (ValueError, RecursionError) as error:
        raise CheckpointCorrupt(f"{path}: cannot be read as JSON: {error}") from error
    return expect(value, dict, f"{path}")


def read_text(path: Path, max_bytes: int = MAX_SETTINGS_BYTES) -> str:
    """The text in the file ``path``, UTF-8; raises as ``read_object``."""
    try:
        return read_bytes(path, max_bytes).decode()
    except UnicodeDecodeError as error:
        raise CheckpointCorrupt(f"{path}: is no UTF-8 text: {error}") from error


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """All of the plain file ``path``; raises as ``read_object``."""
    if not path.is_file():  # a pipe would make us wait for ever
        raise CheckpointCorrupt(f"{path}: is no plain file")
    try:
        with path.open("rb") as stream:
            content = stream.read(max_bytes + 1)
    except OSError as error:
        raise CheckpointCorrupt(f"{path}: cannot be read: {error}") from error
    if len(content) > max_bytes:
        raise CheckpointCorrupt(f"{path}: at most {max_bytes} bytes are read, the file is larger")
    return content


def object_bytes(value: object, place: str) -> bytes:
    """``value`` as JSON, indented by two, in the order that it has.

    Raises:
        CheckpointCorrupt: it is nested too deeply, or holds text that is no Unicode.
    """
    try:
        return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
    except (RecursionError, UnicodeEncodeError) as error:
        raise CheckpointCorrupt(f"{place}: cannot be written again: {error}") from error


def expect(value: object, kind: type[T], place: str) -> T:
    """``value``, which must be of the JSON type ``kind``; raises ``CheckpointCorrupt``."""
    # To Python, true is an integer; to JSON it is not.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise corrupt(place, f"must be {_KINDS[kind]}, found {shown(value)}")
    return value


def member(document: dict[str, Any], key: str, kind: type[T], place: str) -> T | None:
    """``document[key]``, or None where it is absent or null; raises ``CheckpointCorrupt`` for another type."""
    value = document.get(key)
    return None if value is None else expect(value, kind, f"{place}: {key}")


def corrupt(place: str, fault: str) -> CheckpointCorrupt:
    """The error that ``place`` has ``fault``."""
    return CheckpointCorrupt(f"{place}: {fault}")


def shown(value: object) -> str:
    """``value`` for a message, cut to a line; a container by its type alone, for it may be huge."""
    if isinstance(value, dict | list):
        return _KINDS[type(value)]
    text = "a huge integer" if isinstance(value, int) and abs(value) >= 1 << 64 else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
