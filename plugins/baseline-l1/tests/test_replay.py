"""The baseline run again from its lock file: bit for bit the same, or different from the step on that was changed."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

import harness
from harness.cli import replay as command
from harness.containment import Limits
from harness.run import filing
from harness.run.code import harness_folder, tree_digest
from harness.run.observer import Observer
from harness.run.preparation import prepare
from harness.run.settings import SubmitSettings
from harness.run.strategy import carry_out
from harness.run.workspace import Workspace
from harness.submission.provenance import CodeRecord, EditionRecord, Lock

LIMITS = Limits(time_s=600, memory_bytes=4 << 30)


class Silent(Observer):
    """Nobody watches."""

    def section(self, title, detail=""):
        pass

    def started(self, label):
        pass

    def event(self, event):
        pass

    def finished(self, label, result, duration_s, *, reused):
        pass


def locked(prepared, strategy):
    """The lock file of a run, without its measurements."""
    edition = prepared.edition
    return Lock(
        harness=CodeRecord(name="h", version=harness.__version__, code_digest=tree_digest([harness_folder()])),
        plugin=CodeRecord(name="p", version="0.1.0", code_digest=prepared.plugin_digest),
        edition=EditionRecord(id=edition.id, version=edition.version, rules_digest=edition.content_digest()),
        platform=filing.platform_record(prepared),
        packages={},
        seeds={"submission": 3},
        digests=filing._digests((strategy,)),
        recipe=filing.recipe_record(prepared, (strategy,)),
    )


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Where the original run stands: its steps, and the lock file that a bundle would have."""
    root = tmp_path_factory.mktemp("first")
    settings = SubmitSettings(
        plugin="baseline-l1",
        seed=3,
        overrides=("lora.optimizer_steps=4", "lora.batch_windows=4"),
        time_limit_s=LIMITS.time_s,
        memory_limit_bytes=LIMITS.memory_bytes,
    )
    prepared = prepare(settings, Workspace(root))
    locked(prepared, carry_out(prepared, prepared.models[0], Silent())).write(root / "lock.json")
    return root


@pytest.fixture
def replay(first, tmp_path):
    """``harness replay`` of that lock file, in a folder of its own."""
    app = typer.Typer()
    command.register(app)

    def run(*words):
        given = (first / "lock.json", "--workspace", tmp_path / "again", "--originals", first / "steps", *words)
        return CliRunner().invoke(app, [*map(str, given), "--json", "--quiet"])

    return run


@pytest.mark.slow
class TestReplay:
    def test_compression_and_training_come_out_the_same(self, replay):
        """On the embedded model: channels cut, adapters trained and merged, the control trained as long."""
        done = replay()
        assert done.exit_code == 0, done.exception
        found = json.loads(done.stdout)
        assert found["identical"]
        assert found["changes"] == []
        assert [step["step"] for step in found["steps"]] == ["base", "1 compress l1", "2 train lora", "control"]
        assert all(step["same"] for step in found["steps"])

    def test_a_changed_option_is_said_and_its_step_is_the_first_that_differs(self, replay):
        """The pruned model is as it was; the one trained at another rate is not, from a tensor on that is named."""
        done = replay("--set", "lora.learning_rate=1e-3")
        assert done.exit_code == 4
        found = json.loads(done.stdout)
        assert [change["what"] for change in found["changes"]] == ["llama step 2 (train lora): learning_rate"]
        assert [step["same"] for step in found["steps"]] == [True, True, False, False]
        assert found["first"]["step"] == "2 train lora"
        spot = found["first"]["spot"]
        assert spot["tensor"]
        assert spot["then"] != spot["now"]
