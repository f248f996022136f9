"""Stand-ins of weights: known by their bytes, and never taken for a weight."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.checkpoint.reader import open_checkpoint
from harness.deployment.executorch.placeholder import Placeholders
from harness.errors import CheckpointCorrupt

EMBEDDING, NORM = "model.embed_tokens.weight", "model.norm.weight"


@pytest.mark.parametrize("dtype", ["float16", "float32"])
class TestPlaceholders:
    def test_known_by_its_bytes(self, checkpoint_of, dtype):
        """Every matrix has bytes of its own, of the package's dtype and the asked shape, that name it again."""
        with open_checkpoint(checkpoint_of("llama")) as reader:
            made = Placeholders(reader, dtype)
            tensors = {name: made.make(name, EMBEDDING, torch.Size((261, 64))) for name in ("a", "b", "c")}
        assert {made.name_of(tensor.numpy().tobytes()): name for name, tensor in tensors.items()} == {
            name: name for name in "abc"
        }
        assert {(tensor.dtype, tensor.shape) for tensor in tensors.values()} == {(getattr(torch, dtype), (261, 64))}
        assert made.names == {"a", "b", "c"}

    def test_a_vector_is_itself(self, checkpoint_of, dtype):
        """Norms and biases are lowered with their values."""
        with open_checkpoint(checkpoint_of("llama")) as reader:
            made = Placeholders(reader, dtype)
            norm = made.make(NORM, NORM, torch.Size((64,)))
        assert norm.dtype == getattr(torch, dtype)
        assert norm.tolist() == [1.0] * 64
        assert made.name_of(norm.numpy().tobytes()) is None


def test_a_value_that_does_not_fit(checkpoint_of, tmp_path):
    """A value beyond FP16 is an error with the tensor's name, not an infinity in a package."""
    source = checkpoint_of("llama")
    tensors = load_file(source / "model.safetensors")
    save_file(tensors | {NORM: torch.full((64,), 1e6)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({}))
    with open_checkpoint(tmp_path) as reader, pytest.raises(CheckpointCorrupt, match=r"model\.norm\.weight.*1e\+06"):
        Placeholders(reader, "float16").make(NORM, NORM, torch.Size((64,)))
