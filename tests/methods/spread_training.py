"""Run by test_training.py under torchrun: train over several processes; the first one writes what came out."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from harness.methods.training import TrainingSettings, causal_lm_loss, train

SETTINGS = TrainingSettings(
    optimizer_steps=6, batch_windows=8, micro_batch_windows=2, learning_rate=1e-2, checkpoint_every_steps=2
)


def conftest():
    spec = importlib.util.spec_from_file_location("training_cases", Path(__file__).with_name("conftest.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stop_in_every_process(folder, step):
    """A loss that fails after ``step`` optimizer steps, as a machine that goes down takes all processes with it."""
    calls = []

    def loss(model, batch):
        calls.append(None)
        if len(calls) > step * 2:
            raise InterruptedError
        return causal_lm_loss(model, batch)

    try:
        run(folder, loss)
    except InterruptedError:
        return
    raise AssertionError("the training was to be stopped")


def run(folder, loss=causal_lm_loss):
    """Train to the end, from what stands in ``folder``; the weights."""
    cases = conftest()
    torch.manual_seed(0)
    model = cases.PairModel()
    model.dropout.p = 0.0
    train(model, cases.make_windows(), SETTINGS, state=folder / "state", loss=loss)
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def main(target):
    torch.set_num_threads(1)
    weights = {"whole": run(target / "whole")}
    stop_in_every_process(target / "resumed", 3)
    weights["resumed"] = run(target / "resumed")
    if torch.distributed.get_rank() == 0:
        for name, tensors in weights.items():
            save_file(tensors, target / f"{name}.safetensors")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
