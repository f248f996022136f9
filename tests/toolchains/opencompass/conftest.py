"""The real environment, the demo's data, and requests to the worker."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

import harness
from harness.judge.scores import WorkerModel, WorkerRequest
from harness.pico.tasks import prompts, write
from harness.testing.tiny import write_tiny_checkpoint
from harness.toolchains.catalogue import opencompass
from harness.toolchains.provision import ensure

TASKS = ("commonsense_qa", "chid", "humaneval", "bbh", "gsm8k", "truthful_qa")


@pytest.fixture(scope="session")
def environment():
    """OpenCompass's environment, provisioned if it does not stand."""
    return ensure(opencompass(), on_event=lambda _event: None)


@pytest.fixture(scope="session")
def demo_data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo-data")
    write(folder)
    return folder


@pytest.fixture(scope="session")
def real_data():
    """The evaluation sets themselves; they are not part of the project."""
    shared = os.environ.get("HARNESS_SHARED_DATA")
    folder = (Path(shared) if shared else Path(__file__).parents[4] / "shared" / "data") / "eval"
    if not folder.is_dir():
        pytest.skip("the evaluation sets are not here")
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return write_tiny_checkpoint("llama", tmp_path_factory.mktemp("tiny") / "llama")


class Asking:
    """One worker's surroundings."""

    def __init__(self, environment, folder):
        self.environment, self.folder = environment, folder
        self.result, self.log = folder / "result.json", folder / "log.txt"

    def model(self, path, name="model", **changes):
        settings = {"label": name, "kind": "chat", "max_out_len": 8, "batch_size": 32, "dtype": "float32"}
        return WorkerModel.model_validate({"name": name, "path": str(path), **settings, **changes})

    def request(self, models, data, **changes):
        settings = {
            "suite": "demo",
            "tasks": TASKS,
            "prompts": {name: prompt.user for name, prompt in prompts().items()},
            "limit": 3,
            "seed": 0,
            "threads": 1,
            "processes": 1,
            "sandbox": str(Path(harness.__file__).parent / "sandbox"),
            "weak_sandbox": True,
            "work_dir": str(self.folder),
            "result": str(self.result),
            "data_dir": str(data),
            **changes,
        }
        return WorkerRequest.model_validate({"models": models, **settings})

    def run(self, request, *arguments):
        """Run the worker, or the module and arguments given instead; returns its exit code and events."""
        path, here = self.folder / "request.json", self.folder / "cwd"
        request.write(path)
        here.mkdir()
        command = [self.environment.python, "-P", "-s", *(arguments or ("-m", "worker")), path]
        with self.log.open("w") as log:
            ended = subprocess.run(
                command,
                cwd=here,
                env={"PATH": os.defpath, "HOME": str(here), "PYTHONPATH": str(opencompass().folder), "LANG": "C.UTF-8"},
                stdout=subprocess.PIPE,
                stderr=log,
                check=False,
            )
        return ended.returncode, [json.loads(line) for line in ended.stdout.splitlines()]

    def answer(self):
        return json.loads(self.result.read_text())


@pytest.fixture
def asking(environment, tmp_path):
    return Asking(environment, tmp_path)
