"""The judge's host side of OpenCompass, against a worker of a few lines that does what a test says."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.checkpoint.checkpoint import Checkpoint
from harness.containment import Limits
from harness.errors import MeasurementFailed
from harness.judge import opencompass
from harness.judge.measure import Surroundings
from harness.judge.opencompass import TaskModel, TasksRequest, measure_tasks
from harness.judge.scores import WorkerRequest
from harness.rules.edition import TaskRule
from harness.toolchains.catalogue import opencompass as real_toolchain
from harness.toolchains.environment import Environment, EnvironmentRecord
from harness.toolchains.opencompass.worker.request import read_request

GSM8K = TaskRule(column="GSM8K", metric="accuracy", scale=100, configuration="demo_gsm8k")
BBH = TaskRule(column="BIG-Bench-Hard", metric="naive_average", scale=100, configuration="demo_bbh")

WORKER = """
import json, os, sys
request = json.load(open(sys.argv[1]))
subset = {"name": "gsm8k", "metrics": {"accuracy": 40.0}, "item_count": 5, "config": "demo_gsm8k",
          "version": "0a1b2c", "predictions_path": "predictions/x.json", "empty_count": 0}
task = {"subsets": [subset], "score": 40.0, "metric": "accuracy", "scale": 100, "item_count": 5}
result = {"versions": {"opencompass": "0.5.4"}, "durations_s": {},
          "models": {model["name"]: {"gsm8k": task} for model in request["models"]}}
def say(**event):
    print(json.dumps(event), flush=True)
def write():
    json.dump(result, open(request["result"], "w"))
