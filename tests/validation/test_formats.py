"""Findings in every format: nothing is lost on the way, whatever a stranger put into it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.rules.finding import Finding, Place, Severity
from harness.validation.catalogue import rules
from harness.validation.explain import find_rules, listing, page
from harness.validation.junit import junit
from harness.validation.render import finding_text, place_text, render_text, strict, summary_table
from harness.validation.report import Report, sorted_findings
from harness.validation.sarif import LEVELS, VERSION, sarif

TEXT = st.text(st.characters(blacklist_categories=("Cc", "Cs", "Cn", "Co", "Cf", "Zl", "Zp")), min_size=1, max_size=12)
PLACES = st.builds(
    Place,
    file=TEXT,
    tensor=st.none() | TEXT,
    field=st.none() | TEXT,
    index=st.none() | st.integers(0, 2**40),
    byte_offset=st.none() | st.integers(0, 2**40),
)
FINDINGS = st.builds(
    Finding,
    rule=st.sampled_from([*rules(), "my-plugin.width"]),
    severity=st.sampled_from(list(Severity)),
    place=PLACES,
    message=TEXT,
    found=TEXT,
    allowed=TEXT,
    fix=TEXT,
)
REPORTS = st.builds(
    lambda entry, findings: Report(
        entry=entry, edition="demo 1.1", findings=sorted_findings(findings), checks_run=tuple(rules())
    ),
    TEXT,
    st.lists(FINDINGS, max_size=5),
)
NAMED = st.lists(st.tuples(st.sampled_from(["a", "out/b c", "/abs/c", "./d"]), REPORTS), max_size=3)


def check_sarif(log):
    """What the 2.1.0 schema asks of the parts that we write, by hand."""
    assert set(log) == {"$schema", "version", "runs"}
    assert log["version"] == VERSION == "2.1.0"
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert isinstance(driver["name"], str)
    described = driver["rules"]
    assert len({rule["id"] for rule in described}) == len(described)
    for rule in described:
        assert rule["id"]
        for name in {"shortDescription", "fullDescription", "help"} & set(rule):
            assert isinstance(rule[name]["text"], str)
            assert rule[name]["text"]
        if "defaultConfiguration" in rule:
            assert rule["defaultConfiguration"]["level"] in {"none", "note", "warning", "error"}
    for result in run["results"]:
        assert result["ruleId"] == described[result["ruleIndex"]]["id"]
        assert result["level"] in {"none", "note", "warning", "error"}
        assert result["message"]["text"]
        assert all(isinstance(value, str) for value in result["partialFingerprints"].values())
        (location,) = result["locations"]
        uri = location["physicalLocation"]["artifactLocation"]["uri"]
        assert uri.isascii()
        assert " " not in uri
        region = location["physicalLocation"].get("region")
        assert region is None or (region["byteOffset"] >= 0 and region["byteLength"] >= 0)
        for logical in location.get("logicalLocations", ()):
            assert logical["fullyQualifiedName"]
    return run


class TestSarif:
    @given(NAMED)
    def test_holds_every_finding(self, reports):
        """The log has the standard's form, and rule, level, file, offset, field and tensor of each finding."""
        run = check_sarif(sarif(reports))
        findings = [(path, finding) for path, report in reports for finding in report.findings]
        assert len(run["results"]) == len(findings)
        for result, (path, finding) in zip(run["results"], findings, strict=True):
            physical = result["locations"][0]["physicalLocation"]
            names = [one["fullyQualifiedName"] for one in result["locations"][0].get("logicalLocations", ())]
            assert (result["ruleId"], result["level"]) == (finding.rule, LEVELS[finding.severity])
            assert all(part in result["message"]["text"] for part in (finding.message, finding.found, finding.fix))
            assert physical.get("region", {}).get("byteOffset") == finding.place.byte_offset
            assert names == [name for name in (finding.place.tensor, finding.place.field) if name is not None]
            if finding.place.file != ".":
                file = unquote(physical["artifactLocation"]["uri"]).removeprefix("file://")
                assert file == f"{path}/{finding.place.file}"

    def test_every_rule_has_help(self):
        """A forge can show why and how to fix it, for each rule of the catalogue, found or not."""
        run = check_sarif(sarif([]))
        described = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
        assert set(described) == set(rules())
        for name, rule in rules().items():
            assert rule.fix in described[name]["help"]["text"]
            assert described[name]["defaultConfiguration"]["level"] == rule.severity.value

    def test_an_absolute_path_is_a_file_uri(self):
        """What was typed as an absolute path does not become a relative one."""
        finding = Finding(
            rule="bundle.link", severity="error", place=Place(file="a b"), message="m", found="f", allowed="a", fix="x"
        )
        report = Report(entry="e", edition="demo", findings=(finding,), checks_run=())
        (result,) = sarif([("/x/y z", report)])["runs"][0]["results"]
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "file:///x/y%20z/a%20b"


