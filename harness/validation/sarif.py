"""Findings as SARIF 2.1.0, so that a forge shows them beside the files (OASIS standard, 27 March 2020).

    Report ─┬─ findings ──> results      level, message, physicalLocation (uri, byteOffset), logicalLocations
            └─ catalogue ─> rules        title, rationale, fix as help, default level

A tensor or a field is a logical location; a byte offset is a region of the file. Several reports make one run, and the
names of their files begin with the path by which each entry was named.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING
from urllib.parse import quote

from harness.document import digest_of
from harness.rules.finding import Severity
from harness.validation.catalogue import rules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

    from harness.rules.finding import Finding, Place
    from harness.validation.catalogue import Rule
    from harness.validation.report import Report

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
VERSION = "2.1.0"
LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}

Object = dict[str, "JsonValue"]


def sarif(reports: Sequence[tuple[str, Report]]) -> Object:
    """One SARIF log with one run.

    Args:
        reports: each with the path of its entry as it was typed, which the names of files begin with.
    """
    own = [finding.rule for _, report in reports for finding in report.findings if finding.rule not in rules()]
    described: list[JsonValue] = [_rule(rule) for rule in rules().values()]
    described += [{"id": name} for name in dict.fromkeys(own)]  # a plugin's rules: it says no more of them
    numbers = {name: number for number, name in enumerate([*rules(), *dict.fromkeys(own)])}
    driver: Object = {
        "name": "harness validate",
        "semanticVersion": metadata.version("edge-llm-harness"),
        "rules": described,
    }
    results: list[JsonValue] = [
        _result(finding, path, numbers) for path, report in reports for finding in report.findings
    ]
    run: Object = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": results,
        "properties": {"entries": [_entry(path, report) for path, report in reports]},
    }
    return {"$schema": SCHEMA, "version": VERSION, "runs": [run]}


def _entry(path: str, report: Report) -> JsonValue:
    return {"path": path, "entry": report.entry, "edition": report.edition, "checksRun": len(report.checks_run)}


def _rule(rule: Rule) -> JsonValue:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": f"{rule.title}: {rule.rationale}"},
        "help": {"text": f"Why: {rule.rationale}.\nFix: {rule.fix}.\nMore: harness explain {rule.id}"},
        "defaultConfiguration": {"level": LEVELS[rule.severity]},
        "properties": {"tags": [rule.family]},
    }


def _result(finding: Finding, path: str, numbers: Mapping[str, int]) -> JsonValue:
    text = f"{finding.message}; found: {finding.found}; allowed: {finding.allowed}; fix: {finding.fix}"
    place: JsonValue = finding.place.model_dump(mode="json")
    result: Object = {
        "ruleId": finding.rule,
        "ruleIndex": numbers[finding.rule],
        "level": LEVELS[finding.severity],
        "message": {"text": text},
        "locations": [_location(finding.place, path)],
        "partialFingerprints": {"harnessFinding/v1": digest_of([path, finding.rule, place, finding.message])},
        "properties": {"found": finding.found, "allowed": finding.allowed, "index": finding.place.index},
    }
    return result


def _location(place: Place, path: str) -> JsonValue:
    physical: Object = {"artifactLocation": {"uri": _uri(path, place.file)}}
    if place.byte_offset is not None:
        physical["region"] = {"byteOffset": place.byte_offset, "byteLength": 1}
    location: Object = {"physicalLocation": physical}
    names: list[JsonValue] = [
        {"fullyQualifiedName": name, "kind": kind}
        for name, kind in ((place.tensor, "variable"), (place.field, "property"))
        if name is not None
    ]
    if names:
        location["logicalLocations"] = names
    return location


def _uri(path: str, file: str) -> str:
    """A URI reference: relative where the path was, and with everything escaped that a URI cannot hold."""
    name = path.rstrip("/") if file == "." else f"{path.rstrip('/')}/{file}"
    return f"file://{quote(name)}" if name.startswith("/") else quote(name)
