from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors import safe_open
from transformers import AutoTokenizer

from harness.checkpoint.checkpoint import Checkpoint
from harness.checkpoint.structure import read_structure
from harness.errors import CheckpointCorrupt, MeasurementFailed
from harness.methods import models
from harness.structured import files


@pytest.fixture
def copied(tiny_checkpoints, tmp_path):
    """A checkpoint that may be damaged."""
    return shutil.copytree(tiny_checkpoints["llama"], tmp_path / "copied")


def edit_config(folder, **fields):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


class TestLoad:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
    def test_holds_the_weights_of_the_files(self, tiny_checkpoint, dtype):
        """Every tensor on disk is in the model, in the asked dtype."""
        model = models.load(tiny_checkpoint, dtype=dtype)
        assert not model.training
        assert {parameter.dtype for parameter in model.parameters()} == {dtype}
        with safe_open(tiny_checkpoint / "model.safetensors", framework="pt") as stream:
            for name in stream.keys():  # noqa: SIM118 - no mapping
                assert torch.equal(model.state_dict()[name].half(), stream.get_tensor(name))

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"num_hidden_layers": 3}, "missing_keys.*layers.2"),
            ({"num_hidden_layers": 1}, "unexpected_keys.*layers.1"),
            ({"intermediate_size": 80}, "cannot load it"),
            ({"model_type": "no-such"}, "cannot load it"),
        ],
    )
    def test_a_config_that_does_not_fit_is_told(self, copied, fields, message):
        """Nothing is left at random values, dropped or cut without a word."""
        edit_config(copied, **fields)
        with pytest.raises(CheckpointCorrupt, match=message):
            models.load(copied)

    def test_runs_no_code_of_the_checkpoint(self, copied):
        """A modeling file in the folder is not even imported."""
        (copied / "modeling_evil.py").write_text("raise SystemExit('executed')")
        edit_config(copied, auto_map={"AutoModelForCausalLM": "modeling_evil.Evil", "AutoConfig": "modeling_evil.Evil"})
        assert type(models.load(copied)).__module__.startswith("transformers.models.llama")

    def test_reads_no_pickle(self, copied):
        """Weights that are pickled are no weights."""
        torch.save(models.load(copied).state_dict(), copied / "pytorch_model.bin")
        (copied / "model.safetensors").unlink()
        with pytest.raises(CheckpointCorrupt):
            models.load(copied)

    @pytest.mark.parametrize("content", [b"", b"x", b"\xff" * 100])
    def test_a_damaged_file_is_told(self, copied, content):
        """A file that is no safetensors file is named as such."""
        (copied / "model.safetensors").write_bytes(content)
        with pytest.raises(CheckpointCorrupt):
            models.load(copied)


class TestSave:
    def test_load_and_save_is_the_identity(self, tiny_checkpoint, tmp_path):
        """Saved, loaded and saved again, the bytes are the same, and all tensors are F16."""
        first = models.save(models.load(tiny_checkpoint), tmp_path / "first", like=tiny_checkpoint)
        second = models.save(models.load(first), tmp_path / "second", like=first)
        assert Checkpoint.of(first).digest == Checkpoint.of(second).digest
        with safe_open(first / "model.safetensors", framework="pt") as stream:
            original = models.load(tiny_checkpoint).state_dict()
            for name in stream.keys():  # noqa: SIM118 - no mapping
                assert stream.get_tensor(name).dtype == torch.float16
                assert torch.equal(stream.get_tensor(name), original[name].half())
        assert json.loads((first / "config.json").read_text())["dtype"] == "float16"

    def test_tied_weights_are_written_once(self, tiny_checkpoints, tmp_path):
        """A tied head is no tensor of its own, and is tied again when loaded."""
        folder = models.save(models.load(tiny_checkpoints["qwen2"]), tmp_path / "a", like=tiny_checkpoints["qwen2"])
        with safe_open(folder / "model.safetensors", framework="pt") as stream:
            assert "lm_head.weight" not in stream.keys()  # noqa: SIM118 - no mapping
        model = models.load(folder)
        assert model.lm_head.weight is model.model.embed_tokens.weight

    def test_brings_the_tokenizer_along(self, tiny_checkpoint, tmp_path):
        """The new folder reads and speaks as the old one did."""
        folder = models.save(models.load(tiny_checkpoint), tmp_path / "a", like=tiny_checkpoint)
        old, new = (AutoTokenizer.from_pretrained(path, local_files_only=True) for path in (tiny_checkpoint, folder))
        assert (new.chat_template, new("héllo")["input_ids"]) == (old.chat_template, old("héllo")["input_ids"])

    def test_replaces_what_stands(self, tiny_checkpoints, tmp_path):
        """A rerun leaves the new checkpoint alone in the folder."""
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "model-00001-of-00002.safetensors").write_bytes(b"old")
        folder = models.save(models.load(tiny_checkpoints["llama"]), tmp_path / "a", like=tiny_checkpoints["llama"])
        assert not (folder / "model-00001-of-00002.safetensors").exists()
        assert [path.name for path in tmp_path.iterdir()] == ["a"]

    def test_what_fp16_cannot_hold_is_an_error(self, tiny_checkpoints, tmp_path):
        """Nothing is written as infinity."""
        model = models.load(tiny_checkpoints["llama"])
        with torch.no_grad():
            model.lm_head.weight[0, 0] = 1e6
        with pytest.raises(MeasurementFailed, match=r"lm_head\.weight: not finite in FP16 \(largest magnitude 1e\+06"):
            models.save(model, tmp_path / "a", like=tiny_checkpoints["llama"])
        assert not (tmp_path / "a").exists()


