"""JSON from strangers: UTF-8, no key twice, no ``NaN``, no number without bound, no bottomless nesting.

Every refusal says where.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from pydantic import JsonValue

MAX_DEPTH = 64
"""Deeper than any record of ours, far from where recursion ends."""
MAX_CONTAINERS = 100_000
MAX_VALUES = 1_000_000
"""Counted as brackets and commas, wherever they stand: what a value costs in memory is bounded before it is parsed."""
MAX_DIGITS = 310
"""Of a whole number: more than the largest float has."""
_ESCAPES: Final = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
"""Escapes of strings; the group is half of a pair of surrogates, which is no character."""


class NotJson(Exception):
    """The text is refused; becomes a finding, never leaves ``validation``."""

    def __init__(self, reason: str, *, byte_offset: int | None = None, field: str | None = None) -> None:
        super().__init__(reason)
        self.byte_offset = byte_offset
        self.field = field


def parse(content: bytes) -> JsonValue:
    """The value in ``content``.

    Raises:
        NotJson: with the byte offset or the key, where there is one.
    """
    text = decode(content)
    _check_count(text)
    _check_escapes(text)
    try:
        value: JsonValue = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_bounded_float,
            parse_int=_bounded_int,
        )
    except json.JSONDecodeError as error:
        offset = len(text[: error.pos].encode())
        raise NotJson(f"is no JSON: {error.msg} in line {error.lineno}", byte_offset=offset) from error
    except RecursionError as error:
        raise NotJson(f"nests deeper than {MAX_DEPTH}") from error
    except ValueError as error:
        raise NotJson(f"is no JSON: {error}") from error
    _check_depth(value)
    return value


def decode(content: bytes) -> str:
    """``content`` as UTF-8; raises ``NotJson`` with the offset of the first byte that is not."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotJson(f"is not UTF-8: {error.reason}", byte_offset=error.start) from error


def _check_count(text: str) -> None:
    """Refuse a text whose value would be out of proportion to its length."""
    containers = text.count("[") + text.count("{")
    if containers > MAX_CONTAINERS or text.count(",") > MAX_VALUES:
        raise NotJson(f"holds more than {MAX_CONTAINERS} lists and objects, or {MAX_VALUES} values")


def _check_escapes(text: str) -> None:
    """Refuse half a pair of surrogates: such a string cannot be written as UTF-8 again."""
    if "\\u" not in text:
        return
    half = next((found for found in _ESCAPES.finditer(text) if found.group(1)), None)
    if half is not None:
        offset = len(text[: half.start()].encode())
        raise NotJson(f"escapes half a character: \\{half.group(1)}", byte_offset=offset)


def _check_depth(value: JsonValue) -> None:
    """Refuse what only deep recursion could walk later, floor by floor and without recursion."""
    floor: list[JsonValue] = [value]
    for _ in range(MAX_DEPTH):
        containers = [item for item in floor if isinstance(item, (dict, list))]
        if not containers:
            return
        floor = [inner for item in containers for inner in (item.values() if isinstance(item, dict) else item)]
    raise NotJson(f"nests deeper than {MAX_DEPTH}")


def _unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    content = dict(pairs)
    if len(content) != len(pairs):
        names = sorted(name for name, _ in pairs)
        twice = next(name for name, after in itertools.pairwise(names) if name == after)
        raise NotJson(f"key {twice[:80]!r} stands twice", field=twice[:80])
    return content


def _no_constant(text: str) -> NoReturn:
    raise NotJson(f"{text} is no JSON value")


def _bounded_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise NotJson(f"holds a number beyond all bounds: {text[:40]}")
    return value


def _bounded_int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise NotJson(f"holds a number of {len(text)} digits, at most {MAX_DIGITS} are read")
    return int(text)
