"""``harness evaluate``: the official tasks on any checkpoint, or bits per byte on named texts."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import choices
from harness.cli.console import JsonFlag, print_json, print_table

if TYPE_CHECKING:
    from harness.cli.evaluating import Answer, TaskLine
    from harness.cli.texts import TextsAnswer


class Engine(StrEnum):
    """What generates within OpenCompass."""

    FAST = "fast"
    STOCK = "stock"


class Kind(StrEnum):
    """How a task's prompt is put."""

    CHAT = "chat"
    BASE = "base"


EXAMPLES = (
    "Examples: harness evaluate pico-llama  ·  harness evaluate submissions/demo/ENTRY --tasks gsm8k  ·  harness "
    "evaluate path/to/checkpoint --edition neurips-2024 --tasks-data DIR --limit 50  ·  harness evaluate pico-llama "
    "pico-qwen2 --texts wiki.jsonl"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(evaluate)


def evaluate(  # noqa: PLR0913 - the options of the command line
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL…", help="A checkpoint's folder, a bundle, or pico-llama, pico-qwen2, …"),
    ],
    *,
    tasks: Annotated[
        str | None,
        typer.Option(help="Tasks, comma-separated; all that the edition ranks if absent. Hold-outs by name."),
    ] = None,
    limit: choices.Limit = None,
    edition: choices.EditionId = None,
    tasks_data: choices.TasksData = None,
    weights: Annotated[Path | None, typer.Option(help="Folder with the checkpoints that a bundle references.")] = None,
    kind: Annotated[
        Kind | None, typer.Option(help="Put prompts through the chat template or as they are; found out if absent.")
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="The harness's faster model class, or OpenCompass's own; the answers are the same.")
    ] = Engine.FAST,
    early_stop: Annotated[
        bool,
        typer.Option("--early-stop/--no-early-stop", help="End an answer where the rest cannot change its score."),
    ] = True,
    weak_sandbox: Annotated[
        bool,
        typer.Option("--weak-sandbox", help="Run what models wrote even where this kernel offers less protection."),
    ] = False,
    texts: Annotated[
        Path | None,
        typer.Option(
            help="Bits per byte on this JSON lines file (field text) instead of tasks; of two models also the "
            "difference."
        ),
    ] = None,
    window_tokens: Annotated[
        int | None, typer.Option(help="With --texts: context that a token may see; the edition's if absent.")
    ] = None,
    seed: choices.Seed = 0,
    device: choices.Device = "cpu",
    threads: choices.Threads = None,
    time_limit: Annotated[
        float, typer.Option(help="Seconds that the evaluation may take.")
    ] = choices.DEFAULT_TIME_LIMIT_S,
    memory_limit: choices.MemoryLimit = None,
    out: Annotated[Path | None, typer.Option(help="Write the JSON document to this file, too.")] = None,
    as_json: JsonFlag = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Score the tasks with OpenCompass, offline. A result that stands is reused; every run is a look in the ledger."""
    from harness.cli.evaluating import Options, evaluate_all
    from harness.cli.texts import evaluate_texts
    from harness.cli.watching import Watcher

    options = Options(
        models=tuple(models),
        tasks=choices.names(tasks),
        limit=limit,
        edition=edition,
        tasks_data=tasks_data,
        weights=weights,
        kind=None if kind is None else kind.value,
        engine=engine.value,
        early_stop=early_stop,
        weak_sandbox=weak_sandbox,
        seed=seed,
        device=device,
        threads=threads,
        time_limit_s=time_limit,
        memory_limit_gb=memory_limit,
    )
    with Watcher(quiet=quiet) as watcher:
        answer = (
            evaluate_all(options, choices.workspace_here(), watcher)
            if texts is None
            else evaluate_texts(options, texts, window_tokens, choices.workspace_here(), watcher)
        )
    if out is not None:
        answer.write(out)
    if as_json:
        print_json(answer.model_dump(mode="json"))
    else:
        _print(answer)


def _print(answer: Answer | TextsAnswer) -> None:
    from harness.cli.evaluating import Answer

    if isinstance(answer, Answer):
        _print_scores(answer)
    else:
        _print_texts(answer)


def _print_scores(answer: Answer) -> None:
    rows = [
        (model.label, *_row(line)) if number == 0 else ("", *_row(line))
        for model in answer.models
        for number, line in enumerate(model.tasks)
    ]
    print_table(("model", "task", "column", "score", "of", "± 1 SE", "95 %", "items", "seconds", ""), rows)
    if answer.notice:
        typer.echo(f"\n{answer.notice}")
    typer.echo(f"\nseconds: a result's share of the call that measured it. Every run is a look in {answer.looks}")


def _row(line: TaskLine) -> tuple[str, ...]:
    score, bounds = line.score, line.interval_95
    return (
        score.task,
        score.column,
        f"{score.score:.4g}",
        f"{score.scale:g}",
        "-" if score.standard_error is None else f"{score.standard_error:.2g}",
        "-" if bounds is None else f"{bounds[0]:.3g} to {bounds[1]:.3g}",
        str(score.item_count),
        f"{line.seconds:.1f}",
        "reused" if line.reused else "new",
    )


def _print_texts(answer: TextsAnswer) -> None:
    rows = [
        (
            one.label,
            f"{one.figure.bits_per_byte:.4f}",
            f"{one.figure.standard_error:.4f}",
            str(one.figure.window_count),
            str(one.figure.byte_count),
            str(one.figure.token_count),
        )
        for one in answer.models
    ]
    print_table(("model", "bits/byte", "± 1 SE", "windows", "bytes", "tokens"), rows)
    for pair in answer.pairs:
        found = pair.difference
        typer.echo(
            f"\n{pair.first} minus {pair.second}, paired: {found.mean:+.4f} bits/byte "
            f"(95 %: {found.low:+.4f} to {found.high:+.4f})"
        )
