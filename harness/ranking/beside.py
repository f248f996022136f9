"""Another filed entry beside a new one: its figures as its record has them, where the two can be compared at all.

before the run   track, edition and its rules, limit of items      an entry that was named and differs: an error
after it         base weights, engine, suite, the very items       per base model: the figures, or why there are none

Nothing of the other entry enters the new one's record.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.document import Document
from harness.errors import UsageError
from harness.ranking.bundle_entry import ROLE, entrant_of
from harness.submission import layout
from harness.submission.model_result import CheckpointResult
from harness.submission.schema import Submission
from harness.validation.entry import open_entry
from harness.validation.record import read_document

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from harness.ranking.entrant import Entrant
    from harness.rules.edition import Edition
    from harness.submission.measurements import Evaluation, TaskScore
    from harness.submission.model_result import ModelResult
    from harness.validation.entry import Entry

SHOWN_DIGITS = 12


class Beside(Document):
    """One base model of another filed entry."""

    entry: str
    """Name of its folder."""
    plugin: str
    created: dt.date
    model: str
    """Short name of the base model."""
    result: CheckpointResult | None
    """Its final checkpoint, as the entry's record has it; None where it cannot be compared."""
    refused: tuple[str, ...] = ()
    """Why it cannot."""
    notes: tuple[str, ...] = ()
    """What is to be known before its figures are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What two entries share before anything is measured, if they are to be compared."""

    track: str
    edition: str
    """Id, version and the beginning of the rules' digest."""
    item_limit: str
    """Items a task that were scored, in words."""


def terms_asked(track: str, edition: Edition, limit: int | None) -> Terms:
    """The terms of an entry that is about to be made."""
    named = _edition(edition.id, edition.version, edition.content_digest())
    return Terms(track=track, edition=named, item_limit=_limits([limit]))


def terms_of(submission: Submission) -> Terms:
    """The terms of an entry that stands."""
    record = submission.edition
    finals = [model.result(ROLE) for model in submission.models]
    limits = [one.measurements.evaluation.item_limit for one in finals if one and one.measurements.evaluation]
    named = _edition(record.id, record.version, record.rules_digest)
    return Terms(track=submission.track, edition=named, item_limit=_limits(limits))


def read_beside(path: Path, terms: Terms) -> Entry:
    """The filed entry at ``path``.

    Raises:
        UsageError: it is no bundle, or its terms are not ``terms``.
    """
    entry = open_entry(path) if (path / layout.SUBMISSION).is_file() else None
    if entry is None or entry.submission is None:
        raise UsageError(
            f"{path}: expected a filed entry (a folder with {layout.SUBMISSION}), found "
            f"{f'none; harness validate {path} says why' if path.exists() else 'nothing of that name'}"
        )
    found = terms_of(entry.submission)
    for what, asked, has in (
        ("track", terms.track, found.track),
        ("edition", terms.edition, found.edition),
        ("items of a task", terms.item_limit, found.item_limit),
    ):
        if asked != has:
            raise UsageError(
                f"{path}: cannot be compared with this run: {what}: {has} there, {asked} here; name an entry made "
                "under the same terms"
            )
    return entry


def newest(folder: Path, plugin: str, mine: Entry, edition: Edition) -> Entry | None:
    """The newest entry of ``plugin`` in ``folder``, other than ``mine``, of which a base model can be compared."""
    if mine.submission is None or not folder.is_dir():
        return None
    terms = terms_of(mine.submission)
    for path in _newest_first(folder, plugin, terms):
        try:
            other = open_entry(path)
        except UsageError:
            continue  # a folder that cannot be listed: nobody asked for it, and the next newest will do
        if path.resolve() != mine.path and any(one.result for one in beside(mine, [other], edition)):
            return other
    return None


def beside(mine: Entry, others: Sequence[Entry], edition: Edition) -> tuple[Beside, ...]:
    """The base models of ``mine`` as each of ``others`` has them, in that order.

    Args:
        mine: the new entry, with its files of items.
        others: with the same terms.
        edition: of all of them.
    """
    return tuple(_one(mine, other, edition, model) for other in others for model in mine.models)


def _newest_first(folder: Path, plugin: str, terms: Terms) -> list[Path]:
    """Bundles of ``plugin`` in ``folder`` with ``terms``; what cannot be read is nobody's yardstick."""
    found: list[tuple[dt.date, str, Path]] = []
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not (path / layout.SUBMISSION).is_file():
            continue
        submission, _ = read_document(path, layout.SUBMISSION, Submission)
        if submission is not None and submission.plugin.name == plugin and terms_of(submission) == terms:
            found.append((submission.created, path.name, path))
    return [path for _, _, path in sorted(found, reverse=True)]


def _one(mine: Entry, other: Entry, edition: Edition, model: ModelResult) -> Beside:
    assert other.submission is not None  # noqa: S101 - read_beside and newest see to it
    theirs = next((one for one in other.models if one.name == model.name), None)
    result = theirs.result(ROLE) if theirs else None
    entrants = [entrant_of(entry, edition, (model.name,), ()) for entry in (mine, other)]
    if theirs is None or result is None:
        refused: tuple[str, ...] = (f"it has no {model.name}",)
        notes: tuple[str, ...] = ()
    else:
        refused = tuple(_refused(model, theirs, entrants[0], entrants[1]))
        notes = tuple(_notes(entrants[0], entrants[1]))
    return Beside(
        entry=other.name,
        plugin=other.submission.plugin.name,
        created=other.submission.created,
        model=model.name,
        result=None if refused else result,
        refused=refused,
        notes=() if refused else notes,
    )


def _refused(model: ModelResult, theirs: ModelResult, mine: Entrant, other: Entrant) -> Iterator[str]:
    weights = [one.base.checkpoint_digest[:SHOWN_DIGITS] for one in (theirs, model)]
    if weights[0] != weights[1]:
        yield f"base model: weights {weights[0]} there, {weights[1]} here"
    first, second = (_evaluation(one) for one in (theirs, model))
    if first is None or second is None:
        return
    if (there := _engine(first)) != (here := _engine(second)):
        yield f"engine: {there} there, {here} here"
    scored = {score.task: score for score in second.tasks}
    for score in first.tasks:
        if score.task in scored and _asked(score, other) != _asked(scored[score.task], mine):
            yield f"{score.task}: other items or another metric"


def _evaluation(model: ModelResult) -> Evaluation | None:
    final = model.result(ROLE)
    return final.measurements.evaluation if final else None


def _engine(evaluation: Evaluation) -> str:
    return f"{evaluation.engine} {evaluation.engine_version}, suite {evaluation.suite}"


def _asked(score: TaskScore, entrant: Entrant) -> tuple[str, float, int, str | None]:
    """What the score is of: metric, scale, and the digest of the very items; None where they are not filed whole."""
    items = entrant.items.get(score.task)
    return score.metric, score.scale, score.item_count, items.key if items else None


def _notes(mine: Entrant, other: Entrant) -> Iterator[str]:
    if other.protocol is not None and mine.protocol is not None and other.protocol != mine.protocol:
        yield f"speed and memory were measured otherwise: {other.protocol} there; {mine.protocol} here"


def _edition(name: str, version: str, digest: str) -> str:
    return f"{name} {version} (rules {digest[:SHOWN_DIGITS]})"


def _limits(limits: Sequence[int | None]) -> str:
    return " and ".join(sorted({"all" if limit is None else f"the first {limit}" for limit in limits})) or "none"
