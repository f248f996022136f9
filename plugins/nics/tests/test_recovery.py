"""Recovery trains what it says, stays one model of the same shape, and survives a kill."""

from __future__ import annotations

import numpy as np
import pytest
from harness_nics import compress, train

from harness.checkpoint.checkpoint import Checkpoint
from harness.checkpoint.reader import open_checkpoint
from harness.checkpoint.shards import read_layout
from harness.errors import UsageError
from harness.methods import recovery as shelf

TRAIN = {
    "stage": "train",
    "learning_rate": 5e-3,
    "optimizer_steps": 6,
    "batch_windows": 4,
    "window_tokens": 32,
    "compute": "float32",
}
STEPS = {
    "lora": {**TRAIN, "method": "lora", "rank": 2},
    "full": {**TRAIN, "method": "full"},
    "partial": {**TRAIN, "method": "partial", "trained_fraction": 0.25},
    "slice alone": {**TRAIN, "method": "partial", "trained_fraction": 0.25, "trains_rest": False},
}
DECOMPOSE = {
    "stage": "compress",
    "method": "decompose",
    "allocation": "uniform",
    "window_count": 2,
    "window_tokens": 32,
}


@pytest.fixture
def factorised(tiny_checkpoint, ask, tmp_path):
    return compress(ask(tiny_checkpoint, DECOMPOSE, tmp_path / "decomposed", fraction=0.8)).checkpoint


def differences(before, after):
    """By tensor, which values have moved."""
    with open_checkpoint(before) as old, open_checkpoint(after) as new:
        return {entry.name: old.read(entry.name) != new.read(entry.name) for entry in old.layout.tensors}


class TestTrain:
    @pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
    def test_same_tensors_other_values(self, factorised, ask, tmp_path, step):
        """Names, shapes and FP16 stay: adapters and slices are merged."""
        result = train(ask(factorised, step, tmp_path / "work"))
        before, after = read_layout(factorised), read_layout(result.checkpoint)
        assert {(t.name, t.dtype, t.shape) for t in before.tensors} == {
            (t.name, t.dtype, t.shape) for t in after.tensors
        }
        assert any(moved.any() for moved in differences(factorised, result.checkpoint).values())

    @pytest.mark.parametrize("side", ["tail", "head"])
    def test_frozen_ranks_do_not_move(self, factorised, ask, tmp_path, side):
        """Of every factorised linear the slice has moved and the rest has not, through FP16 and all."""
        step = {**STEPS["slice alone"], "side": side, "optimizer_steps": 20}
        moved = differences(factorised, train(ask(factorised, step, tmp_path / "work")).checkpoint)
        for name, where in moved.items():
            if name.endswith((".A.weight", ".B.weight")):
                ranks = where.any(axis=0 if ".A." in name else 1)
                count = max(1, int(len(ranks) * 0.25))
                chosen = (
                    np.arange(len(ranks)) >= len(ranks) - count if side == "tail" else np.arange(len(ranks)) < count
                )
                assert not ranks[~chosen].any()
                assert ranks[chosen].any()
            elif not name.endswith(".bias"):
                assert not where.any(), name

    def test_the_rest_is_trained_too(self, factorised, ask, tmp_path):
        """As the original's code does: embeddings and norms move beside the slice."""
        moved = differences(factorised, train(ask(factorised, STEPS["partial"], tmp_path / "work")).checkpoint)
        assert moved["model.embed_tokens.weight"].any()

    def test_nothing_to_slice(self, tiny_checkpoints, ask, tmp_path):
        """A dense model has no ranks to train alone."""
        with pytest.raises(UsageError, match="no linear is factorised"):
            train(ask(tiny_checkpoints["llama"], STEPS["slice alone"], tmp_path / "work"))

    @pytest.mark.parametrize("name", ["lora", "partial"])
    def test_killed_and_asked_again(self, factorised, ask, tmp_path, monkeypatch, name):
        """A run that died in the middle goes on from its state and ends in the same bytes."""
        step = STEPS[name]
        whole = train(ask(factorised, step, tmp_path / "whole")).checkpoint
        monkeypatch.setattr(shelf, "STATE_EVERY_S", 0.0)

        def die_at_four(label, done, total, detail=""):
            if label == "training" and done == 4:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(ask(factorised, step, tmp_path / "work", progress=die_at_four))
        again = train(ask(factorised, step, tmp_path / "work")).checkpoint
        assert Checkpoint.of(again).digest == Checkpoint.of(whole).digest
