"""The baseline run twice from its lock file: bit for bit the same."""

from __future__ import annotations

import pytest

import harness
from harness.containment import Limits
from harness.run import filing
from harness.run.code import harness_folder, tree_digest
from harness.run.observer import Observer
from harness.run.preparation import prepare
from harness.run.replay import Asked, prepare_replay, rerun
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


@pytest.mark.slow
class TestReplay:
    def test_compression_and_training_come_out_the_same(self, tmp_path):
        """On the embedded model: channels cut, adapters trained and merged."""
        settings = SubmitSettings(
            plugin="baseline-l1",
            seed=3,
            control=False,
            overrides=("lora.optimizer_steps=4",),
            time_limit_s=LIMITS.time_s,
            memory_limit_bytes=LIMITS.memory_bytes,
        )
        prepared = prepare(settings, Workspace(tmp_path / "first"))
        lock = locked(prepared, carry_out(prepared, prepared.models[0], Silent()))
        found = rerun(prepare_replay(lock, Asked(limits=LIMITS), Workspace(tmp_path / "again")), Silent())
        assert [step.same for step in found.steps] == [True, True, True]
