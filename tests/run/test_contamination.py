"""A leak goes from a user's own file through the door into the record, and ends as a finding in its place."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from harness.pico import tasks
from harness.run.filing import assemble, checkpoints_folder, model_result
from harness.run.preparation import prepare
from harness.run.strategy import carry_out
from harness.submission import bundle as bundles
from harness.submission.measurements import Measurements
from harness.validation.run import validate

READING = """
import os
Copy.reads_data = True

@hookimpl
def compress(request):
    reading = request.workdir / "reading"
    count = 0
    for sample in request.data.open("c4"):
        count += 1
        if count == 20 and os.environ.get("KILL_ONCE") and not reading.exists():
            reading.touch()
            os.kill(os.getpid(), 9)
    return StepResult(checkpoint=copied(request, "made"))
"""
PLANTED = 12


@pytest.fixture(scope="module")
def leak(tmp_path_factory):
    """A copy of c4 with questions of gsm8k between its documents, and the tasks that they are from."""
    folder = tmp_path_factory.mktemp("leak")
    tasks.write(folder / "tasks")
    lines = (folder / "tasks" / "data" / "gsm8k" / "test.jsonl").read_text().splitlines()[:PLANTED]
    items = [f"{row['question']} {row['answer']}" for row in map(json.loads, lines)]
    documents = [f"Document {number}. {text}" for text in items for number in range(4)]
    path = folder / "c4.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    return path, folder / "tasks"


@pytest.fixture
def asked(settings, leak):
    return settings.model_copy(update={"data": {"c4": str(leak[0])}, "tasks_data": str(leak[1])})


def filed(prepared, strategy):
    measured = {strategy.final.digest: Measurements(), strategy.model.base.digest: Measurements()}
    result = model_result(prepared, strategy, measured, None, ())
    return assemble(prepared, (strategy,), (result,), dt.date(2026, 11, 24))


class TestRun:
    def test_a_planted_leak_ends_as_a_finding(self, install_copying, asked, workspace, observer, tmp_path):
        """The record counts every planted item at its step, and validation says where; reused, it says the same."""
        install_copying(READING)
        prepared = prepare(asked, workspace)
        bundle = filed(prepared, carry_out(prepared, prepared.models[0], observer))
        (step,) = bundle.ledger.steps
        held = {one.task: (number, one.held_count) for number, one in enumerate(step.overlaps)}
        assert held["gsm8k"][1] == PLANTED
        entry = bundles.write(bundle, tmp_path / bundle.submission.id)
        report = validate(entry, prepared.edition, weights=checkpoints_folder(prepared))
        places = [one.place for one in report.findings if one.rule == "contamination.overlap"]
        assert [(place.file, place.field) for place in places] == [
            ("ledger.json", f"steps.0.overlaps.{held['gsm8k'][0]}.held_count")
        ]
        again = prepare(asked.model_copy(update={"tasks": ("gsm8k",)}), workspace)
        reused = carry_out(again, again.models[0], observer)
        assert observer.finished_labels[-1] == ("compress copy", True)
        assert filed(again, reused).ledger == bundle.ledger

    def test_a_killed_step_files_what_it_would_have_filed(
        self, install_copying, asked, workspace, observer, monkeypatch
    ):
        """Killed in the middle of its reading and tried again, a step has the ledger of one that was left alone."""
        install_copying(READING)
        prepared = prepare(asked, workspace)
        monkeypatch.setenv("KILL_ONCE", "1")
        with pytest.raises(Exception, match="exit code -9"):
            carry_out(prepared, prepared.models[0], observer)
        resumed = carry_out(prepared, prepared.models[0], observer)
        monkeypatch.delenv("KILL_ONCE")
        elsewhere = prepare(asked, type(workspace)(workspace.root.with_name("other")))
        alone = carry_out(elsewhere, elsewhere.models[0], observer)
        assert resumed.steps[0].ledger == alone.steps[0].ledger
        assert resumed.steps[0].ledger.overlaps() == alone.steps[0].ledger.overlaps() != ()

    def test_a_run_that_reads_nothing_looks_for_nothing(self, install_copying, settings, workspace):
        """Where no step opens the door, the sets are not even written."""
        install_copying()
        assert prepare(settings, workspace).evaluation is None
