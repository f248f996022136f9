"""What ``harness submit`` answers: its own checkpoints, and other entries beside them."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from harness.cli.beside import entries_named, shown_beside
from harness.cli.outcome import print_outcome
from harness.errors import UsageError
from harness.run.pipeline import Outcome
from harness.run.settings import SubmitSettings
from harness.validation.entry import open_entry
from harness.validation.run import validate
from tests.ranking.make import file_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("outcome")
    for seed, (team, share) in enumerate({"mine": 0.7, "other": 0.3}.items()):
        file_bundle(root / "submissions" / "demo", team, seed=seed, share=share, weights=root / team)
    return root / "submissions"


@pytest.fixture
def outcome(folder):
    bundle = folder / "demo" / "2026-11-22-mine-baseline-l1"
    submission = open_entry(bundle).submission
    return Outcome(run="r", bundle=bundle, number=1, filed=True, submission=submission, report=validate(bundle))


def settings(folder, **changed):
    return SubmitSettings(plugin="nics", out=str(folder), time_limit_s=1, memory_limit_bytes=1, **changed)


class TestBeside:
    def test_one_more_row_and_its_day(self, folder, outcome, capsys):
        """The baseline's newest, without being asked, below what is the entry's own."""
        print_outcome(outcome, shown_beside(outcome, [], settings(folder)), as_json=False)
        shown = capsys.readouterr().out
        assert shown.count("baseline-l1, 2026-11-22") == 3
        rows = [line for line in shown.splitlines() if line.startswith(("dense", "pruned", "baseline-l1, "))]
        assert [row.split("  ")[0] for row in rows[:5]] == [
            "dense",
            "pruned",
            "pruned, recovered",
            "dense, trained as long",
            "baseline-l1, 2026-11-22",
        ]

    def test_nothing_was_pruned(self, outcome, capsys):
        """Where no step compresses, the words are those of training."""
        models = tuple(
            model.model_copy(update={"steps": tuple(step for step in model.steps if step.stage != "compress")})
            for model in outcome.submission.models
        )
        trained = replace(outcome, submission=outcome.submission.model_copy(update={"models": models}))
        print_outcome(trained, as_json=False)
        shown = capsys.readouterr().out
        assert "before training" in shown
        assert "pruned, recovered" not in shown

    def test_json_keeps_it_apart(self, folder, outcome, capsys):
        """The submission is as it is without it."""
        alone, together = (
            json.loads((print_outcome(outcome, others, as_json=True), capsys.readouterr().out)[1])
            for others in ((), shown_beside(outcome, [], settings(folder)))
        )
        assert alone.pop("beside") == []
        assert {one["entry"] for one in together.pop("beside")} == {"2026-11-22-other-baseline-l1"}
        assert alone == together

    def test_who_is_named_is_shown_alone(self, folder, outcome):
        """As often as it is named; on other tracks nothing is looked for."""
        asked = settings(folder)
        own = entries_named([outcome.bundle], asked)
        assert {one.entry for one in shown_beside(outcome, own, asked)} == {outcome.bundle.name}
        elsewhere = asked.model_copy(update={"track": "compression"})
        assert shown_beside(SimpleNamespace(bundle=None), [], elsewhere) == ()

    def test_another_number_of_items_is_an_error_before_the_run(self, folder, outcome):
        """And says what is asked here and was asked there."""
        with pytest.raises(UsageError, match="all there, the first 4 here"):
            entries_named([outcome.bundle], settings(folder, limit=4))

    def test_why_an_entry_is_not_shown(self, folder, outcome, capsys):
        """In its place."""
        (first, *_) = shown_beside(outcome, [], settings(folder))
        refused = first.model_copy(update={"result": None, "refused": ("base model: weights a there, b here",)})
        print_outcome(outcome, [refused], as_json=False)
        shown = capsys.readouterr().out
        assert "not shown beside it: 2026-11-22-other-baseline-l1: base model" in shown
        assert "baseline-l1, 2026-11-22" not in shown
