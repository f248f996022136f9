"""Reports for people: a table over several entries, one block a finding, aligned, and one line that sums up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.rules.finding import Severity
from harness.validation.report import sorted_findings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.rules.finding import Finding, Place
    from harness.validation.report import Report


def render_text(report: Report) -> str:
    """The report as aligned text.

    ::

    error    precision.dtype   llama.final/model.safetensors: tensor 'lm_head.weight'
             the tensor is stored as I8
             found    I8
             allowed  F16, F32
             fix      write the checkpoint in F16 or F32
    """
    width = max((len(finding.rule) for finding in report.findings), default=0)
    blocks = [finding_text(finding, width) for finding in report.findings]
    return "\n\n".join([*blocks, _summary(report)]) + "\n"


def place_text(place: Place) -> str:
    """Where a finding is, on one line."""
    parts = [
        (f"tensor {place.tensor!r}" if place.tensor is not None else None),
        (f"field {place.field}" if place.field is not None else None),
        (f"element {place.index}" if place.index is not None else None),
        (f"byte {place.byte_offset}" if place.byte_offset is not None else None),
    ]
    exact = ", ".join(part for part in parts if part is not None)
    return f"{place.file}: {exact}" if exact else place.file


def summary_table(reports: Sequence[Report]) -> str:
    """One line an entry: its name and kind, and how many findings of each weight."""
    header = ("entry", "kind", "errors", "warnings", "notes")
    rows = [(report.entry, report.kind, *(str(report.count(severity)) for severity in Severity)) for report in reports]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    return "\n".join(
        "   ".join((*map(str.ljust, row[:2], widths), *map(str.rjust, row[2:], widths[2:]))) for row in (header, *rows)
    )


def strict(report: Report) -> Report:
    """The same report with every warning an error."""
    weighed = (
        finding.model_copy(update={"severity": Severity.ERROR}) if finding.severity is Severity.WARNING else finding
        for finding in report.findings
    )
    return report.model_copy(update={"findings": sorted_findings(weighed)})


def finding_text(finding: Finding, width: int = 0) -> str:
    """One finding as a block; ``width`` is that of the rules in its column."""
    margin = " " * 9
    return "\n".join(
        (
            f"{finding.severity.value:<8} {finding.rule:<{width}}   {place_text(finding.place)}",
            f"{margin}{finding.message}",
            f"{margin}found    {finding.found}",
            f"{margin}allowed  {finding.allowed}",
            f"{margin}fix      {finding.fix}",
        )
    )


def _summary(report: Report) -> str:
    counts = ", ".join(
        f"{number} {severity.value}{'' if number == 1 else 's'}"
        for severity in (Severity.ERROR, Severity.WARNING, Severity.NOTE)
        if (number := report.count(severity))
    )
    return f"{report.entry}: {len(report.checks_run)} checks, edition {report.edition}: {counts or 'nothing found'}"
