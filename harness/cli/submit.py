"""``harness submit``: the main job, from a base model to a filed, validated submission."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import choices
from harness.cli.console import JsonFlag


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Examples: harness submit --plugin baseline-l1  ·  harness submit --plugin baseline-l1 --models all "
        "--budget 0.4 --set lora.rank=16  ·  harness submit --plugin nics --beside submissions/demo/ENTRY  ·  "
        "harness submit --resume RUN"
    )(submit)


def submit(  # noqa: PLR0913 - the options of the command line
    *,
    plugin: choices.Plugin = None,
    track: choices.Track = "demo",
    models: choices.Models = "llama",
    recipe: choices.RecipeFile = None,
    overrides: choices.Overrides = None,
    budget: choices.Budget = 0.5,
    seed: choices.Seed = 0,
    base: choices.Bases = None,
    data: choices.Data = None,
    tasks: choices.Tasks = None,
    tasks_data: choices.TasksData = None,
    limit: choices.Limit = None,
    team: choices.Team = "local",
    out: choices.Out = Path("submissions"),
    edition: choices.EditionId = None,
    device: choices.Device = "cpu",
    control: choices.Control = True,
    threads: choices.Threads = None,
    time_limit: choices.TimeLimit = 0.0,
    memory_limit: choices.MemoryLimit = None,
    weak_sandbox: choices.WeakSandbox = False,
    resume: Annotated[str | None, typer.Option(help="Continue a run: its name, as printed when it began.")] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            "--beside",
            help="A filed entry to show beside the result; may be repeated. In the demo the newest one of baseline-l1 "
            "that can be compared, if absent.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonFlag = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Compress, train, measure, package, validate and file an entry. What stands from an earlier run is reused."""
    from harness.cli.beside import entries_named, shown_beside
    from harness.cli.outcome import print_outcome
    from harness.cli.watching import Watcher
    from harness.run import pipeline

    workspace = choices.workspace_here()
    if resume is not None:
        record = pipeline.resumed(resume, workspace)
    else:
        typed: dict[str, object] = {
            "track": track,
            "models": choices.names(models),
            "recipe": None if recipe is None else str(recipe),
            "overrides": tuple(overrides or ()),
            "budget": budget,
            "seed": seed,
            "bases": choices.pairs("--base", base),
            "data": choices.pairs("--data", data),
            "tasks": choices.names(tasks),
            "tasks_data": None if tasks_data is None else str(tasks_data),
            "limit": limit,
            "team": team,
            "out": str(out),
            "edition": edition,
            "device": device,
            "control": control,
            "threads": threads,
            "time_limit": time_limit,
            "memory_limit": memory_limit,
            "weak_sandbox": weak_sandbox,
        }
        record = pipeline.begin(choices.settings_from(plugin, typed), workspace)
    named = entries_named(beside or [], record.settings)
    with Watcher(quiet=quiet) as watcher:
        watcher.heading(record)
        outcome = pipeline.submit(record, workspace, watcher)
    print_outcome(outcome, shown_beside(outcome, named, record.settings), as_json=as_json)
    if not outcome.filed:
        raise typer.Exit(4)
