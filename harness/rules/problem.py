"""What is wrong with a TOML file that a person wrote: severity, line, field, what is allowed, what was found.

    text ── tomllib ──> values ── pydantic ──> faults with field paths ── the text again ──> lines

Lines are found for tables (``[tracks.demo]``, ``[[history]]``) and for keys that begin a line; a fault within a value
has the line of its key, and what is missing has the line of the table that lacks it.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from harness.document import Document
from harness.rules.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic_core import ErrorDetails

DocumentT = TypeVar("DocumentT", bound=Document)
Path = tuple[str, ...]

MAX_SHOWN = 80
_HEADER = re.compile(r"\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"\s*((?:[\w-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[\w-]+|\"[^\"]*\"|'[^']*'))*)\s*=.*")
_PART = re.compile(r"[\w-]+|\"[^\"]*\"|'[^']*'")
_DECODE_LINE = re.compile(r"\(at line (\d+), column \d+\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, or worth a look, in a file."""

    field: str
    """Path of the field, with dots; empty for the file itself."""
    message: str
    """One sentence, lower case."""
    allowed: str
    found: str
    line: int | None = None
    """From 1; none where the text names no such field."""
    severity: Severity = Severity.ERROR

    def sentence(self, name: str) -> str:
        """The problem on one line, the file called ``name``."""
        line = "" if self.line is None else f":{self.line}"
        field = f" {self.field}:" if self.field else ""
        return f"{name}{line}:{field} {self.message}; allowed: {self.allowed}; found: {self.found}"


def parse(text: str, model: type[DocumentT]) -> tuple[DocumentT | None, tuple[Problem, ...]]:
    """``text`` as ``model``, or everything that keeps it from being one."""
    try:
        return model.model_validate(tomllib.loads(text)), ()
    except tomllib.TOMLDecodeError as error:
        line = _DECODE_LINE.search(str(error))
        number = int(line.group(1)) if line else len(text.splitlines())
        return None, (Problem(field="", message="is not TOML", allowed="TOML 1.0", found=str(error), line=number),)
    except ValidationError as error:
        lines, schema = lines_of(text), model.model_json_schema()
        return None, tuple(_problem(fault, schema, lines) for fault in error.errors(include_url=False))


def lines_of(text: str) -> dict[Path, int]:
    """The line of every table and of every key that begins a line, by path; tables of an array are numbered from 0."""
    found: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.fullmatch(line):
            table = _parts(header.group(2))
            if header.group(1) == "[[":
                found.setdefault(table, number)
                count = sum(len(path) == len(table) + 1 and path[:-1] == table and path[-1].isdigit() for path in found)
                table = (*table, str(count))
            found.setdefault(table, number)
        elif key := _KEY.fullmatch(line):
            found.setdefault((*table, *_parts(key.group(1))), number)
    return found


def line_of(lines: Mapping[Path, int], path: Path) -> int | None:
    """The line of ``path``, or of the nearest thing around it; none where that is the whole file."""
    around = (path[:length] for length in range(len(path), 0, -1))
    return next((lines[part] for part in around if part in lines), None)


def shown(value: object) -> str:
    """A value on one short printable line."""
    text = value if isinstance(value, str) else repr(value)
    clean = "".join(mark if mark.isprintable() else "?" for mark in text)
    return clean if len(clean) <= MAX_SHOWN else f"{clean[: MAX_SHOWN - 3]}..."


def _parts(dotted: str) -> Path:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))


def _problem(fault: ErrorDetails, schema: dict[str, Any], lines: Mapping[Path, int]) -> Problem:
    path = tuple(str(part) for part in fault["loc"] if part != "[key]")
    message, allowed, found = _words(fault, path, schema)
    return Problem(field=".".join(path), message=message, allowed=allowed, found=found, line=line_of(lines, path))


def _words(fault: ErrorDetails, path: Path, schema: dict[str, Any]) -> tuple[str, str, str]:
    """Message, what is allowed, what was found."""
    found = shown(fault["input"])
    if fault["type"] == "missing":
        return "is missing", "a value", "nothing"
    if fault["type"] == "extra_forbidden":
        names = _fields(schema, path[:-1])
        near = difflib.get_close_matches(path[-1], names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"is no field here{hint}", ", ".join(names) or "nothing", found
    message = fault["msg"][:1].lower() + fault["msg"][1:]
    allowed = str(fault.get("ctx", {}).get("expected", "")) or message.removeprefix("input should be ")
    return "has a value that is not allowed", allowed, found


def _fields(schema: dict[str, Any], path: Sequence[str]) -> list[str]:
    """The names of the fields of the table at ``path``, by the JSON Schema."""
    node = schema
    for part in (None, *path):
        if part is not None:
            node = node.get("properties", {}).get(part) or node.get("additionalProperties") or node.get("items") or {}
        options = node.get("anyOf", ())
        node = next((option for option in options if "$ref" in option), node)
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return sorted(node.get("properties", {}))
