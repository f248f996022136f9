"""The options that ``submit`` and ``plan`` share, and how what was typed becomes settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.run.settings import SubmitSettings
    from harness.run.workspace import Workspace

WORKSPACE_VARIABLE = "HARNESS_WORKSPACE"

Plugin = Annotated[str | None, typer.Option("--plugin", help="The strategy, e.g. baseline-l1.", show_default=False)]
Track = Annotated[str, typer.Option(help="demo, demo-scratch, compression or scratch.")]
Models = Annotated[str, typer.Option(help="Base models, comma-separated, or all.")]
RecipeFile = Annotated[Path | None, typer.Option("--recipe", help="A recipe file; the plugin's own if absent.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a field: METHOD.FIELD=VALUE or steps.N.FIELD=VALUE.")
]
Budget = Annotated[float, typer.Option(help="Share of the base's parameters to keep, embeddings included.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Bases = Annotated[
    list[str] | None,
    typer.Option("--base", help="NAME=PATH_OR_HUB_ID of a base model; for a track from scratch, of the tokenizer."),
]
Data = Annotated[list[str] | None, typer.Option("--data", help="NAME=PATH of a local copy of an allowed data set.")]
Tasks = Annotated[
    str | None,
    typer.Option(
        help="Tasks to score, comma-separated; all of the edition's if absent. An entry that lacks one is incomplete: "
        "the demo files it with a warning, an edition that can compete does not file it (exit code 4)."
    ),
]
TasksData = Annotated[
    Path | None, typer.Option(help="Folder of the official evaluation sets; the official configurations run on it.")
]
Limit = Annotated[int | None, typer.Option(help="Score only so many items a task.")]
Team = Annotated[str, typer.Option(help="Who files the entry.")]
Out = Annotated[Path, typer.Option(help="Folder that entries are filed in.")]
EditionId = Annotated[str | None, typer.Option("--edition", help="Id of an edition, or a .toml file.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]
Control = Annotated[
    bool, typer.Option("--control/--no-control", help="Train the dense base too, as the yardstick of recovery.")
]
Threads = Annotated[int | None, typer.Option(help="Threads of a worker; the physical cores if absent.")]
WeakSandbox = Annotated[
    bool, typer.Option("--weak-sandbox", help="Run what models wrote even where this kernel offers less protection.")
]
TimeLimit = Annotated[float, typer.Option(help="Seconds that a step may take.")]
MemoryLimit = Annotated[float | None, typer.Option(help="GB of memory that a step may hold; 80 % of it if absent.")]

DEFAULT_TIME_LIMIT_S = 7 * 24 * 3600.0
DEMO_TIME_LIMIT_S = 3600.0
MEMORY_SHARE = 0.8


def workspace_here() -> Workspace:
    """The workspace of the current folder, or the one that the environment names."""
    from harness.run.workspace import Workspace

    return Workspace(Path(os.environ.get(WORKSPACE_VARIABLE, ".harness")))


def pairs(flag: str, typed: list[str] | None) -> dict[str, str]:
    """``NAME=VALUE`` words as a mapping; raises ``UsageError``."""
    from harness.errors import UsageError

    found: dict[str, str] = {}
    for word in typed or []:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{flag} {word}: expected NAME=VALUE")
        found[name] = value
    return found


def names(typed: str | None) -> tuple[str, ...]:
    """Comma-separated words."""
    return tuple(word.strip() for word in (typed or "").split(",") if word.strip())


def settings_from(plugin: str | None, typed: dict[str, object]) -> SubmitSettings:
    """The settings that were typed.

    Raises:
        UsageError: no plugin is named, or a value is out of range; the message names the option.
    """
    import psutil
    from pydantic import ValidationError

    from harness.errors import UsageError
    from harness.run.settings import SubmitSettings

    if plugin is None:
        raise UsageError("--plugin is missing; harness plugins list shows what is installed")
    memory, threads, time_limit = typed.pop("memory_limit"), typed.pop("threads"), typed.pop("time_limit")
    total = psutil.virtual_memory().total
    try:
        return SubmitSettings.model_validate(
            {
                "plugin": plugin,
                "threads": threads or psutil.cpu_count(logical=False) or 1,
                "time_limit_s": time_limit or _time_limit_s(str(typed["track"])),
                "memory_limit_bytes": int(float(str(memory)) * 1e9) if memory else int(total * MEMORY_SHARE),
                **typed,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"--{option}: {first['msg'].lower()}, found {first['input']!r}") from error


def _time_limit_s(track: str) -> float:
    return DEMO_TIME_LIMIT_S if track.startswith("demo") else DEFAULT_TIME_LIMIT_S