"""


@pytest.fixture(autouse=True)
def worker(tmp_path, monkeypatch):
    """Sets what the worker does after the lines above."""
    folder = tmp_path / "toolchain"
    (folder / "worker").mkdir(parents=True)
    (folder / "worker" / "__init__.py").touch()
    (tmp_path / "environment" / "bin").mkdir(parents=True)
    (tmp_path / "environment" / "bin" / "python").symlink_to(sys.executable)
    record = EnvironmentRecord(
        toolchain="opencompass", pins_digest="0", python="3", made_by="uv", packages={"a": "1"}, metadata_folders=()
    )
    environment = Environment(folder=tmp_path / "environment", record=record)
    monkeypatch.setattr(opencompass, "opencompass", lambda: replace(real_toolchain(), folder=folder))
    monkeypatch.setattr(opencompass, "ensure", lambda _toolchain, **_named: environment)

    def does(code):
        (folder / "worker" / "__main__.py").write_text(f"{WORKER}\n{code}\n")

    does("write()")
    return does


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text('{"max_position_embeddings": 256}')
    return Checkpoint.of(folder)


@pytest.fixture
def surroundings(tmp_path):
    limits = Limits(time_s=30, memory_bytes=16 << 30)
    return Surroundings(work_dir=tmp_path / "work", limits=limits, on_event=lambda _event: None, threads=2)


def request_for(*checkpoints, tasks=None):
    """One model per checkpoint."""
    models = [TaskModel(label=f"llama {index}", checkpoint=one, kind="chat") for index, one in enumerate(checkpoints)]
    return TasksRequest(
        models=tuple(models), suite="demo", tasks=tasks or {"gsm8k": GSM8K}, data=Path(), limit=5, seed=7
    )


class TestMeasureTasks:
    def test_gives_an_evaluation_for_each_model_in_order(self, worker, checkpoint, surroundings):
        """With the engine, the digest of what was loaded, and the edition's own words for the task."""
        other = replace(checkpoint, digest="b" * 64)
        worker(
            "other = {**subset, 'metrics': {'accuracy': 20.0}}\n"
            "name = request['models'][1]['name']\n"
            "result['models'][name]['gsm8k'] = {**task, 'score': 20.0, 'subsets': [other]}; write()"
        )
        first, second = measure_tasks(request_for(checkpoint, other), surroundings)
        assert (first.checkpoint_digest, second.checkpoint_digest) == (checkpoint.digest, other.digest)
        assert (first.engine, first.engine_version, first.suite, first.item_limit) == (
            "opencompass",
            "0.5.4",
            "demo",
            5,
        )
        assert (first.tasks[0].column, first.tasks[0].score, first.tasks[0].item_count) == ("GSM8K", 40.0, 5)
        assert second.tasks[0].score == 20.0

    def test_a_bbh_subset_counts_by_its_score(self, worker, checkpoint, surroundings):
        """The metric of the task is the mean, the metric of its parts is not."""
        worker(
            "subset['metrics'] = {'score': 60.0}; task['metric'] = 'naive_average'; task['score'] = 60.0\n"
            "result['models'] = {m['name']: {'bbh': task} for m in request['models']}; write()"
        )
        (evaluation,) = measure_tasks(request_for(checkpoint, tasks={"bbh": BBH}), surroundings)
        assert evaluation.tasks[0].subsets[0].score == 60.0

    def test_hands_progress_on(self, worker, checkpoint, surroundings):
        """Whoever watches sees the worker's own events."""
        events = []
        worker("say(event='progress', label='llama gsm8k', done=1, total=5, detail=''); write()")
        measure_tasks(request_for(checkpoint), replace(surroundings, on_event=events.append))
        assert [event["label"] for event in events] == ["llama gsm8k"]

    def test_the_worker_reads_what_the_host_wrote(self, checkpoint, surroundings):
        """Both sides of the file agree on every field, although they share no code."""
        measure_tasks(request_for(checkpoint), surroundings)
        path = surroundings.work_dir / "request.json"
        asked, read = WorkerRequest.read(path), read_request(path)
        assert set(WorkerRequest.model_fields) == set(read.__slots__) - {"keep_tokens", "itemised"}
        assert (read.engine, read.early_stop, read.weak_sandbox) == ("fast", True, False)
        assert (read.tasks, read.limit, read.seed) == (asked.tasks, 5, 7)
        assert read.models[0].context() == 256
        assert read.prompts["gsm8k"] == "{question}"

    def test_the_worker_sees_no_secret(self, worker, checkpoint, surroundings, monkeypatch):
        """It executes what a model wrote."""
        monkeypatch.setenv("HF_TOKEN", "secret")
        monkeypatch.setenv("MY_PASSWORD", "secret")
        worker("json.dump(dict(os.environ), open(request['work_dir'] + '/seen.json', 'w')); write()")
        measure_tasks(request_for(checkpoint), surroundings)
        seen = json.loads((surroundings.work_dir / "seen.json").read_text())
        assert "secret" not in seen.values()
        assert Path(seen["HOME"]).is_relative_to(surroundings.work_dir.resolve())
        assert seen["CUDA_VISIBLE_DEVICES"] == ""

    def test_nothing_of_an_earlier_evaluation_is_left(self, worker, checkpoint, surroundings):
        """OpenCompass takes predictions that stand there for done."""
        stale = surroundings.work_dir / "predictions" / "llama-0" / "gsm8k.json"
        stale.parent.mkdir(parents=True)
        stale.write_text("{}")
        worker("assert not os.path.exists(request['work_dir'] + '/predictions') and os.listdir() == []; write()")
        measure_tasks(request_for(checkpoint), surroundings)

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            pytest.param(
                "say(event='failed', message='task data missing: x.jsonl'); sys.exit(3)", "x.jsonl", id="told"
            ),
            pytest.param("sys.exit('the last words')", "the last words", id="crash"),
            pytest.param("os.kill(os.getpid(), 9)", "ended with -9", id="killed"),
            pytest.param("", "no result", id="silence, exit code 0"),
            pytest.param("open(request['result'], 'w').write('{')", "no result that can be read", id="torn"),
            pytest.param("result['models'] = {}; write()", "no score of llama 0 for gsm8k", id="no row"),
            pytest.param("task['score'] = float('nan'); write()", "finite", id="NaN score"),
            pytest.param("task['score'] = '-'; write()", "no result that can be read", id="dash"),
            pytest.param("subset['metrics']['accuracy'] = float('inf'); write()", "finite", id="infinite metric"),
            pytest.param("subset['metrics'] = {'score': 1.0}; write()", "gsm8k has no 'accuracy'", id="other metric"),
            pytest.param(
                "task['metric'] = 'bleu_acc'; write()", "the edition says 'accuracy'", id="other metric of task"
            ),
            pytest.param("task['scale'] = 1; write()", "out of 100", id="other scale"),
            pytest.param("task['item_count'] = 0; write()", "greater than 0", id="no items"),
            pytest.param("task['subsets'] = []; write()", "subsets", id="no subsets"),
        ],
    )
    def test_whatever_is_no_score_is_a_failure(self, worker, checkpoint, surroundings, code, words):
        """With the worker's own words, or the end of its log."""
        worker(code)
        with pytest.raises(MeasurementFailed, match=words):
            measure_tasks(request_for(checkpoint), surroundings)

    def test_a_hang_is_stopped(self, worker, checkpoint, surroundings):
        """At the limit, with the limit named."""
        worker("import time; time.sleep(60)")
        limited = replace(surroundings, limits=Limits(time_s=1, memory_bytes=16 << 30))
        with pytest.raises(MeasurementFailed, match="stopped for time"):
            measure_tasks(request_for(checkpoint), limited)


class TestDivision:
    def asked(self, surroundings, *checkpoints):
        """Processes and threads that the worker is told."""
        measure_tasks(request_for(*checkpoints), surroundings)
        request = WorkerRequest.read(surroundings.work_dir / "request.json")
        return request.processes, request.threads

    def test_small_models_run_side_by_side(self, checkpoint, surroundings):
        """A thread each, and no more processes than threads or models."""
        others = [replace(checkpoint, digest=letter * 64) for letter in "abc"]
        assert self.asked(surroundings, *others) == (2, 1)
        assert self.asked(surroundings, others[0]) == (1, 1)

    def test_memory_bounds_them(self, checkpoint, surroundings):
        """Two processes that do not fit are slower than one that does."""
        limited = replace(surroundings, limits=Limits(time_s=30, memory_bytes=4 << 30))
        assert self.asked(limited, checkpoint, replace(checkpoint, digest="b" * 64)) == (1, 1)

    def test_a_large_model_has_all_threads(self, checkpoint, surroundings):
        """Alone."""
        with (checkpoint.path / "model.safetensors").open("wb") as stream:
            os.truncate(stream.fileno(), opencompass.SMALL_MODEL_BYTES + 1)
        assert self.asked(surroundings, checkpoint, replace(checkpoint, digest="b" * 64)) == (1, 2)
