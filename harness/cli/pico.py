"""``harness pico``: the embedded models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The embedded models of the demo.", no_args_is_help=True)


@app.callback()
def pico() -> None:
    """The embedded models of the demo."""


@app.command()
def build(
    out: Annotated[Path, typer.Option(help="Folder to write the models to.")] = Path("pico-models"),
    models: Annotated[str, typer.Option(help="Names, comma-separated, or all.")] = "all",
    seed: Annotated[int, typer.Option(help="Seed of corpus, tokenizer and weights.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps; the shipped models' own if absent.")] = None,
    jobs: Annotated[int, typer.Option(help="Models trained at the same time, one thread each.")] = 2,
) -> None:
    """Train the embedded models from the rule-made corpus and a seed. The same seed gives the same bytes."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from harness.errors import UsageError
    from harness.pico import catalogue
    from harness.pico.build import BuildSettings
    from harness.pico.build import build as train

    names = catalogue.names() if models == "all" else tuple(models.split(","))
    unknown = sorted(set(names) - set(catalogue.names()))
    if unknown:
        raise UsageError(f"--models {models}: unknown {', '.join(unknown)}; allowed: {', '.join(catalogue.names())}")
    settings = BuildSettings(seed=seed) if steps is None else BuildSettings(seed=seed, steps=steps)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[detail]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        shown = {name: bars.add_task(name, total=settings.steps, detail="packing the corpus") for name in names}

        def report(label: str, done: int, total: int, detail: str = "") -> None:
            bars.update(shown[label], completed=done, total=total, detail=detail)

        digests = train(names, out, settings, jobs=jobs, progress=report)
    for name in names:
        typer.echo(f"{digests[name]['model.safetensors']}  {out / name / 'model.safetensors'}")