class TestJunit:
    @given(NAMED)
    def test_counts_what_it_holds(self, reports):
        """A suite an entry, a case a rule; a rule fails exactly where a finding of it is an error."""
        suites = ET.fromstring(junit(reports).partition("\n")[2])  # noqa: S314 - our own text
        assert [suite.get("name") for suite in suites] == [report.entry for _, report in reports]
        for suite, (_, report) in zip(suites, reports, strict=True):
            cases = suite.findall("testcase")
            failed = {case.get("name") for case in cases if case.find("failure") is not None}
            assert int(suite.get("tests")) == len(cases) == len({case.get("name") for case in cases})
            assert int(suite.get("failures")) == len(failed)
            assert failed == {one.rule for one in report.findings if one.severity is Severity.ERROR}
            assert {case.get("name") for case in cases} >= set(report.checks_run)

    @given(REPORTS)
    def test_holds_every_finding(self, report):
        """The text of each finding stands in the case of its rule."""
        suites = ET.fromstring(junit([("a", report)]).partition("\n")[2])  # noqa: S314 - our own text
        said = {case.get("name"): "".join(case.itertext()) for case in suites.iter("testcase")}
        assert all(finding_text(finding) in said[finding.rule] for finding in report.findings)


class TestStrict:
    @given(REPORTS)
    def test_warnings_become_errors(self, report):
        """Nothing is added or lost, no warning is left, and notes stay notes."""
        found = strict(report)
        assert found.count(Severity.WARNING) == 0
        assert found.count(Severity.NOTE) == report.count(Severity.NOTE)
        assert found.count(Severity.ERROR) == report.count(Severity.ERROR) + report.count(Severity.WARNING)
        assert found.findings == sorted_findings(found.findings)
        assert strict(found) == found


class TestSummary:
    @given(st.lists(REPORTS, min_size=1, max_size=5))
    def test_has_a_line_an_entry(self, reports):
        """Name, kind and three counts, aligned under their heads."""
        header, *rows = summary_table(reports).split("\n")
        assert header.split() == ["entry", "kind", "errors", "warnings", "notes"]
        for row, report in zip(rows, reports, strict=True):
            assert row.startswith(report.entry)
            assert row.split()[-4:] == [report.kind, *(str(report.count(severity)) for severity in Severity)]
            assert len(row) == len(header)


class TestText:
    @given(REPORTS)
    def test_holds_every_finding(self, report):
        """Each finding is a block of its own, with place and fix."""
        text = render_text(report)
        for finding in report.findings:
            assert place_text(finding.place) in text
            assert finding.fix in text


class TestExplain:
    @pytest.mark.parametrize("rule", rules().values(), ids=lambda rule: rule.id)
    def test_each_rule_has_a_page(self, rule):
        """What, why and fix; an example is a finding of that very rule."""
        text = page(rule)
        assert all(part in text for part in (rule.id, rule.title, rule.rationale, rule.fix))
        example = rule.example_finding()
        if example is not None:
            assert (example.rule, example.fix, example.severity) == (rule.id, rule.fix, rule.severity)
            assert example.found != example.allowed
            assert finding_text(example) in text

    def test_lists_every_rule_under_its_family(self):
        """One line each, below the name of the family."""
        lines = listing(rules().values()).splitlines()
        family = ""
        seen = []
        for line in lines:
            if line.startswith("  "):
                name = line.split()[0]
                assert name.startswith(f"{family}.")
                seen.append(name)
            elif line:
                family = line
        assert seen == list(rules())

    @pytest.mark.parametrize(
        ("typed", "near"),
        [("precision.dtyp", "precision.dtype"), ("derived_shares", "data.derived_share"), ("dat", "data")],
    )
    def test_a_slip_is_met_with_the_near_name(self, typed, near):
        """A near id, the part after the dot alone, or a near family is enough to be offered it."""
        with pytest.raises(UsageError, match=rf"did you mean.* ?{near}"):
            find_rules(typed)

    def test_a_family_is_all_of_its_rules(self):
        """The name of a family stands for its rules."""
        assert {rule.id for rule in find_rules("track")} == {"track.scratch", "track.lineage"}
