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
    data,
    lock,
    measurement,
    memory,
    models,
    precision,
    scores,
    structure,
)
from harness.validation.checks import (
    edition as edition_family,
)
from harness.validation.checks import (
    weights as weights_family,
)
from harness.validation.entry import open_entry
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
    *scores.CHECKS,
    *lock.CHECKS,
)
"""Every check, family by family."""

FALLBACK_EDITION = "demo"


def validate(
    path: Path, edition: Edition | None = None, *, weights: Path | None = None, checks: Sequence[Check] = CHECKS
) -> Report:
    """Hold the entry at ``path`` against ``edition``, by default the one that it says it was made under.

    Args:
        path: folder of a bundle.
        edition: none means the shipped edition that the entry names.
        weights: folder with the checkpoints that the entry references; without it only the claims are checked.
        checks: what to run.

    Raises:
        UsageError: ``path`` or ``weights`` is no folder.
    """
    entry = open_entry(path, weights=weights)
    assumed: tuple[Finding, ...] = ()
    if edition is None:
        edition, assumed = _edition_of(entry)
    found = [finding for check in checks for finding in _run(check, entry, edition)]
    return Report(
        entry=entry.name,
        edition=f"{edition.id} {edition.version}",
        findings=sorted_findings((*assumed, *found)),
        checks_run=tuple(check.rule for check in checks),
    )


def _edition_of(entry: Entry) -> tuple[Edition, tuple[Finding, ...]]:
    """The shipped edition that the entry names; else one that is assumed, which is said."""
    named = entry.submission.edition.id if entry.submission else None
    if named in edition_ids():
        return load_edition(named), ()
    note = finding(
        "edition.assumed",
        Place(file=layout.SUBMISSION, field="edition.id"),
        f"no shipped edition is named, so {FALLBACK_EDITION!r} was assumed",
        found=named or "no edition that can be read",
        allowed=", ".join(edition_ids()),
    )
    return load_edition(FALLBACK_EDITION), (note,)


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
