"""An entry for the terminal: read as any stranger's, printed without a character that could move the cursor."""

from __future__ import annotations

import json
import shutil
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import typer

from harness.cli.console import print_table
from harness.errors import UsageError
from harness.submission import layout
from harness.submission.items import NotItems, unpack
from harness.submission.schema import Submission
from harness.validation.listing import Unreadable, read_plain
from harness.validation.record import read_document

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import JsonValue

    from harness.submission.measurements import ItemRecord, TaskScore
    from harness.submission.model_result import CheckpointResult, ModelResult

ChosenT = TypeVar("ChosenT")
NARROWEST, WIDEST = 60, 120
ABSENT = "-"
TEXT_CHARACTERS = 4000
"""Of one text that are printed; the file has all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which items are asked for."""

    task: str
    model: str
    role: str
    correct: bool | None
    """None: all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The items of a task, and the score that they make."""

    wanted: Wanted
    score: TaskScore
    chosen: tuple[ItemRecord, ...]
    total: int

    def document(self, limit: int) -> JsonValue:
        """For ``--json``."""
        return {
            "model": self.wanted.model,
            "role": self.wanted.role,
            "score": self.score.model_dump(mode="json"),
            "item_count": self.total,
            "chosen_count": len(self.chosen),
            "items": [record.model_dump(mode="json") for record in self.chosen[:limit]],
        }


def read_submission(path: Path) -> Submission:
    """The manifest of the bundle at ``path``; raises ``UsageError`` where there is none."""
    if not (path / layout.SUBMISSION).is_file():
        raise UsageError(f"{path}: expected a bundle, a folder with {layout.SUBMISSION}; found none")
    submission, faults = read_document(path, layout.SUBMISSION, Submission)
    if submission is None:
        raise UsageError(f"{path}/{layout.SUBMISSION}: {faults[0].message}; harness validate says more")
    if not submission.models:
        raise UsageError(f"{path}/{layout.SUBMISSION}: the entry has no model")
    return submission


def items_of(path: Path, submission: Submission, wanted: Wanted) -> Found:
    """The items that are asked for.

    Raises:
        UsageError: there is no such model, role, task or file; the message says what there is.
    """
    model = _one_of("--model", wanted.model, {model.name: model for model in submission.models})
    result = _one_of("--role", wanted.role, {str(result.role): result for result in model.checkpoints})
    score = _one_of("--task", wanted.task, {score.task: score for score in _scores(result)})
    if score.items_file is None or not layout.is_items_file(score.items_file):
        raise UsageError(f"{path}: holds no items of {wanted.task}; the engine that scored it kept none")
    try:
        records = unpack(read_plain(path / score.items_file, max_bytes=layout.MAX_ITEMS_BYTES))
    except (Unreadable, NotItems) as error:
        raise UsageError(f"{path / score.items_file}: the file {error}") from error
    chosen = tuple(one for one in records if wanted.correct is None or one.correct is wanted.correct)
    return Found(wanted=wanted, score=score, chosen=chosen, total=len(records))


def _one_of(option: str, name: str, known: dict[str, ChosenT]) -> ChosenT:
    if name not in known:
        raise UsageError(f"{option} {name}: the entry has {', '.join(known) or 'none'}")
    return known[name]


def _scores(result: CheckpointResult) -> tuple[TaskScore, ...]:
    evaluation = result.measurements.evaluation
    return evaluation.tasks if evaluation else ()


def print_overview(submission: Submission) -> None:
    """The whole entry on one screen."""
    typer.echo(plain(submission.id))
    typer.echo(
        f"team {plain(submission.team)}   plugin {plain(submission.plugin.name)}   track {plain(submission.track)}   "
        f"edition {plain(submission.edition.id)} {plain(submission.edition.version)}   {submission.created}"
    )
    if submission.notice:
        typer.secho(plain(submission.notice), fg="yellow")
    for model in submission.models:
        _print_model(model)
    scores = "  ".join(f"{plain(task.column)} {task.score:.4g}" for task in submission.mean.tasks)
    typer.echo(f"\nmean over {len(submission.models)} model(s)   {scores}")
    kept = sorted({score.task for model in submission.models for one in model.checkpoints for score in _kept(one)})
    if kept:
        typer.echo(
            f"read the answers   harness show PATH --task {plain(kept[0])} --wrong   (kept: {plain(', '.join(kept))})"
        )


