"""``harness compare``: two bundles or checkpoints side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import choices
from harness.cli.console import JsonFlag, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

    from harness.ranking.comparison import Comparison, ModelComparison
    from harness.ranking.pairs import TaskPair

EXAMPLES = (
    "Examples: harness compare submissions/demo/ENTRY submissions/demo/OTHER  ·  harness compare path/to/base "
    "path/to/smaller  ·  harness compare ENTRY path/to/checkpoint --model llama"
)
ABSENT = "-"
CHARACTERS = 60
"""Of one option that are printed."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(compare)


def compare(
    first: Annotated[Path, typer.Argument(help="A bundle or a checkpoint.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
    *,
    model: Annotated[str | None, typer.Option(help="Base model; all that both have if absent.")] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Folder with the checkpoints that bundles reference; the workspace's if absent."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Shapes, parameters, memory, speed, scores with paired tests, and what was chosen otherwise."""
    from harness.ranking.comparing import compare as compared

    here = choices.workspace_here().root / "steps"
    weights = weights or (here if here.is_dir() else None)
    found = compared(first, second, model=model, weights=weights)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        _print(found)


def _print(found: Comparison) -> None:
    from harness.cli.reading import plain

    for name, side in (("first", found.first), ("second", found.second)):
        said = [side.name, side.kind, *(part for part in (side.team, side.plugin, side.edition) if part)]
        typer.echo(f"{name:<8}{'   '.join(plain(part) for part in said)}")
    for one in found.models:
        _print_model(one)
    if found.mean_tasks:
        typer.echo("\nmean over the models")
        _print_tasks(found.mean_tasks)
    if found.options:
        typer.echo("\nchosen otherwise")
        print_table(
            ("", "first", "second"),
            [(plain(one.field), _option(one.first), _option(one.second)) for one in found.options],
        )
    for note in found.notes:
        typer.secho(f"\n! {plain(note)}", fg="yellow")


def _print_model(one: ModelComparison) -> None:
    from harness.cli.reading import plain

    typer.echo(f"\n{plain(one.model)}")
    quantities = [
        (
            f"{line.name}{f', {line.unit}' if line.unit else ''}",
            _number(line.first),
            _number(line.second),
            ABSENT if line.ratio is None else f"{line.ratio:.3f}",
        )
        for line in one.quantities
    ]
    shapes = [(f"{line.axis} (axis)", line.first or ABSENT, line.second or ABSENT, "") for line in one.shapes]
    print_table(("", "first", "second", "first / second"), [*quantities, *shapes])
    bits = one.bits_per_byte
    if bits is not None:
        typer.echo(
            f"bits/byte   {bits.first:.4f}   {bits.second:.4f}   difference {bits.difference:+.4f} "
            f"(95 %, {bits.test}: {bits.low:+.4f} to {bits.high:+.4f})"
        )
    if one.tasks:
        _print_tasks(one.tasks)


def _print_tasks(tasks: Sequence[TaskPair]) -> None:
    header = ("task", "first", "second", "difference", "95 %", "only first", "only second", "p", "p (Holm)", "test")
    print_table(header, [_task(one) for one in tasks])


def _task(one: TaskPair) -> tuple[str, ...]:
    return (
        one.column,
        f"{one.first:.4g}",
        f"{one.second:.4g}",
        f"{one.difference:+.4g}",
        f"{one.low:+.3g} to {one.high:+.3g}",
        ABSENT if one.first_only is None else str(one.first_only),
        ABSENT if one.second_only is None else str(one.second_only),
        f"{one.p_value:.3g}",
        ABSENT if one.p_holm is None else f"{one.p_holm:.3g}",
        one.test,
    )


def _number(value: float | None) -> str:
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def _option(value: JsonValue) -> str:
    from harness.cli.reading import plain

    text = ABSENT if value is None else plain(str(value))
    return text if len(text) <= CHARACTERS else f"{text[: CHARACTERS - 1]}…"
