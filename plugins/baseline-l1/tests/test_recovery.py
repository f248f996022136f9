"""Recovery trains, stays a plain checkpoint, and survives a kill."""

from __future__ import annotations

import numpy as np
import pytest
from harness_baseline_l1 import train

from harness.checkpoint.checkpoint import Checkpoint
from harness.checkpoint.reader import open_checkpoint
from harness.checkpoint.shards import read_layout
from harness.methods import recovery as shelf

SHORT = {
    "stage": "train",
    "method": "lora",
    "rank": 2,
    "dropout": 0.1,
    "learning_rate": 5e-3,
    "optimizer_steps": 6,
    "batch_windows": 4,
    "window_tokens": 32,
    "compute": "float32",
}
FULL = {**{name: value for name, value in SHORT.items() if name not in {"rank", "dropout"}}, "method": "full"}


class TestTrain:
    @pytest.mark.parametrize("step", [SHORT, FULL], ids=["lora", "full"])
    def test_same_tensors_other_values(self, tiny_checkpoint, tmp_path, ask, step):
        """Names, shapes and FP16 stay; adapters are merged; weights have moved; the loss has fallen."""
        longer = {**step, "optimizer_steps": 30}
        result = train(ask(tiny_checkpoint, longer, tmp_path / "work"))
        before, after = read_layout(tiny_checkpoint), read_layout(result.checkpoint)
        assert {(t.name, t.dtype, t.shape) for t in before.tensors} == {
            (t.name, t.dtype, t.shape) for t in after.tensors
        }
        assert moved(tiny_checkpoint, result.checkpoint)
        assert result.notes["loss_last"] < result.notes["loss_first"]

    def test_the_ledger_has_what_was_read(self, tiny_checkpoints, tmp_path, ask):
        """Both data sets, and as many tokens as the windows hold; also when the step is asked for again."""
        for _ in range(2):
            request = ask(tiny_checkpoints["llama"], SHORT, tmp_path / "work")
            train(request)
            entries = request.data.ledger().entries
            assert {entry.data for entry in entries} == {"c4", "alpaca"}
            assert sum(entry.token_count for entry in entries) == 6 * 4 * 32

    def test_another_seed_makes_other_weights(self, tiny_checkpoints, tmp_path, ask):
        """Adapters, data order and dropout hang on the seed."""
        first, second = (
            Checkpoint.of(train(ask(tiny_checkpoints["qwen2"], SHORT, tmp_path / str(seed), seed=seed)).checkpoint)
            for seed in (0, 1)
        )
        assert first.digest != second.digest

    @pytest.mark.parametrize("step", [SHORT, FULL], ids=["lora", "full"])
    def test_killed_and_asked_again(self, tiny_checkpoints, tmp_path, ask, monkeypatch, step):
        """A run that died in the middle goes on from its state and ends in the same bytes."""
        whole = train(ask(tiny_checkpoints["phi"], step, tmp_path / "whole")).checkpoint
        monkeypatch.setattr(shelf, "STATE_EVERY_S", 0.0)
        seen = []

        def die_at_four(label, done, total, detail=""):
            if label == "training" and done == 4:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(ask(tiny_checkpoints["phi"], step, tmp_path / "work", progress=die_at_four))
        assert not (tmp_path / "work" / "recovered").exists()

        def note(label, done, total, detail=""):
            if label == "training":
                seen.append(done)

        again = train(ask(tiny_checkpoints["phi"], step, tmp_path / "work", progress=note)).checkpoint
        assert Checkpoint.of(again).digest == Checkpoint.of(whole).digest
        assert seen == [4, 5, 6]


def moved(before, after):
    """Whether any tensor has other values."""
    with open_checkpoint(before) as old, open_checkpoint(after) as new:
        return any(not np.array_equal(old.read(entry.name), new.read(entry.name)) for entry in old.layout.tensors)