def _kept(result: CheckpointResult) -> list[TaskScore]:
    return [score for score in _scores(result) if score.items_file is not None]


def _print_model(model: ModelResult) -> None:
    columns = list(dict.fromkeys(plain(score.column) for one in model.checkpoints for score in _scores(one)))
    typer.echo(f"\n{plain(model.name)}   budget {model.parameter_budget:,} parameters")
    header = ("", "parameters", "bits/byte", *columns, "decode tokens/s", "peak MB")
    print_table(header, [_row(one, columns) for one in model.checkpoints])


def _row(result: CheckpointResult, columns: list[str]) -> tuple[str, ...]:
    measured = result.measurements
    scores = {plain(score.column): f"{score.score:.4g}" for score in _scores(result)}
    speed = measured.performance
    return (
        result.role,
        f"{result.checkpoint.parameter_count:,}",
        f"{measured.bits_per_byte.value:.4f}" if measured.bits_per_byte else ABSENT,
        *(scores.get(column, ABSENT) for column in columns),
        f"{speed.decode_tokens_per_s:.0f}" if speed else ABSENT,
        f"{speed.peak_memory_bytes / 1e6:.0f}" if speed else ABSENT,
    )


def print_items(found: Found, limit: int) -> None:
    """The chosen items, readable: question number, verdict, what was said, what was read from it, what was right."""
    wanted, score = found.wanted, found.score
    which = {None: "", True: " right", False: " wrong"}[wanted.correct]
    typer.secho(
        f"{plain(wanted.task)}   {plain(wanted.model)} {plain(wanted.role)}   {score.score:.4g} of {score.scale:g}   "
        f"{len(found.chosen)}{which} of {found.total} items",
        bold=True,
    )
    for record in found.chosen[:limit]:
        _print_item(record)
    if len(found.chosen) > limit:
        typer.echo(f"\n… {len(found.chosen) - limit} more; --limit {len(found.chosen)} shows all")


def _print_item(record: ItemRecord) -> None:
    verdict, colour = {None: ("left out", "yellow"), True: ("right", "green"), False: ("wrong", "red")}[record.correct]
    tokens = f"   {record.generated_tokens} tokens" if record.generated_tokens is not None else ""
    ended = f", ended by {plain(record.ended_by)}" if record.ended_by else ""
    typer.secho(f"\n{plain(record.subset)} {record.index}   {verdict}{tokens}{ended}", fg=colour)
    said = "(left out: the file would have been too large)" if record.prediction is None else record.prediction
    _print_text("said", said)
    _print_text("read", _text(record.extracted))
    _print_text("right", _text(record.reference))


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _print_text(label: str, text: str) -> None:
    """``text`` wrapped to the terminal, its own lines kept, under its label."""
    width = min(WIDEST, max(NARROWEST, shutil.get_terminal_size().columns))
    cut = text[:TEXT_CHARACTERS] + (f" … {len(text) - TEXT_CHARACTERS} more" if len(text) > TEXT_CHARACTERS else "")
    lines = [
        part
        for line in cut.split("\n")
        for part in textwrap.wrap(plain(line), width - 10, drop_whitespace=False, replace_whitespace=False) or [""]
    ]
    for number, line in enumerate(lines):
        typer.echo(f"  {label if number == 0 else '':<6}  {line}".rstrip())


def plain(text: str) -> str:
    """``text`` as it can be printed: what a model or a stranger wrote moves no cursor and changes no colour."""
    return "".join(mark if mark.isprintable() else mark.encode("unicode_escape").decode("ascii") for mark in text)
