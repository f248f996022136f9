"""Results of tasks: measured once for what they depend on, again for anything else, and every run in the ledger."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from harness.containment import Limits
from harness.errors import MeasurementFailed, UsageError
from harness.judge import evaluation_key
from harness.judge.evaluation_key import Setting
from harness.judge.evaluations import Asked, Evaluations, assemble
from harness.judge.measure import Surroundings
from harness.judge.opencompass import TaskModel, items_path
from harness.rules.edition import load_edition
from harness.run.digests import DigestMemory
from harness.run.workspace import Workspace
from harness.submission.items import pack, unpack
from harness.submission.looks import read_looks
from harness.submission.measurements import Evaluation, ItemRecord, TaskScore

RULES = load_edition("demo").tasks
DATA = ("data/gsm8k/train.jsonl", "data/gsm8k/test.jsonl", "data/FewCLUE/chid/test_public.json")


class Silent:
    """An observer that keeps what was said to be finished."""

    def __init__(self):
        self.said = []

    def section(self, title, detail=""):
        pass

    def started(self, label):
        pass

    def event(self, event):
        pass

    def finished(self, label, result, _duration_s, *, reused):
        self.said.append((label, result, reused))


class Engine:
    """Scores by the first byte of the weights, and remembers what it was asked."""

    def __init__(self):
        self.calls = []
        self.fails = False
        self.journals = []

    def __call__(self, request, surroundings):
        surroundings.work_dir.mkdir(parents=True, exist_ok=True)
        self.calls.append(([model.label for model in request.models], list(request.tasks)))
        self.journals.append(request.journal_dir)
        request.journal_dir.mkdir(parents=True, exist_ok=True)
        (request.journal_dir / "batch").touch()
        if self.fails:
            raise MeasurementFailed("stopped half-way")
        return tuple(self._evaluation(request, model, surroundings.work_dir) for model in request.models)

    def _evaluation(self, request, model, work_dir):
        right = round(float(load_file(model.checkpoint.path / "model.safetensors")["w"][-1])) % 5
        rows = [ItemRecord(subset="s", index=n, prediction=f"{n}", correct=n < right) for n in range(4)]
        for task in request.tasks:
            items_path(work_dir, model.checkpoint.digest, task).write_bytes(pack(rows))
        return Evaluation(
            engine="fake",
            engine_version="1",
            suite=request.suite,
            tasks=tuple(
                TaskScore(
                    task=name,
                    column=rule.column,
                    metric=rule.metric,
                    scale=rule.scale,
                    score=25.0 * right,
                    item_count=4,
                )
                for name, rule in request.tasks.items()
            ),
            checkpoint_digest=model.checkpoint.digest,
        )


@pytest.fixture
def data(tmp_path):
    for name in DATA:
        path = tmp_path / "data-folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")
    return tmp_path / "data-folder"


def write_weights(folder, last):
    """A checkpoint of one tensor; the fake engine scores by its last number."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    save_file({"w": np.array([0] * 9 + [last], dtype=np.float16)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def weights(tmp_path):
    folder = tmp_path / "checkpoint"
    return write_weights(folder, 2)


class Bench:
    """The judge at one workspace; ``score`` is one command."""

    def __init__(self, root, data):
        self.workspace = Workspace(root)
        self.engine, self.observer = Engine(), Silent()
        self.setting = Setting(
            suite="demo", tasks={"gsm8k": RULES["gsm8k"]}, data=data, limit=None, seed=0, device="cpu"
        )

    @property
    def judge(self):
        limits = Limits(time_s=1, memory_bytes=1)
        return Evaluations(
            workspace=self.workspace,
            memory=DigestMemory(self.workspace),
            observer=self.observer,
            surroundings=lambda folder: Surroundings(work_dir=folder, limits=limits, on_event=self.observer.event),
            measure=self.engine,
        )

    def asked(self, folder, base="llama"):
        checkpoint = DigestMemory(self.workspace).checkpoint(folder)
        return Asked(model=TaskModel(label=folder.name, checkpoint=checkpoint, kind="chat"), base=base)

    def score(self, *folders, tasks=("gsm8k",), **changed):
        setting = replace(self.setting, tasks={name: RULES[name] for name in tasks}, **changed)
        return self.judge.evaluate([self.asked(folder) for folder in folders], setting)

    def looks(self):
        return [(look.model, look.task, look.item_limit) for look in read_looks(self.workspace.looks)]


