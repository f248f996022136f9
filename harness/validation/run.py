"""``validate``: open an entry, run every check, report everything that was found.

A check that crashes is itself a finding, keeps what it had found until then, and stops no other.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from harness.rules.edition import edition_ids, load_edition
from harness.rules.finding import Finding, Place
from harness.submission import layout
from harness.validation.catalogue import finding
from harness.validation.checks import (
    bundle,
    contamination,
    data,
    derived,
    foreign,
    hostile,
    lock,
    measurement,
    memory,
    models,
    package,
    packaged,
    precision,
    provenance,
    said,
    scores,
    selection,
    structure,
    track,
)
from harness.validation.checks import (
    edition as edition_family,
)
from harness.validation.checks import (
    weights as weights_family,
)
from harness.validation.entry import opened
from harness.validation.foreign.kind import Kind
from harness.validation.report import Report, sorted_findings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from harness.rules.edition import Edition
    from harness.validation.check import Check
    from harness.validation.entry import Entry

CHECKS: tuple[Check, ...] = (
    *bundle.CHECKS,
    *edition_family.CHECKS,
    *models.CHECKS,
    *precision.CHECKS,
    *weights_family.CHECKS,
    *structure.CHECKS,
    *memory.CHECKS,
    *measurement.CHECKS,
    *data.CHECKS,
    *derived.CHECKS,
    *contamination.CHECKS,
    *selection.CHECKS,
    *scores.CHECKS,
    *said.CHECKS,
    *foreign.CHECKS,
    *hostile.CHECKS,
    *lock.CHECKS,
    *provenance.CHECKS,
    *package.CHECKS,
    *packaged.CHECKS,
    *track.CHECKS,
)
"""Every check, family by family."""

FALLBACK_EDITION = "demo"
FOREIGN_EDITION = "neurips-2024"
"""What an entry in the competition's own layout was made for."""
FOREIGN_FAMILIES = frozenset(("archive", "foreign", "hostile", "mlc", "precision", "scores", "structure", "weights"))
"""What is asked of an entry that this harness did not make."""
RECORD_RULES = frozenset(
    (
        "scores.mean",
        "scores.results_csv",
        "scores.scale",
        "scores.tasks_complete",
        "structure.budget",
        "structure.parameter_count",
        "weights.digest",
        "weights.missing",
    )
)
"""Rules of these families that hold something against the record, which only a bundle has."""


def validate(
    path: Path, edition: Edition | None = None, *, weights: Path | None = None, checks: Sequence[Check] = CHECKS
) -> Report:
    """Hold the entry at ``path`` against ``edition``, by default the one that it says it was made under.

    Args:
        path: a bundle, a Hugging Face folder, an MLC package, the competition's layout; or an archive of one of these,
            or a table of results.
        edition: none means the shipped edition that the entry names.
        weights: folder with the checkpoints that a bundle references; without it only the claims are checked.
        checks: what to run; of these, what can be asked of the entry's kind.

    Raises:
        UsageError: ``path`` is not there, or ``weights`` is no folder.
    """
    with opened(path, weights=weights) as entry:
        return judge(entry, edition, checks=checks)


def judge(entry: Entry, edition: Edition | None = None, *, checks: Sequence[Check] = CHECKS) -> Report:
    """Hold an entry that is open against ``edition``; as ``validate``."""
    assumed: tuple[Finding, ...] = ()
    if edition is None:
        edition, assumed = _edition_of(entry)
    asked = [check for check in checks if entry.kind is Kind.BUNDLE or _needs_no_record(check)]
    if any(check.rule in weights_family.VALUE_RULES for check in asked):
        weights_family.begin_reading(entry)
    found = [finding for check in asked for finding in _run(check, entry, edition)]
    return Report(
        entry=entry.name,
        kind=entry.kind.value,
        edition=f"{edition.id} {edition.version}",
        findings=sorted_findings((*assumed, *found)),
        checks_run=tuple(check.rule for check in asked),
    )


def _needs_no_record(check: Check) -> bool:
    return check.rule.partition(".")[0] in FOREIGN_FAMILIES and check.rule not in RECORD_RULES


def _edition_of(entry: Entry) -> tuple[Edition, tuple[Finding, ...]]:
    """The shipped edition that the entry names; else one that is assumed, which is said."""
    named = entry.submission.edition.id if entry.submission else None
    if named in edition_ids():
        return load_edition(named), ()
    is_bundle = entry.kind is Kind.BUNDLE
    fallback = FALLBACK_EDITION if is_bundle else FOREIGN_EDITION
    note = finding(
        "edition.assumed",
        Place(file=layout.SUBMISSION if is_bundle else ".", field="edition.id"),
        f"no shipped edition is named, so {fallback!r} was assumed",
        found=named or "no edition that can be read",
        allowed=", ".join(edition_ids()),
    )
    return load_edition(fallback), (note,)


def _run(check: Check, entry: Entry, edition: Edition) -> Iterator[Finding]:
    try:
        yield from check.function(entry, edition)
    except Exception as error:  # noqa: BLE001 - whatever a stranger's entry does to a check is a finding
        yield _crashed(check, error)


def _crashed(check: Check, error: Exception) -> Finding:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{frame.name}, line {frame.lineno}"
    return finding(
        "validation.check_crashed",
        Place(file=".", field=check.rule),
        f"the check of {check.rule} crashed in {where}",
        found=f"{type(error).__name__}: {error}",
        allowed="a check that ends",
    )
