"""The text of a step: its sources made, its windows packed, and what came of both.

    sources ── selection: rater, threshold ──> Part ┐
            ── rules: generators ──────────> Derived ├─ pack(mixture or curriculum, caps) ──> windows/
            ── self_generated: the student ─> Derived ┘                                       windows-text.json, last

A step that was killed comes to the same windows: every source is a function of the recipe, the data, the student and
the seed, and what the student wrote stands in a journal.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pydantic import Field

from harness.corpora.curriculum import Curriculum, Phase
from harness.corpora.encoding import tokenizer_of
from harness.corpora.filters.cascade import Cascade, Counts, FilterReport
from harness.corpora.filters.quality import RaterRecord
from harness.corpora.filters.selection import selection
from harness.corpora.filters.settings import filters_of, settings_key
from harness.corpora.self_generated.exercises import GenerationReport
from harness.corpora.windows import pack
from harness.document import Document
from harness.errors import UsageError
from harness_tinytron.data_options import ReadingStep, RuleSource, SelectedSource
from harness_tinytron.rules import rule_samples
from harness_tinytron.writing import written_exercises

if TYPE_CHECKING:
    from pydantic import JsonValue

    from harness.contracts import StepRequest
    from harness.corpora.door import DataDoor
    from harness.corpora.feeds import Named
    from harness.corpora.filters.selection import Selection
    from harness.corpora.windows import Windows
    from harness_tinytron.options import TinytronOptions

StepT = TypeVar("StepT", bound=ReadingStep)


class SelectionReport(Document):
    """What a selection was and did."""

    rater: RaterRecord | None
    threshold: float | None
    ceiling: float | None
    filters: FilterReport


class TextReport(Document):
    """What became of a step's sources."""

    selections: dict[str, SelectionReport] = Field(default_factory=dict)
    filters: FilterReport | None = None
    """Of the step's own filters."""
    exercises: dict[str, GenerationReport] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Windows and the story of their text."""

    windows: Windows
    report: TextReport

    def notes(self) -> dict[str, JsonValue]:
        """For a step's notes; nothing where no source but the edition's data sets was read."""
        said = self.report.model_dump(mode="json", exclude_defaults=True)
        return {"text": said} if said else {}


def text_of(
    request: StepRequest[TinytronOptions, StepT], *, window_count: int, window_tokens: int, is_control: bool = False
) -> Text:
    """The step's training windows, packed once.

    The control reads nothing that the student would write: the base did not come of a step, so that no clause of an
    edition has a place for its words. Their share goes to the others.

    Raises:
        UsageError: a source does not fit, see the message.
        DataNotAllowed: from the door, or where filters or caps leave too little.
    """
    path = request.workdir / "windows"
    report = path.with_name("windows-text.json")
    if not report.is_file():
        shutil.rmtree(path, ignore_errors=True)  # packed, and killed before the report was written
    sources = _Sources.of(request, is_control=is_control)
    windows = pack(
        request.data,
        sources.phases,
        tokenizer_of(request.student.path),
        window_tokens=window_tokens,
        window_count=window_count,
        seed=request.seed,
        path=path,
        progress=request.progress,
        loss_on=request.step.loss_on,
        caps={name: cap for name, cap in request.step.caps.items() if name not in sources.left_out},
        named=sources.named,
    )
    if not report.is_file():
        sources.report().write(report)
    return Text(windows=windows, report=TextReport.read(report))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sources:
    """The step's sources, made."""

    named: dict[str, Named]
    phases: Curriculum
    left_out: frozenset[str]
    selections: dict[str, Selection]
    filtered: Counts | None
    exercises: dict[str, GenerationReport]

    @classmethod
    def of(cls, request: StepRequest[TinytronOptions, StepT], *, is_control: bool) -> _Sources:
        step = request.step
        named: dict[str, Named] = {}
        selections: dict[str, Selection] = {}
        exercises: dict[str, GenerationReport] = {}
        filtered = _filter(request.data, step) if step.filters is not None else None
        for name, source in sorted(step.sources.items()):
            if isinstance(source, SelectedSource):
                rated = source.model_copy(update={"rater": source.rater or step.rater})
                selections[name] = selection(request.data, rated, seed=request.seed)
                named[name] = selections[name].part
            elif isinstance(source, RuleSource):
                named[name] = rule_samples(request.data, source, seed=request.seed)
            elif not is_control:
                derived, exercises[name] = written_exercises(request, source, folder=request.workdir / name)
                named |= {name: derived} if derived.samples else {}
        left_out = frozenset(step.sources) - frozenset(named)
        return cls(
            named=named,
            phases=_without(step.phases, left_out),
            left_out=left_out,
            selections=selections,
            filtered=filtered,
            exercises=exercises,
        )

    def report(self) -> TextReport:
        return TextReport(
            selections={
                name: SelectionReport(
                    rater=made.rater, threshold=made.threshold, ceiling=made.ceiling, filters=made.counts.report()
                )
                for name, made in self.selections.items()
            },
            filters=self.filtered.report() if self.filtered is not None else None,
            exercises=self.exercises,
        )


def _filter(door: DataDoor, step: ReadingStep) -> Counts:
    """Let every data set of documents that is mixed through the step's filters."""
    assert step.filters is not None  # noqa: S101 - asked before
    settings, counts = step.filters, Counts()
    filters_of(settings)  # raises here, before anything is read
    for name in {name for phase in step.phases.phases for name in phase.mixture}:
        rule = door.settings.rules.get(name)
        if rule is not None and rule.data_schema == "c4":
            door.sift(name, lambda: Cascade(filters_of(settings), counts), key=settings_key(settings))
    return counts


def _without(phases: Curriculum, left_out: frozenset[str]) -> Curriculum:
    """The phases without some names; raises ``UsageError`` where a phase has no other."""
    kept = []
    for phase in phases.phases:
        mixture = {name: weight for name, weight in phase.mixture.items() if name not in left_out}
        if not mixture:
            raise UsageError(f"mixture: there is nothing but {', '.join(sorted(phase.mixture))}; mix a data set in")
        kept.append(Phase(until=phase.until, mixture=mixture))
    return Curriculum(phases=tuple(kept))
