"""Loading for measurement: what is not in the checkpoint is not made up."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.errors import CheckpointCorrupt, MeasurementFailed
from harness.judge.loading import build_empty, context_tokens, load_config, load_model, load_tokenizer
from harness.structured import files


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


@pytest.fixture
def structured(tmp_path, tiny_checkpoints):
    """The tiny Phi with a record of its shape, in FP16."""
    folder = shutil.copytree(tiny_checkpoints["phi"], tmp_path / "structured")
    block = {
        "norm": "layer",
        "norm_epsilon": "layer_norm_eps",
        "parallel": True,
        "attention_norm": "input_layernorm",
        "query": "self_attn.q_proj",
        "key": "self_attn.k_proj",
        "value": "self_attn.v_proj",
        "output": "self_attn.dense",
        "up": "mlp.fc1",
        "down": "mlp.fc2",
        "activation": "hidden_act",
        "final_norm": "final_layernorm",
        "head_bias": True,
    }
    biases = [block[role] for role in ("query", "key", "value", "output", "up", "down")]
    layers = [{"intermediate": 96, "kv_group": 4, "head": 1}] * 2
    config = json.loads((folder / "config.json").read_text())
    config["structure"] = {"model_type": "phi", "block": block, "biases": biases, "layers": layers}
    (folder / "config.json").write_text(json.dumps(config))
    files.complete(folder)
    return folder


class TestStructured:
    @pytest.mark.parametrize(("precision", "dtype"), [("checkpoint", torch.float16), ("float32", torch.float32)])
    def test_precision(self, structured, tiny_checkpoints, precision, dtype):
        """A checkpoint with a structure is measured by our class, in the precision asked for: the same logits."""
        ours = load_model(structured, precision=precision, device="cpu")
        stock = load_model(tiny_checkpoints["phi"], precision=precision, device="cpu")
        assert ours.dtype == dtype
        assert not any(parameter.requires_grad for parameter in ours.parameters())
        assert not ours.training
        token_ids = torch.tensor([[5, 6, 7, 8]])
        assert torch.equal(ours(token_ids).logits, stock(token_ids).logits)

    def test_its_code_is_not_run(self, structured):
        """A modeling file in the folder is not even imported, whichever part is loaded."""
        (structured / "modeling_structured.py").write_text("raise SystemExit('executed')")
        assert context_tokens(load_config(structured)) == 512
        assert load_tokenizer(structured)("a")["input_ids"]
        load_model(structured, precision="float32", device="cpu")

    def test_empty(self, structured, tiny_checkpoints):
        """A model without weights is of the class that loads them, and takes no memory."""
        for checkpoint in (structured, tiny_checkpoints["phi"]):
            empty = build_empty(load_config(checkpoint))
            assert type(empty) is type(load_model(checkpoint, precision="float32", device="cpu"))
            assert {parameter.device.type for parameter in empty.parameters()} == {"meta"}

    def test_what_does_not_fit(self, structured):
        """A tensor that the structure does not ask for is a failure."""
        tensors = load_file(structured / "model.safetensors")
        save_file(tensors | {"extra": torch.zeros(2)}, structured / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(CheckpointCorrupt, match=r"unexpected.*extra"):
            load_model(structured, precision="float32", device="cpu")
