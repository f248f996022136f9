"""Options as run, written as the recipe that gives them again: the inverse of ``read_recipe``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue


def recipe_text(options: Mapping[str, JsonValue]) -> str:
    """``options``, ``steps`` included, as TOML.

    TOML has no word for ``null``: such a field is left out, and has its default when the recipe is read.
    """
    steps = options.get("steps")
    tables = [_table(step) for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []
    beside = _table({name: value for name, value in options.items() if name != "steps"})
    return "\n".join([beside, *(f"[[step]]\n{table}" for table in tables)])


def _table(fields: Mapping[str, JsonValue]) -> str:
    return "".join(f"{_text(name)} = {_value(value)}\n" for name, value in fields.items() if value is not None)


def _value(value: JsonValue) -> str:
    if isinstance(value, dict):
        pairs = ", ".join(f"{_text(name)} = {_value(one)}" for name, one in value.items() if one is not None)
        return f"{{{pairs}}}"
    if isinstance(value, list):
        return f"[{', '.join(_value(one) for one in value)}]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    """A basic string: JSON's, with the one control character escaped that JSON leaves as it is."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
