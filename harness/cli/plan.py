"""``harness plan``: what submit would do and what would come out, from configurations alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli import choices
from harness.cli.console import JsonFlag, print_json, print_table

if TYPE_CHECKING:
    from harness.run.planning import SubmissionPlan


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(plan)


def plan(  # noqa: PLR0913 - the options of the command line
    *,
    plugin: choices.Plugin = None,
    track: choices.Track = "demo",
    models: choices.Models = "llama",
    recipe: choices.RecipeFile = None,
    overrides: choices.Overrides = None,
    budget: choices.Budget = 0.5,
    base: choices.Bases = None,
    data: choices.Data = None,
    edition: choices.EditionId = None,
    control: choices.Control = True,
    as_json: JsonFlag = False,
) -> None:
    """Show the steps of a run with the parameters and bytes that they will leave, before a byte of weights moves."""
    from harness.run.planning import make_plan

    typed: dict[str, object] = {
        "track": track,
        "models": choices.names(models),
        "recipe": None if recipe is None else str(recipe),
        "overrides": tuple(overrides or ()),
        "budget": budget,
        "bases": choices.pairs("--base", base),
        "data": choices.pairs("--data", data),
        "edition": edition,
        "control": control,
        "out": str(Path("submissions")),
        "threads": None,
        "time_limit": None,
        "memory_limit": None,
    }
    made = make_plan(choices.settings_from(plugin, typed), choices.workspace_here())
    if as_json:
        print_json(made.model_dump(mode="json"))
    else:
        _print(made)


def _print(made: SubmissionPlan) -> None:
    from harness.run.strategy import millions

    typer.echo(f"{made.plugin}   track {made.track}   edition {made.edition}")
    if made.notice:
        typer.echo(made.notice)
    for model in made.models:
        typer.echo(f"\n{model.name}   budget {millions(model.parameter_budget)} parameters   recipe {model.recipe}")
        rows = [("base", "", millions(model.base_parameter_count), f"{model.base_weights_bytes / 1e6:.2f}")]
        rows += [
            (
                step.stage,
                step.method,
                "not predicted" if step.parameter_count is None else millions(step.parameter_count),
                "-" if step.weights_bytes is None else f"{step.weights_bytes / 1e6:.2f}",
            )
            for step in model.steps
        ]
        print_table(("stage", "method", "parameters", "FP16 MB"), rows)
    typer.echo(f"\ntasks   {', '.join(made.tasks)}\ndisk    {made.disk_bytes / 1e6:.1f} MB of checkpoints")
