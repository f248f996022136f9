"""What a validation says: the findings, sorted by weight and place, and which checks ran."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from harness.document import Document
from harness.rules.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

_ORDER = (Severity.ERROR, Severity.WARNING, Severity.NOTE)


class Report(Document):
    """The findings about one entry under one edition."""

    entry: str
    """Name of the entry's folder."""
    kind: str = "bundle"
    """What sort of entry it is."""
    edition: str
    """Id and version of the edition that it was held against."""
    findings: tuple[Finding, ...]
    """Errors first, then by rule and place."""
    checks_run: tuple[str, ...]
    """Ids of the rules that were checked, crashed checks included."""

    @property
    def has_errors(self) -> bool:
        """Whether a rule is broken, so that the entry cannot be filed."""
        return self.count(Severity.ERROR) > 0

    def count(self, severity: Severity) -> int:
        """How many findings weigh ``severity``."""
        return sum(finding.severity is severity for finding in self.findings)

    def with_findings(self, more: Iterable[Finding]) -> Self:
        """The same report with a plugin's own findings added; none can be taken away."""
        return self.model_copy(update={"findings": sorted_findings((*self.findings, *more))})


def sorted_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, then by rule, file, field, tensor and index; the same findings always in the same order."""
    return tuple(sorted(findings, key=_key))


def _key(finding: Finding) -> tuple[int, str, str, str, str, int, str]:
    place = finding.place
    index = -1 if place.index is None else place.index
    weight = _ORDER.index(finding.severity)
    return (weight, finding.rule, place.file, place.field or "", place.tensor or "", index, finding.message)
