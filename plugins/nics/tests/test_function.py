"""What a step leaves alone is left alone: the function where it only rewrites, biases and head where it cuts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harness_nics import compress

from harness.checkpoint.reader import open_checkpoint
from harness.checkpoint.shards import read_layout
from harness.methods import models

FUSE = {"stage": "compress", "method": "fuse"}
DECOMPOSE = {
    "stage": "compress",
    "method": "decompose",
    "allocation": "uniform",
    "window_count": 2,
    "window_tokens": 32,
}


@pytest.fixture
def run(ask, tmp_path):
    """Carry out steps one after the other; the last checkpoint."""

    def carry_out(checkpoint, *steps, fraction=0.8):
        for number, step in enumerate(steps):
            work = tmp_path / f"{number}-{step['method']}"
            checkpoint = compress(ask(checkpoint, step, work, fraction=fraction)).checkpoint
        return checkpoint

    return carry_out


def logits(checkpoint):
    ids = torch.randint(3, 261, (2, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return models.load(checkpoint)(input_ids=ids, use_cache=False).logits


def tensors(checkpoint):
    with open_checkpoint(checkpoint) as reader:
        return {entry.name: reader.read(entry.name) for entry in reader.layout.tensors}


class TestFunction:
    def test_fusing_changes_nothing(self, tiny_checkpoint, run):
        """Concatenated linears give the same logits, and their rows are those of their parts, in order."""
        made = run(tiny_checkpoint, FUSE)
        torch.testing.assert_close(logits(made), logits(tiny_checkpoint), rtol=0, atol=1e-5)
        before, after = tensors(tiny_checkpoint), tensors(made)
        parts = [before[f"model.layers.1.self_attn.{name}_proj.weight"] for name in "qkv"]
        assert np.array_equal(after["model.layers.1.self_attn.qkv_proj.weight"], np.concatenate(parts))

    def test_multiplying_out_changes_nothing(self, tiny_checkpoint, run):
        """Factors or their product, the logits are the same but for the product's rounding to FP16."""
        factorised = run(tiny_checkpoint, FUSE, DECOMPOSE)
        merged = run(factorised, {"stage": "compress", "method": "merge", "scope": "all"})
        assert any(".A." in name for name in tensors(factorised))
        assert not any(".A." in name for name in tensors(merged))
        one, other, base = logits(factorised), logits(merged), logits(tiny_checkpoint)
        rounding = (one - other).abs().max()
        assert rounding < 0.02 * (one - base).abs().max()
        assert rounding < 0.01 * one.abs().max()

    def test_biases_head_and_embedding_are_left_alone(self, tiny_checkpoint, run):
        """Only linears of layers become products: their biases go with A, all else has the bytes that it had."""
        before, after = tensors(tiny_checkpoint), tensors(run(tiny_checkpoint, FUSE, DECOMPOSE))
        layout = [entry.name for entry in read_layout(tiny_checkpoint).tensors]
        outside = [name for name in layout if not name.startswith("model.layers.") or "norm" in name]
        assert all(np.array_equal(after[name], before[name]) for name in outside)
        factorised = [name.removesuffix(".A.weight") for name in after if name.endswith(".A.weight")]
        assert factorised
        assert all(name.startswith("model.layers.") for name in factorised)
        for path in factorised:
            whole = [path] if not path.endswith("qkv_proj") else [path.replace("qkv", part) for part in "qkv"]
            biases = [before[f"{part}.bias"] for part in whole if f"{part}.bias" in before]
            if biases:
                assert np.array_equal(after[f"{path}.A.bias"], np.concatenate(biases))
            else:
                assert f"{path}.A.bias" not in after
