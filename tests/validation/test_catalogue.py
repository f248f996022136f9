"""Every rule of the catalogue is broken somewhere, found there and only there, and silent on what is sound."""

from __future__ import annotations

import pytest

from harness.rules.finding import Severity
from harness.testing.tiny import write_tiny_checkpoint
from harness.validation.catalogue import MAX_SHOWN_CHARACTERS, rules, show
from harness.validation.run import CHECKS, validate
from tests.validation.violations import VIOLATIONS as COMMON_VIOLATIONS
from tests.validation.violations_foreign import ALWAYS, FOREIGN_VIOLATIONS, elsewhere
from tests.validation.violations_mlc import MLC_VIOLATIONS, pair
from tests.validation.violations_record import RECORD_VIOLATIONS
from tests.validation.violations_weights import WEIGHTS_VIOLATIONS

VIOLATIONS = COMMON_VIOLATIONS | RECORD_VIOLATIONS | FOREIGN_VIOLATIONS | WEIGHTS_VIOLATIONS | MLC_VIOLATIONS

SAID_BY_THE_RUN = {"edition.assumed", "validation.check_crashed"}
"""Rules that ``run`` itself reports; the latter is broken in ``test_run``."""

CASES = [
    pytest.param(rule, violation, id=f"{rule}-{number}")
    for rule, violations in VIOLATIONS.items()
    for number, violation in enumerate(violations)
]


def exact(place, expected):
    """Whether ``place`` is the expected one; an offset of -1 stands for any."""
    if expected.byte_offset == -1 and place.byte_offset is not None:
        place = place.model_copy(update={"byte_offset": -1})
    return place == expected


class TestRules:
    def test_each_is_broken_by_a_fixture(self):
        """A rule without a violating fixture fails here."""
        assert set(rules()) - {"validation.check_crashed"} == set(VIOLATIONS)

    def test_each_has_exactly_one_check(self):
        """The catalogue and the checks name the same rules."""
        assert sorted(check.rule for check in CHECKS) == sorted(set(rules()) - SAID_BY_THE_RUN)

    @pytest.mark.parametrize("rule", rules().values(), ids=lambda rule: rule.id)
    def test_each_explains_itself(self, rule):
        """Family, title, rationale and fix are there, for people."""
        assert rule.family
        assert rule.id.count(".") == 1
        assert min(len(rule.title), len(rule.rationale), len(rule.fix)) > 10


class TestViolations:
    @pytest.mark.parametrize(("rule", "violation"), CASES)
    def test_found_at_the_exact_place(self, made, rule, violation):
        """The violation is found where it is, with the catalogue's fix, and no other rule is disturbed."""
        violation.breaks(made)
        report = validate(made.path, weights=made.weights)
        found = [finding for finding in report.findings if finding.rule == rule]
        assert len(found) == len(violation.places), report.findings
        assert all(exact(one.place, place) for one, place in zip(found, violation.places, strict=True)), found
        assert {one.rule for one in report.findings} == {rule} | violation.also
        assert all(one.fix == rules()[rule].fix for one in found)
        assert all(one.found != one.allowed for one in found)

    def test_a_true_bundle_breaks_nothing(self, made):
        """Every check runs on the clean fixture and none speaks."""
        report = validate(made.path, weights=made.weights)
        assert report.findings == ()
        assert set(report.checks_run) == set(rules()) - SAID_BY_THE_RUN

    def test_a_bundle_alone_is_valid_with_a_warning(self, made):
        """Without the checkpoints nothing is broken; each final one is said to be out of reach."""
        report = validate(made.path)
        assert not report.has_errors
        assert [finding.rule for finding in report.findings] == ["weights.missing"] * 3
        assert {finding.severity for finding in report.findings} == {Severity.WARNING}


class TestPackages:
    def test_a_true_package_beside_its_checkpoint_breaks_nothing(self, made):
        """The pair that the violations change, unchanged; and a checkpoint of something else beside it is no fault."""
        folder = elsewhere(made, pair())
        assert {one.rule for one in validate(folder).findings} == ALWAYS
        write_tiny_checkpoint("qwen2", folder / "other")
        assert {one.rule for one in validate(folder).findings} == ALWAYS


class TestNearMisses:
    @pytest.mark.parametrize(
        ("field", "value", "rule"),
        [
            ("models.0.checkpoints.2.measurements.performance.peak_memory_bytes", 11_999_999_999, "memory.limit"),
            ("models.0.parameter_budget", 320, "structure.budget"),
            ("models.0.checkpoints.2.measurements.evaluation.tasks.0.score", 100.0, "scores.range"),
            ("models.0.checkpoints.2.measurements.evaluation.tasks.5.score", 1.0, "scores.range"),
            ("models.0.checkpoints.2.measurements.evaluation.tasks.0.score", 0.0, "scores.range"),
            ("models.0.checkpoints.2.measurements.bits_per_byte.standard_error", 0.0, "measurement.range"),
            ("models.1.steps.0.notes.text", "either/or, and 1/2", "bundle.machine_path"),
            ("models.1.steps.0.notes.text", "https://example.org/a/b", "bundle.machine_path"),
            ("models.1.steps.0.notes.text", "models/llama/final", "bundle.machine_path"),
        ],
    )
    def test_the_last_allowed_value_is_allowed(self, made, field, value, rule):
        """What lies just inside a bound is not flagged."""
        made.set("submission.json", field, value)
        report = validate(made.path, weights=made.weights)
        assert rule not in {finding.rule for finding in report.findings}


class TestShow:
    def test_one_printable_line(self):
        """Whatever a stranger wrote, a finding shows one short printable line."""
        shown = show("\x1b[31m\n" + "x" * 1000 + "\ud800")
        assert shown.isprintable()
        assert len(shown) <= MAX_SHOWN_CHARACTERS
        shown.encode()
