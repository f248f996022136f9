"""Reports as JUnit XML: a suite an entry, a test case a rule, so that any build server shows what is broken.

    <testsuites>
      <testsuite name="2026-11-22-team-nine-baseline-l1" tests="58" failures="1" …>
        <testcase classname="precision" name="precision.dtype"><failure …>…</failure></testcase>

An error is a failure; warnings and notes stand in ``system-out`` of their rule. The text is that of ``render``.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from harness.rules.finding import Severity
from harness.validation.render import finding_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.rules.finding import Finding
    from harness.validation.report import Report


def junit(reports: Sequence[tuple[str, Report]]) -> str:
    """One XML document; ``reports`` each with the path of its entry as it was typed."""
    suites = ET.Element("testsuites", name="harness validate")
    for path, report in reports:
        suites.append(_suite(path, report))
    ET.indent(suites)
    text: str = ET.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _suite(path: str, report: Report) -> ET.Element:
    # Rules that the run itself reports, and a plugin's, have no check and appear when they are found.
    names = dict.fromkeys((*report.checks_run, *(finding.rule for finding in report.findings)))
    found = {name: [finding for finding in report.findings if finding.rule == name] for name in names}
    failed = sum(any(finding.severity is Severity.ERROR for finding in findings) for findings in found.values())
    numbers = {"tests": len(names), "failures": failed, "errors": 0, "skipped": 0}
    attributes = {"name": report.entry} | {name: str(number) for name, number in numbers.items()}
    suite = ET.Element("testsuite", attributes)
    properties = ET.SubElement(suite, "properties")
    for name, value in (("path", path), ("edition", report.edition)):
        ET.SubElement(properties, "property", name=name, value=value)
    for name, findings in found.items():
        suite.append(_case(name, findings))
    return suite


def _case(rule: str, findings: Sequence[Finding]) -> ET.Element:
    case = ET.Element("testcase", classname=rule.partition(".")[0], name=rule)
    broken = [finding for finding in findings if finding.severity is Severity.ERROR]
    other = [finding for finding in findings if finding.severity is not Severity.ERROR]
    if broken:
        message = f"{broken[0].message}" + (f" (and {len(broken) - 1} more)" if len(broken) > 1 else "")
        failure = ET.SubElement(case, "failure", type=rule, message=message)
        failure.text = "\n\n".join(finding_text(finding) for finding in broken)
    if other:
        ET.SubElement(case, "system-out").text = "\n\n".join(finding_text(finding) for finding in other)
    return case
