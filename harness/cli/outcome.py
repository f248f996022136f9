"""What ``harness submit`` answers: the story in numbers, the findings, and where the entry is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from harness.cli.console import print_json, print_table
from harness.cli.reading import plain
from harness.run.strategy import millions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.ranking.beside import Beside
    from harness.run.pipeline import Outcome
    from harness.submission.model_result import CheckpointResult, ModelResult
    from harness.submission.schema import Submission

NAMES = {
    "base": "dense",
    "compressed": "pruned",
    "final": "pruned, recovered",
    "control": "dense, trained as long",
}
"""The four checkpoints side by side, in plain words."""
TRAINED_NAMES = NAMES | {"base": "before training", "final": "trained"}
"""Where nothing was pruned, as in a track from scratch."""
ABSENT = "-"


def print_outcome(outcome: Outcome, beside: Sequence[Beside] = (), *, as_json: bool) -> None:
    """Print the answer for people, or as one JSON document; other entries stand ``beside`` it, never within."""
    if as_json:
        print_json(
            {
                "run": outcome.run,
                "bundle": str(outcome.bundle),
                "filed": outcome.filed,
                "submission": outcome.submission.model_dump(mode="json"),
                "report": outcome.report.model_dump(mode="json"),
                "beside": [one.model_dump(mode="json") for one in beside],
            }
        )
        return
    from harness.validation.render import render_text

    for model in outcome.submission.models:
        typer.echo(f"\n{model.name}   budget {millions(model.parameter_budget)} parameters")
        _print_story(outcome.submission, model, [one for one in beside if one.model == model.name])
    if outcome.submission.notice:
        typer.echo(f"\n{outcome.submission.notice}")
    typer.echo()
    typer.echo(render_text(outcome.report))
    if outcome.filed:
        typer.echo(f"\nfiled       {outcome.bundle}")
        if outcome.number > 1:
            typer.echo(f"            number {outcome.number} of this day, team and plugin; the others stay as they are")
    else:
        typer.echo(f"\nnot filed: fix the broken rules, then  harness submit --resume {outcome.run}")
        typer.echo(f"the draft   {outcome.bundle}")


def _print_story(submission: Submission, model: ModelResult, beside: Sequence[Beside]) -> None:
    tasks = [task.column for task in submission.mean.tasks]
    header = ("", "parameters", "bits/byte", *tasks, "decode tokens/s", "peak MB")
    names = NAMES if any(step.stage == "compress" for step in model.steps) else TRAINED_NAMES
    own = [_row(names[result.role], result, tasks) for result in model.checkpoints]
    others = [_row(f"{plain(one.plugin)}, {one.created}", one.result, tasks) for one in beside if one.result]
    print_table(header, [*own, *others])
    for one in beside:
        if one.refused:
            typer.secho(f"not shown beside it: {plain(one.entry)}: {plain('; '.join(one.refused))}", fg="yellow")
        for note in one.notes:
            typer.echo(f"{plain(one.entry)}: {plain(note)}")


def _row(name: str, result: CheckpointResult, tasks: list[str]) -> tuple[str, ...]:
    measured = result.measurements
    scores = {
        score.column: f"{score.score:.4g}" for score in (measured.evaluation.tasks if measured.evaluation else ())
    }
    speed = measured.performance
    return (
        name,
        millions(result.checkpoint.parameter_count),
        f"{measured.bits_per_byte.value:.4f}" if measured.bits_per_byte else ABSENT,
        *(scores.get(task, ABSENT) for task in tasks),
        f"{speed.decode_tokens_per_s:.0f}" if speed else ABSENT,
        f"{speed.peak_memory_bytes / 1e6:.0f}" if speed else ABSENT,
    )
