"""The organiser's own figures, as one TOML file: measured on the phone, or published, or known only from a page.

    track = "scratch"
    source = "final README of the entry"

    [[entry]]
    name = "cauchy-3b"                  of the folder's entry of that name these figures take the place
    team = "Tinytron"
    scores = { gsm8k = 2.12, mmlu = 26.72 }
    throughput = 41.0                   in the edition's unit: say nothing where the unit is not known

    [entry.models.llama]                instead of `scores`, a table for each base model; the mean is worked out
    gsm8k = 63.31

Of hold-outs only the organiser has scores, so this is the only way in for them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field, FiniteFloat, NonNegativeInt

from harness.document import Document
from harness.errors import UsageError
from harness.ranking.entrant import Entrant, Number, Source, mean_of
from harness.rules.finding import Severity
from harness.rules.problem import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from harness.rules.edition import Edition, TaskRule

MAX_FIGURES_BYTES = 4 << 20
KIND = "figures"


class EntryFigures(Document):
    """What the organiser has of one entry."""

    name: str
    team: str | None = None
    source: str = ""
    """Where these figures come from."""
    scores: dict[str, FiniteFloat] = Field(default_factory=dict)
    """By task, in the edition's scale, averaged over the models."""
    models: dict[str, dict[str, FiniteFloat]] = Field(default_factory=dict)
    """By base model, then by task."""
    throughput: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """In the edition's unit, averaged over the models."""
    protocol: str = "as the organiser measured it"
    peak_memory_bytes: NonNegativeInt | None = None
    """Of the model that needs most."""
    mean_memory_bytes: FiniteFloat | None = None
    parameters: FiniteFloat | None = None
    """Averaged over the models."""
    disqualified: str | None = None
    """The organiser's reason."""
    published_place: NonNegativeInt | None = None
    """What was announced, where it was; nothing is worked out from it."""
    notes: tuple[str, ...] = ()


class Figures(Document):
    """The file."""

    track: str | None = None
    source: str = ""
    entry: tuple[EntryFigures, ...] = ()


def read_figures(path: Path) -> Figures:
    """The figures in the TOML file at ``path``.

    Raises:
        UsageError: it cannot be read, or is no such file; a line for each fault.
    """
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_FIGURES_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: expected a TOML file in UTF-8: {error}") from error
    figures, problems = parse(text, Figures)
    if figures is None:
        faults = (problem for problem in problems if problem.severity is Severity.ERROR)
        raise UsageError("\n".join(problem.sentence(str(path)) for problem in faults))
    names = [one.name for one in figures.entry]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"{path}: entry.name: allowed once each, found twice: {', '.join(twice)}")
    return figures


def applied(entrants: Iterable[Entrant], figures: Figures, file: str, edition: Edition) -> tuple[Entrant, ...]:
    """The entrants with the organiser's figures in the place of their own; entries that only the file has come last.

    Raises:
        UsageError: a figure is of a task that the edition does not know.
    """
    by_name = {one.name: one for one in entrants}
    for position, one in enumerate(figures.entry):
        _check_tasks(one, file, edition)
        fresh = Entrant(name=one.name, team=one.team or one.name, kind=KIND)
        stated = _Stated(one, f"entry.{position}", file, edition)
        by_name[one.name] = stated.over(by_name.get(one.name, fresh))
    return tuple(by_name.values())


def _check_tasks(one: EntryFigures, file: str, edition: Edition) -> None:
    known = [*edition.tasks, *edition.hold_out_tasks]
    for task in (*one.scores, *(task for scores in one.models.values() for task in scores)):
        if task not in known:
            raise UsageError(f"{file}: entry {one.name!r}: scores: allowed {', '.join(known)}, found {task!r}")


class _Stated:
    """What the file states of one entry, as numbers."""

    def __init__(self, figures: EntryFigures, field: str, file: str, edition: Edition) -> None:
        self._figures, self._field, self._file, self._edition = figures, field, file, edition

    def over(self, entrant: Entrant) -> Entrant:
        """``entrant`` with these numbers in the place of its own. Items stay where their score does."""
        figures, scores = self._figures, self._scores()
        throughput = self._number(figures.throughput, "throughput", self._edition.measurement.throughput_unit)
        peak = self._number(figures.peak_memory_bytes, "peak_memory_bytes", "bytes")
        memory = self._number(figures.mean_memory_bytes, "mean_memory_bytes", "bytes")
        parameters = self._number(figures.parameters, "parameters", "parameters")
        changed = replace(
            entrant,
            team=figures.team or entrant.team,
            models=tuple(figures.models) or entrant.models,
            scores={**entrant.scores, **scores},
            item_counts={**self._item_counts(scores), **entrant.item_counts},
            items={task: items for task, items in entrant.items.items() if task not in scores},
            throughput=throughput or entrant.throughput,
            throughput_samples=() if throughput else entrant.throughput_samples,
            protocol=figures.protocol if throughput else entrant.protocol,
            memory=memory or peak or entrant.memory,
            peak_memory=peak or entrant.peak_memory,
            parameters=parameters or entrant.parameters,
            notes=(*entrant.notes, *figures.notes, *((f"figures: {figures.source}",) if figures.source else ())),
        )
        return changed.but(f"disqualified: {figures.disqualified}") if figures.disqualified else changed

    def _scores(self) -> dict[str, Number]:
        found = {task: self._score(value, f"scores.{task}", task) for task, value in self._figures.scores.items()}
        models: Mapping[str, Mapping[str, float]] = self._figures.models
        for task in {task: None for scores in models.values() for task in scores}:
            each = [
                self._score(scores[task], f"models.{name}.{task}", task) if task in scores else None
                for name, scores in models.items()
            ]
            if (mean := mean_of(each, tuple(models))) is not None:
                found[task] = mean
        return found

    def _score(self, value: float, field: str, task: str) -> Number:
        rule = self._rules()[task]
        if not 0 <= value <= rule.scale:
            place = f"{self._file}: entry {self._figures.name!r}: {field}"
            raise UsageError(f"{place}: allowed 0 to {rule.scale:g}, found {value:g}")
        number = self._number(value, field, f"of {rule.scale:g}")
        assert number is not None  # noqa: S101 - a value gives a number
        return number

    def _item_counts(self, scores: Mapping[str, Number]) -> dict[str, int]:
        counts = {task: self._rules()[task].item_count for task in scores}
        return {task: count for task, count in counts.items() if count is not None}

    def _rules(self) -> dict[str, TaskRule]:
        rules: dict[str, TaskRule] = dict(self._edition.tasks.items())
        return rules | dict(self._edition.hold_out_tasks.items())

    def _number(self, value: float | None, field: str, unit: str) -> Number | None:
        if value is None:
            return None
        source = Source(entry=self._figures.name, file=self._file, field=f"{self._field}.{field}")
        return Number(value=value, unit=unit, sources=(source,))
