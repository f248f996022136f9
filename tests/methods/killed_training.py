"""Run by test_training.py: train in child processes, kill them at random moments, report the digests of the ends."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import signal
import sys
import time
from pathlib import Path
from random import Random

import torch

from harness.methods.training import TrainingSettings, train
from harness.methods.training_state import FILE_NAME

SETTINGS = TrainingSettings(
    optimizer_steps=60, batch_windows=8, learning_rate=1e-2, weight_decay=0.1, checkpoint_every_steps=1
)


def conftest():
    path = Path(__file__).with_name("conftest.py")
    spec = importlib.util.spec_from_file_location("training_cases", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train_and_report(cases, folder):
    torch.manual_seed(0)
    model = cases.PairModel()
    train(model, cases.make_windows(), SETTINGS, state=folder)
    content = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
    (folder / "digest").write_text(hashlib.sha256(content).hexdigest())


def start(cases, folder):
    child = os.fork()
    if child == 0:
        try:
            train_and_report(cases, folder)
        finally:
            os._exit(0)
    return child


def kill_after_some_steps(child, state, waited_s):
    """Wait for a state of this child's own, then a little more, so that the kill comes anywhere between two states."""
    before = state.stat().st_mtime_ns if state.exists() else 0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (state.exists() and state.stat().st_mtime_ns != before):
        time.sleep(0.0005)
    time.sleep(waited_s)
    os.kill(child, signal.SIGKILL)


def main(folder):
    torch.set_num_threads(1)
    cases, rng, kills = conftest(), Random(0), 4
    (folder / "whole").mkdir()
    (folder / "resumed").mkdir()
    os.waitpid(start(cases, folder / "whole"), 0)
    for _ in range(kills):
        child = start(cases, folder / "resumed")
        kill_after_some_steps(child, folder / "resumed" / FILE_NAME, rng.uniform(0, 0.03))
        _, status = os.waitpid(child, 0)
        kills -= not os.WIFSIGNALED(status)
    os.waitpid(start(cases, folder / "resumed"), 0)
    digests = {name: (folder / name / "digest").read_text() for name in ("whole", "resumed")}
    sys.stdout.write(json.dumps({"kills": kills, **digests}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
