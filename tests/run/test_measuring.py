"""What is measured is the checkpoint as it is stored, and what the judge kept of it goes into the bundle."""

from __future__ import annotations

import datetime as dt

import pytest

from harness.errors import CheckpointCorrupt
from harness.judge import edge
from harness.run import filing, measuring
from harness.run.measuring import Measuring, Subject
from harness.submission import bundle as bundles
from harness.submission.items import unpack
from harness.submission.provenance import ToolchainRecord
from tests.judge.marking import marking


@pytest.fixture(autouse=True)
def fake_tasks(monkeypatch):
    """Every task with one of five right, and its items where the engine leaves them."""

    def shorter(path, *, package, rule, surroundings, packaging):
        quick = rule.model_copy(update={"prefill_tokens": 8, "decode_tokens": 2, "repeats": 2})
        return edge.measure_for_record(
            path, package=package, rule=quick, surroundings=surroundings, packaging=packaging
        )

    monkeypatch.setattr(measuring, "measure_tasks", marking(right=1, count=5))
    monkeypatch.setattr(measuring, "measure_for_record", shorter)
    monkeypatch.setattr(measuring, "held_out_texts", lambda prepared: _texts(prepared.workspace.root))
    engine = ToolchainRecord(name="none", version="0", pins_digest="2" * 64, packages={})
    monkeypatch.setattr(filing, "toolchain_record", lambda: engine)


class TestMeasure:
    def test_memory_and_speed_are_those_of_the_stored_precision(self, carried_out, observer, demo):
        """An FP16 checkpoint is timed with FP16 weights, on a CPU too: its memory is what the edition limits."""
        prepared, strategy = carried_out()
        subject = Subject(label="llama final", checkpoint=strategy.final, kind="chat", with_performance=True)
        measured = Measuring(prepared, observer).measure([subject])[strategy.final.digest]
        assert measured.performance.dtype == "float16"
        assert len(measured.performance.decode_tokens_per_s_samples) == 2
        assert measured.bits_per_byte.window_tokens == demo.held_out.window_tokens
        assert {measured.performance.checkpoint_digest, measured.bits_per_byte.checkpoint_digest} == {
            strategy.final.digest
        }
        assert Measuring(prepared, observer).measure([subject])[strategy.final.digest] == measured


class TestCompleted:
    def test_the_bundle_has_the_items_and_every_look(self, carried_out, observer):
        """What the engine kept stands in the files that the scores name; every score was a look."""
        prepared, strategy = carried_out()
        subjects = [
            Subject(label=f"llama {role}", checkpoint=checkpoint, kind="chat", with_performance=False)
            for role, checkpoint in filing.story(strategy).items()
        ]
        judge = Measuring(prepared, observer)
        models = (filing.model_result(prepared, strategy, judge.measure(subjects), None, ()),)
        bundle = filing.assemble(prepared, (strategy,), models, dt.date(2026, 11, 24))
        files = bundles.contents(judge.completed(bundle, subjects))
        names = [name for name in files if name.startswith("items/")]
        assert len(names) == len(prepared.tasks) * len(subjects)
        assert all([one.correct for one in unpack(files[name])] == [True, *[False] * 4] for name in names)
        looks = judge.completed(bundle, subjects).ledger.looks
        digests = {subject.checkpoint.digest for subject in subjects}
        assert {(look.task, look.checkpoint_digest) for look in looks} == {
            (task, digest) for task in prepared.tasks for digest in digests
        }

    def test_a_checkpoint_that_was_swapped_since_is_refused(self, carried_out, observer):
        """No figure is filed under the digest of other weights."""
        prepared, strategy = carried_out()
        path = strategy.final.path / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        subject = Subject(label="llama final", checkpoint=strategy.final, kind="chat", with_performance=False)
        with pytest.raises(CheckpointCorrupt, match="was changed since llama final was made"):
            Measuring(prepared, observer).measure([subject])


def _texts(root):
    path = root / "texts.jsonl"
    path.write_text('{"text": "one line"}\n{"text": "another line"}\n')
    return path