@pytest.fixture
def bench(tmp_path, data):
    return Bench(tmp_path / "workspace", data)


class TestReuse:
    def test_one_more_task_costs_one_task(self, bench, weights):
        """What is there is not measured again, and is said to be reused."""
        bench.score(weights)
        found = bench.score(weights, tasks=("gsm8k", "chid"))
        assert bench.engine.calls == [(["checkpoint"], ["gsm8k"]), (["checkpoint"], ["chid"])]
        assert {task: one.reused for (_, task), one in found.items()} == {"gsm8k": True, "chid": False}
        bench.score(weights, tasks=("chid", "gsm8k"))
        assert len(bench.engine.calls) == 2
        assert bench.observer.said[-1][2]

    def test_weights_swapped_in_place_are_scored_again(self, bench, weights, tmp_path):
        """Same path, name, size and times; one byte differs, and the new score is that of the new weights."""
        file = weights / "model.safetensors"
        (before,) = bench.score(weights).values()
        status = file.stat()
        first, second = file.read_bytes(), write_weights(tmp_path / "other", 3).joinpath(file.name).read_bytes()
        assert len(first) == len(second)
        with file.open("r+b") as stream:
            stream.write(second)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        (after,) = bench.score(weights).values()
        assert (before.result.score.score, after.result.score.score) == (50.0, 75.0)
        with file.open("r+b") as stream:
            stream.write(first)
        assert next(iter(bench.score(weights).values())).reused

    @pytest.mark.parametrize(
        "changed",
        [
            {"limit": 3},
            {"seed": 1},
            {"engine": "stock"},
            {"early_stop": False},
            {"device": "cuda"},
            {"suite": "official"},
        ],
        ids=lambda changed: next(iter(changed)),
    )
    def test_another_setting_is_another_result(self, bench, weights, changed):
        """And the first is still there."""
        bench.score(weights)
        bench.score(weights, **changed)
        bench.score(weights)
        assert len(bench.engine.calls) == 2

    def test_another_gpu_of_the_same_kind_is_the_same(self, bench, weights):
        """The class of the device counts, not its number."""
        bench.score(weights, device="cuda:0")
        bench.score(weights, device="cuda:1")
        assert len(bench.engine.calls) == 1

    def test_only_the_task_whose_data_changed_is_scored_again(self, bench, weights, data):
        """A task depends on its own files."""
        bench.score(weights, tasks=("gsm8k", "chid"))
        (data / DATA[1]).write_text('{"other": 1}\n')
        bench.score(weights, tasks=("gsm8k", "chid"))
        assert bench.engine.calls[1:] == [(["checkpoint"], ["gsm8k"])]

    @pytest.mark.parametrize("what", ["scoring_digest", "pins"])
    def test_other_code_or_pins_are_another_result(self, bench, weights, monkeypatch, what):
        """A changed scorer or a changed library makes every result anew."""
        bench.score(weights)
        if what == "pins":
            monkeypatch.setattr("harness.toolchains.catalogue.Toolchain.pins_digest", lambda _self: "other")
        else:
            monkeypatch.setattr(evaluation_key, "scoring_digest", lambda: "other")
        bench.score(weights)
        assert len(bench.engine.calls) == 2

    def test_checkpoints_that_miss_the_same_share_a_call(self, bench, weights, tmp_path):
        """One import of the engine for all of them, and the same bytes under two names are one."""
        other, twin = write_weights(tmp_path / "other", 4), write_weights(tmp_path / "twin", 2)
        found = bench.score(weights, other, twin)
        assert bench.engine.calls == [(["checkpoint", "other"], ["gsm8k"])]
        assert sorted(one.result.score.score for one in found.values()) == [50.0, 100.0]

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_weights_that_are_no_numbers_are_refused(self, bench, tmp_path, value):
        """Before the engine starts, with the tensor named; no look, for nothing was scored."""
        with pytest.raises(MeasurementFailed, match=r"NaN or infinite.*w: 1 in model\.safetensors"):
            bench.score(write_weights(tmp_path / "broken", value))
        assert (bench.engine.calls, bench.looks()) == ([], [])

    def test_missing_data_is_said_before_the_engine_starts(self, bench, weights, data):
        """With the path of the file."""
        (data / DATA[2]).unlink()
        with pytest.raises(UsageError, match=r"test_public\.json"):
            bench.score(weights, tasks=("gsm8k", "chid"))
        assert bench.engine.calls == []


