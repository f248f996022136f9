"""Loading for measurement: what is not in the checkpoint is not made up."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.errors import MeasurementFailed
from harness.judge.loading import load_model


@pytest.fixture
def altered(tmp_path, tiny_checkpoints):
    def alter(change):
        folder = shutil.copytree(tiny_checkpoints["llama"], tmp_path / "altered")
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return alter


class TestLoadModel:
    @pytest.mark.parametrize(("precision", "dtype"), [("checkpoint", torch.float16), ("float32", torch.float32)])
    def test_precision(self, tiny_checkpoint, precision, dtype):
        """Weights come in the precision asked for, by default the one that they are stored in."""
        assert load_model(tiny_checkpoint, precision=precision, device="cpu").dtype == dtype

    def test_a_missing_tensor_is_no_random_one(self, altered):
        """A tensor that the checkpoint lacks is a failure that names it."""
        folder = altered(lambda tensors: tensors.pop("model.norm.weight"))
        with pytest.raises(MeasurementFailed, match=r"missing keys: model\.norm\.weight"):
            load_model(folder, precision="float32", device="cpu")

    def test_an_unknown_tensor(self, altered):
        """A tensor that the model has no place for is a failure too: it was meant to do something."""
        folder = altered(lambda tensors: tensors.update({"model.extra.weight": torch.zeros(2)}))
        with pytest.raises(MeasurementFailed, match="unexpected keys"):
            load_model(folder, precision="float32", device="cpu")
