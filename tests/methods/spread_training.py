"""Run by test_training.py under torchrun: train over several processes; the first one writes what came out."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from harness.methods.training import TrainingSettings, train

SETTINGS = TrainingSettings(
    optimizer_steps=6, batch_windows=8, micro_batch_windows=2, learning_rate=1e-2, checkpoint_every_steps=2
)


def conftest():
    spec = importlib.util.spec_from_file_location("training_cases", Path(__file__).with_name("conftest.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stop_at(step):
    def progress(label, done, total, detail=""):
        if done == step:
            raise KeyboardInterrupt

    return progress


def run(folder, steps=()):
    """Train to the end, stopped after ``steps`` on the way; the weights."""
    torch.set_num_threads(1)
    cases = conftest()
    settings = SETTINGS
    for _ in range(1):
        torch.manual_seed(0)
        model = cases.PairModel()
        model.dropout.p = 0.0
        history = train(model, cases.make_windows(), settings, state=folder / "state")
    weights = {name: weight.detach().clone() for name, weight in model.state_dict().items()}
    return weights, history


if __name__ == "__main__":
    target = Path(sys.argv[1])
    first, _ = run(target)
    # The state of the last step stands: this time it is read by every process instead of trained.
    again, _ = run(target)
    assert all(torch.equal(first[name], again[name]) for name in first)
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        save_file(first, target / "weights.safetensors")
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