class TestItems:
    def test_are_kept_with_the_result(self, bench, weights):
        """New or reused, they are where the result says."""
        for _ in range(2):
            (one,) = bench.score(weights).values()
            assert [item.correct for item in unpack(one.items.read_bytes())] == [True, True, False, False]

    def test_stored_finds_them_without_measuring(self, bench, weights):
        """Nothing is measured for a look into the workspace."""
        asked = bench.asked(weights)
        assert bench.judge.stored(asked.model, bench.setting) == {}
        bench.score(weights)
        assert set(bench.judge.stored(asked.model, bench.setting)) == {"gsm8k"}
        assert len(bench.engine.calls) == 1


class TestAssemble:
    def test_is_one_evaluation_in_the_order_of_the_tasks(self, bench, weights):
        """Whatever order they were measured in."""
        bench.score(weights, tasks=("chid",))
        setting = replace(bench.setting, tasks={name: RULES[name] for name in ("gsm8k", "chid")}, limit=None)
        found = bench.judge.evaluate([bench.asked(weights)], setting)
        evaluation = assemble(bench.asked(weights).model, setting, found)
        assert [score.task for score in evaluation.tasks] == ["gsm8k", "chid"]
        assert (evaluation.engine, evaluation.model_class, evaluation.early_stop) == ("fake", "fast", True)


class TestResume:
    def test_a_failure_keeps_no_result_and_the_next_try_has_the_journal(self, bench, weights):
        """The same request finds its batches; when its results are kept, the journal is gone."""
        bench.engine.fails = True
        with pytest.raises(MeasurementFailed):
            bench.score(weights, tasks=("gsm8k", "chid"))
        assert bench.looks() == []
        assert (bench.engine.journals[0] / "batch").is_file()
        bench.engine.fails = False
        bench.score(weights, tasks=("gsm8k", "chid"))
        assert bench.engine.journals[0] == bench.engine.journals[1]
        assert not bench.engine.journals[0].exists()

    def test_another_request_has_another_journal(self, bench, weights):
        """Batches of one are never taken for another's."""
        bench.engine.fails = True
        for limit in (1, 2):
            with pytest.raises(MeasurementFailed):
                bench.score(weights, limit=limit)
        assert bench.engine.journals[0] != bench.engine.journals[1]


class TestLooks:
    def test_a_run_is_a_look_and_showing_it_again_is_none(self, bench, weights):
        """A look a task, with the limit that it was taken under."""
        for _ in range(2):
            bench.score(weights, tasks=("gsm8k", "chid"))
        assert bench.looks() == [("llama", "gsm8k", None), ("llama", "chid", None)]
        bench.score(weights, limit=2)
        assert bench.looks()[2:] == [("llama", "gsm8k", 2)]

    def test_what_is_shown_stands_in_the_ledger(self, bench, weights):
        """A result whose look was lost is entered when it is shown, so that no score is without one."""
        bench.score(weights)
        bench.workspace.looks.unlink()
        bench.score(weights)
        assert bench.looks() == [("llama", "gsm8k", None)]
        assert len(bench.engine.calls) == 1

    def test_a_broken_ledger_stops_the_evaluation(self, bench, weights):
        """Nothing is scored that could not be entered."""
        bench.score(weights)
        line = json.loads(bench.workspace.looks.read_text())
        bench.workspace.looks.write_text(json.dumps(line | {"task": "chid"}) + "\n")
        with pytest.raises(UsageError, match="does not follow"):
            bench.score(weights, limit=1)
        assert len(bench.engine.calls) == 1


class TestScoringDigest:
    def test_covers_what_decides_a_score(self):
        """Every named part is there, except what another part of the harness may lack."""
        root = Path(evaluation_key.__file__).parents[1]
        assert [part for part in evaluation_key.SCORING_CODE if not (root / part).exists()] in ([], ["sandbox"])
