"""``harness plan``: what submit would do and what would come out, from configurations alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import choices
from harness.cli.console import JsonFlag, print_json, print_table

if TYPE_CHECKING:
    from harness.run.planned import Forecast, PlannedModel, SubmissionPlan

HEADINGS = ("step", "parameters", "FP16", "layers", "hidden", "heads/KV", "MLP", "vocabulary", "memory", "disk")
EXAMPLES = """Examples:

  harness plan --plugin baseline-l1

  harness plan --plugin baseline-l1 --track compression --models all

  harness plan --track compression --cut vocab=77209 --cut "kv_group=7 intermediate=11468@4-27"

A cut is axis=count, axis=count@layers, rank(linear)=rank@layers or fused=linear; the axes are vocab, hidden, layer,
intermediate, kv_group and head (query heads of a KV group).
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(plan)


def plan(  # noqa: PLR0913 - the options of the command line
    *,
    plugin: choices.Plugin = None,
    cut: Annotated[
        list[str] | None,
        typer.Option("--cut", help="Without a plugin: cuts of one step, e.g. 'kv_group=7 intermediate=11468@4-27'."),
    ] = None,
    context: Annotated[int, typer.Option(min=1, help="Tokens of context for which memory is predicted.")] = 2048,
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
    """Show the steps of a run with the shapes, bytes and memory that they will leave, before a weight moves."""
    from harness.errors import UsageError
    from harness.run.planning import make_cut_plan, make_plan

    if (plugin is None) == (cut is None):
        raise UsageError("give either --plugin, whose recipe is planned, or --cut, which is planned as it is typed")
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
    settings, workspace = choices.settings_from(plugin or "cuts", typed), choices.workspace_here()
    if cut is None:
        made = make_plan(settings, workspace, context_tokens=context)
    else:
        made = make_cut_plan(settings, workspace, [step.split() for step in cut], context_tokens=context)
    if as_json:
        print_json(made.model_dump(mode="json"))
    else:
        _print(made)


def _print(made: SubmissionPlan) -> None:
    typer.echo(f"{made.plugin or 'cuts'}   track {made.track}   edition {made.edition}")
    if made.notice:
        typer.echo(made.notice)
    for model in made.models:
        _print_model(made, model)
    limit, context = f"{made.memory_limit_bytes / 1e9:.2f} GB", f"{made.context_tokens:,} tokens"
    typer.echo(f"\nmemory   of FP16 inference at {context}: weights, cache and activations, without the runtime;")
    typer.echo(f"         the edition allows less than {limit}, and what is over it has a mark: !")
    if made.tasks:
        typer.echo(f"tasks    {', '.join(made.tasks)}")
    typer.echo(f"disk     {size(made.disk_bytes)} of checkpoints")


def _print_model(made: SubmissionPlan, model: PlannedModel) -> None:
    parts = [model.name, f"base {model.base_source}", f"recipe {model.recipe}"]
    if model.parameter_budget is not None:
        parts.insert(1, f"budget {model.parameter_budget:,} parameters")
    typer.echo(f"\n{'   '.join(parts)}")
    if model.download_bytes:
        typer.echo(f"not here: a run downloads about {size(model.download_bytes)} first")
    rows = [("base", *_cells(model.base, made.memory_limit_bytes), "-")]
    for number, step in enumerate(model.steps, 1):
        name = f"{number} {step.stage} {step.method}"
        cells: tuple[str, ...] = ("not predicted", *["-"] * 7)
        if step.forecast is not None:
            cells = _cells(step.forecast, made.memory_limit_bytes)
            cells = cells if step.is_exact else (f"~{cells[0]}", *cells[1:])
        rows.append((name, *cells, "-" if step.disk_bytes is None else size(step.disk_bytes)))
    print_table(HEADINGS, rows)
    typer.echo("".join(_remarks(model)), nl=False)


def _cells(forecast: Forecast, memory_limit_bytes: int) -> tuple[str, ...]:
    shape = forecast.shape
    mark = " !" if forecast.inference_bytes >= memory_limit_bytes else ""
    return (
        f"{forecast.parameter_count:,}",
        size(forecast.weights_bytes),
        str(shape.layers),
        str(shape.hidden),
        f"{_range(shape.heads)}/{_range(shape.kv_groups)}",
        _range(shape.intermediate),
        str(shape.vocabulary),
        f"{size(forecast.inference_bytes)}{mark}",
    )


def _remarks(model: PlannedModel) -> list[str]:
    """What is not known before a step has run, and what a stock class cannot hold."""
    remarks = []
    for number, step in enumerate(model.steps, 1):
        if step.parameter_bounds is not None:
            least, most = step.parameter_bounds
            remarks.append(f"step {number}: {least:,} to {most:,} parameters: weights decide which; ")
            remarks.append("rows with ~ are one shape of those, not the one that will come out\n")
        if step.forecast is not None and not step.forecast.shape.is_stock:
            shape = step.forecast.shape
            what = [f"{shape.factorised} linears factorised"] if shape.factorised else []
            what += [f"{name} fused" for name in shape.fused]
            remarks.append(f"step {number}: no stock class has this shape; it is filed with structure.json and the ")
            remarks.append(f"modeling file{' (' + ', '.join(what) + ')' if what else ''}\n")
    return remarks


def size(count: int) -> str:
    """Bytes for people: decimal, three digits that count."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}" if count < 1000 * scale else f"{count / scale:,.0f} {unit}"
    return f"{count} B"


def _range(bounds: tuple[int, int]) -> str:
    smallest, largest = bounds
    return str(largest) if smallest == largest else f"{smallest}-{largest}"
