from __future__ import annotations

import subprocess
import sys

import pytest

from harness.errors import UsageError
from harness.rules.edition import load_edition
from harness.rules.finding import Finding, Place, Severity
from harness.validation.catalogue import finding
from harness.validation.check import Check
from harness.validation.render import place_text, render_text
from harness.validation.report import Report
from harness.validation.run import CHECKS, validate


def crash_after_one(entry, edition):
    yield finding("bundle.link", Place(file="a"), "found before the crash", found="a", allowed="b")
    raise ZeroDivisionError("\x1b[2J")


CRASHING = Check(rule="bundle.link", function=crash_after_one)


class TestCrash:
    def test_is_a_finding_and_hides_nothing(self, made):
        """A check that crashes keeps what it found, is named, and every other check still runs."""
        made.set("submission.json", "track", "marathon")
        report = validate(made.path, weights=made.weights, checks=(CRASHING, *CHECKS))
        assert {one.rule for one in report.findings} == {"bundle.link", "validation.check_crashed", "edition.track"}
        crashed = next(one for one in report.findings if one.rule == "validation.check_crashed")
        assert crashed.place == Place(file=".", field="bundle.link")
        assert crashed.found == "ZeroDivisionError: \\x1b[2J"
        assert crashed.severity is Severity.ERROR

    def test_says_nothing_when_all_is_well(self, made):
        """A true bundle has no crashed check."""
        rules = {one.rule for one in validate(made.path).findings}
        assert "validation.check_crashed" not in rules


class TestValidate:
    def test_takes_the_edition_that_is_given(self, made):
        """Held against other rules than its own, an entry is said to be of another edition."""
        report = validate(made.path, load_edition("neurips-2024"), weights=made.weights)
        rules = {one.rule for one in report.findings}
        assert {"edition.mismatch", "edition.track", "edition.notice", "data.allowed"} <= rules
        assert report.edition.startswith("neurips-2024")

    def test_a_part_of_the_track_is_an_error_only_where_entries_compete(self, made):
        """The demo may show one model; an entry of the competition needs all of its track."""

        def keep_llama(record):
            del record["models"][1:]

        made.change("submission.json", keep_llama)
        demo = load_edition("demo")
        for edition, severity in (
            (demo, Severity.WARNING),
            (demo.model_copy(update={"eligible": True}), Severity.ERROR),
        ):
            found = [one for one in validate(made.path, edition).findings if one.rule == "models.complete"]
            assert [one.severity for one in found] == [severity]

    def test_a_part_of_the_tasks_is_an_error_only_where_entries_compete(self, made):
        """The demo may show two tasks; an entry of the competition needs all, and nobody may show none of its items."""

        def keep_two(record):
            for model in record["models"]:
                for result in model["checkpoints"]:
                    del result["measurements"]["evaluation"]["tasks"][2:]

        made.change("submission.json", keep_two)
        demo = load_edition("demo")
        for edition, severity in (
            (demo, Severity.WARNING),
            (demo.model_copy(update={"eligible": True}), Severity.ERROR),
        ):
            found = [one for one in validate(made.path, edition).findings if one.rule == "scores.tasks_complete"]
            assert {one.severity for one in found} == {severity}
            assert len(found) == 3 * (len(demo.tasks) - 2)

    @pytest.mark.parametrize(("number", "broken"), [(2, False), (11, False), (1, True)])
    def test_a_second_entry_of_a_day_has_a_number(self, made, number, broken):
        """The number stands after the team, from 2 on, in the folder's name and in the id."""
        name = made.path.name.replace("-baseline-l1", f".{number}-baseline-l1")
        made.set("submission.json", "id", name)
        report = validate(made.path.rename(made.path.with_name(name)), weights=made.weights)
        assert ("bundle.folder_name" in {one.rule for one in report.findings}) is broken

    def test_the_same_entry_gives_the_same_report(self, made):
        """Findings come in one order, whatever the order of checks."""
        made.set("submission.json", "track", "marathon")
        made.set("submission.json", "notice", "")
        forward = validate(made.path, weights=made.weights)
        backward = validate(made.path, weights=made.weights, checks=CHECKS[::-1])
        assert forward.findings == backward.findings

    def test_weights_are_found_by_their_bytes(self, made):
        """A checkpoint that was moved within the named folder is still the same checkpoint."""
        (made.weights / "llama").rename(made.weights / "elsewhere")
        assert validate(made.path, weights=made.weights).findings == ()

    @pytest.mark.parametrize("location", ["../../../weights/llama/final", "/etc", "a/../llama/final", "..", ""])
    def test_a_location_never_leads_out(self, made, location):
        """Only what lies inside the named folder is looked at; elsewhere counts as missing."""
        made.set("submission.json", "models.0.checkpoints.2.checkpoint.location", location)
        report = validate(made.path)
        assert "weights.missing" in {one.rule for one in report.findings}
        assert not report.has_errors

    def test_what_is_no_folder_is_a_usage_error(self, tmp_path):
        """Nothing to validate is the user's slip, with the path in the message."""
        with pytest.raises(UsageError, match="nowhere"):
            validate(tmp_path / "nowhere")

    def test_an_empty_folder_lacks_every_file(self, tmp_path):
        """An empty folder is an entry without its files, under an edition that is assumed."""
        report = validate(tmp_path)
        assert {one.rule for one in report.findings} == {"bundle.required_files", "edition.assumed"}
        assert report.count(Severity.ERROR) == len(load_edition("demo").required_files)

    def test_torch_is_not_imported(self, made):
        """Validation needs no torch, transformers or datasets."""
        code = (
            "import sys; from pathlib import Path; from harness.validation.run import validate;"
            "validate(Path(sys.argv[1]), weights=Path(sys.argv[2]));"
            "sys.exit(bool({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
        )
        run = subprocess.run([sys.executable, "-c", code, made.path, made.weights], check=False)
        assert run.returncode == 0


class TestReport:
    def test_a_plugin_can_add_and_never_remove(self, made):
        """A plugin's findings stand beside the harness's, in the common order."""
        report = validate(made.path)
        own = Finding(
            rule="my-plugin.width",
            severity=Severity.ERROR,
            place=Place(file="recipe.json"),
            message="too wide",
            found="9",
            allowed="8",
            fix="narrow it",
        )
        more = report.with_findings([own])
        assert more.findings == (own, *report.findings)
        assert more.has_errors

    def test_survives_json(self, made):
        """What ``--json`` prints is the report."""
        report = validate(made.path)
        assert Report.model_validate_json(report.model_dump_json()) == report

    def test_text_names_rule_place_found_allowed_and_fix(self, made):
        """The text holds everything that a finding holds, and one line that sums up."""
        made.set("submission.json", "track", "marathon")
        report = validate(made.path)
        text = render_text(report)
        for one in report.findings:
            assert {one.rule, place_text(one.place), one.found, one.allowed, one.fix} <= {
                part for line in text.splitlines() for part in _parts(line)
            }
        assert text.splitlines()[-1].endswith("1 error, 3 warnings")


def _parts(line):
    """The words and the rest of a line of the report, as the columns have them."""
    words = line.split(maxsplit=2)
    return [*words, *(line.strip().split("  ", 1)[-1:]), line.strip().partition(" ")[2].strip()]
