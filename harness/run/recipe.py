"""Recipes as people write them: TOML files and ``--set`` overrides, and where in them an error is."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import JsonValue, TypeAdapter

from harness.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.run.protocol import Problem

Table = dict[str, JsonValue]
JSON: TypeAdapter[Table] = TypeAdapter(Table)
HEADER = re.compile(r"^\s*\[\[\s*step\s*\]\]")
ASSIGNMENT = re.compile(r"^\s*([A-Za-z0-9_-]+)\s*=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A recipe file's content with overrides applied, and its text for locating errors."""

    name: str
    """What errors call it: the path as it was given."""
    text: str
    table: Table
    """As the plugin's options model takes it: ``steps`` and whatever stands beside it."""


def read_recipe(path: Path, overrides: Sequence[str] = (), *, name: str | None = None) -> Recipe:
    """The recipe in a TOML file, ``[[step]]`` tables in order, with ``--set`` overrides applied.

    Raises:
        RecipeError: the file cannot be read, is no TOML, or an override names nothing.
    """
    shown = name or str(path)
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{shown}: the recipe cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{shown}: the recipe is no TOML: {error}") from error
    steps = raw.pop("step", [])
    table = JSON.validate_python({**raw, "steps": steps})
    for override in overrides:
        _override(table, override)
    return Recipe(name=shown, text=text, table=table)


def _override(table: Table, override: str) -> None:
    """Apply ``field=value``, ``steps.N.field=value`` (N from 1) or ``method.field=value`` (every such step).

    A field may be in a table of the step: ``distil.mixture.c4=0.5``.
    """
    target, equals, written = override.partition("=")
    parts = target.strip().split(".")
    if not equals or not all(parts):
        raise RecipeError(f"--set {override}: expected key=value, e.g. --set lora.rank=16 or --set steps.2.rank=16")
    value = _value(written.strip())
    if len(parts) == 1:
        table[parts[0]] = value
        return
    by_number = parts[0] == "steps" and len(parts) > 2  # noqa: PLR2004
    field = parts[2 if by_number else 1 :]
    for step in _steps_meant(table, parts[: -len(field)], override):
        _set(step, field, value, override)


def _set(step: Table, field: list[str], value: JsonValue, override: str) -> None:
    """Set a field of ``step``, or of a table in it; a table that is not there is begun."""
    table = step
    for name in field[:-1]:
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"--set {override}: {name} is no table, found {inner!r}; set {name} itself")
        table = inner
    table[field[-1]] = value


def _steps_meant(table: Table, parts: list[str], override: str) -> list[Table]:
    steps = [step for step in _steps(table) if isinstance(step, dict)]
    if len(parts) == 2 and parts[1].isdigit() and 0 < int(parts[1]) <= len(steps):  # noqa: PLR2004
        return [steps[int(parts[1]) - 1]]
    meant = [step for step in steps if len(parts) == 1 and step.get("method") == parts[0]]
    if not meant:
        methods = sorted({str(step.get("method")) for step in steps})
        raise RecipeError(
            f"--set {override}: no such step; the recipe has {len(steps)} steps, methods: {', '.join(methods)}; "
            "write METHOD.FIELD=VALUE or steps.N.FIELD=VALUE"
        )
    return meant


def _steps(table: Table) -> list[JsonValue]:
    steps = table["steps"]
    return steps if isinstance(steps, list) else []


def _value(written: str) -> JsonValue:
    """A TOML value where it is one, the text itself where it is not."""
    try:
        parsed: JsonValue = JSON.validate_python(tomllib.loads(f"value = {written}"))["value"]
    except tomllib.TOMLDecodeError:
        return written
    return parsed


def refused(recipe: Recipe, problems: Sequence[Problem]) -> RecipeError:
    """The error that names file, line and field of every problem."""
    return RecipeError("\n".join(_sentence(recipe, problem) for problem in problems))


def _sentence(recipe: Recipe, problem: Problem) -> str:
    field = ".".join(str(part + 1) if isinstance(part, int) else part for part in problem.path)
    place = f"{recipe.name}:{line_of(recipe.text, problem.path)}: {field}"
    near = difflib.get_close_matches(_last_word(problem), problem.allowed, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    allowed = f"; allowed: {', '.join(sorted(problem.allowed))}" if problem.allowed else ""
    return f"{place}: {problem.message[:1].lower()}{problem.message[1:]}, found {problem.found}{hint}{allowed}"


def _last_word(problem: Problem) -> str:
    """What was typed: the name of an unknown field, or the value of an unknown method."""
    last = str(problem.path[-1]) if problem.path else ""
    return problem.found.strip("'\"") if last == "method" else last


def line_of(text: str, path: tuple[str | int, ...]) -> int:
    """The line (from 1) on which the field at ``path`` is set, or the header of its table, or 1."""
    step = path[1] if len(path) > 1 and path[0] == "steps" and isinstance(path[1], int) else None
    field = path[2] if step is not None and len(path) > 2 else path[0] if path else None  # noqa: PLR2004
    current, best = -1, 1
    for number, line in enumerate(text.splitlines(), start=1):
        if HEADER.match(line):
            current += 1
            best = number if current == step else best
        assigned = ASSIGNMENT.match(line)
        if assigned and assigned.group(1) == field and current == (-1 if step is None else step):
            return number
    return best
