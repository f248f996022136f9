"""Whether an edition agrees with itself: what one part names, another has. Pure, and every fault is said."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from harness.checkpoint.dtypes import BITS
from harness.rules.finding import Severity
from harness.rules.problem import Problem, line_of, lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.rules.edition import Edition

THROUGHPUT = "Throughput"
MEMORY = "Memory-Usage"
"""Columns of every edition: what is measured beside the tasks."""


def contradictions(edition: Edition, text: str) -> tuple[Problem, ...]:
    """What in ``edition`` contradicts itself, with the lines of ``text``."""
    lines = lines_of(text)
    found = (problem for check in _CHECKS for problem in check(edition))
    return tuple(replace(problem, line=line_of(lines, tuple(problem.field.split(".")))) for problem in found)


def _tracks(edition: Edition) -> Iterator[Problem]:
    known = ", ".join(edition.models)
    for name, track in edition.tracks.items():
        for number, model in enumerate(track.models):
            field = f"tracks.{name}.models.{number}"
            if model not in edition.models:
                yield Problem(field=field, message="names a model that is not here", allowed=known, found=model)
            else:
                yield from _start(edition, name, model)
        if not track.models:
            field = f"tracks.{name}.models"
            yield Problem(field=field, message="names no model", allowed=known, found="an empty list")


def _start(edition: Edition, track: str, model: str) -> Iterator[Problem]:
    """A model of a track has somewhere to start from, exactly where the track lets it."""
    rule = edition.models[model]
    source = rule.hub_id or rule.embedded
    if edition.tracks[track].from_pretrained and source is None:
        message = f"track {track!r} starts from this model, and it is nowhere to be had"
        yield Problem(field=f"models.{model}", message=message, allowed="a hub_id or embedded", found="neither")
    if not edition.tracks[track].from_pretrained and source is not None:
        message = f"track {track!r} starts from no pretrained weights, and this model names some"
        yield Problem(field=f"models.{model}", message=message, allowed="no hub_id, no embedded", found=source)


def _columns(edition: Edition) -> Iterator[Problem]:
    columns, allowed = edition.csv_columns, ", ".join(edition.csv_columns)
    for name, task in edition.tasks.items():
        if task.column not in columns:
            field = f"tasks.{name}.column"
            yield Problem(field=field, message="names no column of csv_columns", allowed=allowed, found=task.column)
    filled = {task.column for task in edition.tasks.values()} | {THROUGHPUT, MEMORY}
    for column in columns:
        if column not in filled:
            message, known = "has a column that nothing fills", ", ".join(sorted(filled))
            yield Problem(field="csv_columns", message=message, allowed=known, found=column)
    for column in sorted({column for column in columns if columns.count(column) > 1}):
        yield Problem(field="csv_columns", message="names a column twice", allowed="each once", found=column)


def _data(edition: Edition) -> Iterator[Problem]:
    if edition.held_out.data not in edition.data:
        found, allowed = edition.held_out.data, ", ".join(edition.data)
        yield Problem(field="held_out.data", message="names no data set of the edition", allowed=allowed, found=found)
    for name, rule in edition.data.items():
        if not rule.is_pinned:
            yield Problem(
                field=f"data.{name}.revision",
                message="is a name that can move; two entries may read different rows",
                allowed="a commit, 40 hexadecimal digits",
                found=rule.revision,
                severity=Severity.NOTE,
            )


def _dtypes(edition: Edition) -> Iterator[Problem]:
    for number, dtype in enumerate(edition.dtypes):
        if dtype not in BITS:
            field, allowed = f"dtypes.{number}", ", ".join(BITS)
            yield Problem(field=field, message="is no dtype of safetensors", allowed=allowed, found=dtype)
    if not edition.dtypes:
        yield Problem(field="dtypes", message="allows no tensor at all", allowed=", ".join(BITS), found="an empty list")


def _files(edition: Edition) -> Iterator[Problem]:
    for number, name in enumerate(edition.required_files):
        path = PurePosixPath(name)
        if not name or path.is_absolute() or ".." in path.parts:
            field = f"required_files.{number}"
            yield Problem(field=field, message="leads out of the entry", allowed="a name within it", found=name)


def _configurations(edition: Edition) -> Iterator[Problem]:
    for name, task in edition.tasks.items():
        if edition.suite == "official" and task.configuration_hash is None:
            yield Problem(
                field=f"tasks.{name}.configuration",
                message="does not say which prompts are meant",
                allowed="an OpenCompass configuration with its hash, e.g. gsm8k_gen_1d7fe4",
                found=task.configuration,
            )


def _ranking(edition: Edition) -> Iterator[Problem]:
    points = list(edition.ranking.points)
    if points != sorted(set(points), reverse=True) or not points:
        message, allowed = "gives a lower rank as much as a higher one", "points that fall from rank to rank"
        yield Problem(field="ranking.points", message=message, allowed=allowed, found=str(points))


def _history(edition: Edition) -> Iterator[Problem]:
    days = [note.date for note in edition.history]
    for number, (earlier, later) in enumerate(pairwise(days), start=1):
        if later < earlier:
            field, allowed = f"history.{number}.date", f"{earlier} or later"
            yield Problem(field=field, message="stands before its past", allowed=allowed, found=str(later))


def _notice(edition: Edition) -> Iterator[Problem]:
    if not edition.eligible and not edition.notice:
        message, allowed = "is empty, and nobody is told that entries cannot compete", "one sentence"
        yield Problem(field="notice", message=message, allowed=allowed, found="nothing", severity=Severity.WARNING)


_CHECKS = (_tracks, _columns, _data, _dtypes, _files, _configurations, _ranking, _history, _notice)
