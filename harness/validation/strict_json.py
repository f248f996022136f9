"""JSON from strangers: UTF-8, no key twice, no ``NaN``, no bottomless nesting; every refusal says where."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pydantic import JsonValue

MAX_DEPTH = 64
"""Deeper than any record of ours, far from where recursion ends."""
MAX_CONTAINERS = 100_000
MAX_VALUES = 1_000_000
"""Counted as brackets and commas, wherever they stand: what a value costs in memory is bounded before it is parsed."""


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
    try:
        value: JsonValue = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
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