@pytest.fixture
def structured(tiny_checkpoints, tmp_path):
    """The tiny Llama with a record of its shape, in FP16."""
    folder = shutil.copytree(tiny_checkpoints["llama"], tmp_path / "structured")
    names = {
        "attention_norm": "input_layernorm",
        "mlp_norm": "post_attention_layernorm",
        "query": "self_attn.q_proj",
        "key": "self_attn.k_proj",
        "value": "self_attn.v_proj",
        "output": "self_attn.o_proj",
        "gate": "mlp.gate_proj",
        "up": "mlp.up_proj",
        "down": "mlp.down_proj",
    }
    block = {"norm": "rms", "norm_epsilon": "rms_norm_eps", "activation": "hidden_act", "final_norm": "norm"} | names
    layers = [{"intermediate": 96, "kv_group": 2, "head": 2}] * 2
    edit_config(folder, structure={"model_type": "llama", "block": block, "layers": layers})
    files.complete(folder)
    return folder


class TestStructured:
    def test_equals_the_stock_model(self, structured, tiny_checkpoints):
        """A checkpoint with a structure is loaded by our class, and computes the same."""
        ours, stock = models.load(structured), models.load(tiny_checkpoints["llama"])
        assert type(ours).__name__ == "StructuredForCausalLM"
        token_ids = torch.tensor([[5, 6, 7, 8]])
        assert torch.equal(ours(token_ids).logits, stock(token_ids).logits)

    def test_load_and_save_is_the_identity(self, structured, tmp_path):
        """Structure, modeling file, configuration and tokenizer come along; saved again, the bytes are the same."""
        first = models.save(models.load(structured), tmp_path / "first", like=structured)
        second = models.save(models.load(first), tmp_path / "second", like=first)
        assert Checkpoint.of(first).digest == Checkpoint.of(second).digest
        assert read_structure(first) == read_structure(structured)
        assert files.is_ours(first)
        config = json.loads((first / "config.json").read_text())
        assert (config["model_type"], config["base_model_type"]) == ("edge_structured", "llama")
        assert config["dtype"] == "float16"
        assert "structure" not in config
        assert AutoTokenizer.from_pretrained(first, local_files_only=True)("a")["input_ids"]

    def test_runs_no_code_of_the_checkpoint(self, structured):
        """Not even a file that has the name of ours."""
        (structured / "modeling_structured.py").write_text("raise SystemExit('executed')")
        assert type(models.load(structured)).__module__ == "harness.structured.modeling_structured"

    def test_a_structure_that_does_not_fit_is_told(self, structured):
        """As a configuration that does not."""
        record = json.loads((structured / "structure.json").read_text())
        record["layers"][0]["ranks"] = {"mlp.up_proj": 3}
        (structured / "structure.json").write_text(json.dumps(record))
        with pytest.raises(CheckpointCorrupt, match=r"missing.*up_proj\.A"):
            models.load(structured)
