"""Our own class loads a structured checkpoint whole or says why not; nothing in the folder is run."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.checkpoint.structure import read_structure
from harness.errors import CheckpointCorrupt
from harness.structured.loading import load, load_config, tensor_shapes

BIG = 1 << 22


@pytest.fixture
def folder(llama, tmp_path):
    return llama.write(tmp_path / "s")


@pytest.fixture
def alter(folder):
    """Change the tensors of the checkpoint."""

    def change(edit):
        tensors = load_file(folder / "model.safetensors")
        edit(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return change


def edit_json(file, edit):
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


class TestLoad:
    def test_ready_to_measure(self, folder):
        """It comes in evaluation mode, in the dtype asked for, by default FP32."""
        assert load(folder).dtype == torch.float32
        assert not load(folder).training
        assert load(folder, dtype=torch.float16).dtype == torch.float16

    def test_as_stored(self, llama, tmp_path):
        """``auto`` is the dtype of the files."""
        folder = llama.write(tmp_path / "half", dtype=torch.bfloat16)
        assert load(folder, dtype="auto").dtype == torch.bfloat16

    def test_runs_no_code_of_the_folder(self, folder):
        """A modeling file in the folder is not even imported."""
        (folder / "modeling_structured.py").write_text("raise SystemExit('executed')")
        assert type(load(folder)).__module__ == "harness.structured.modeling_structured"

    def test_shapes_without_weights(self, structured):
        """The names and shapes that a configuration asks for are those of the checkpoint."""
        stored = {name: tuple(part.shape) for name, part in load_file(structured / "model.safetensors").items()}
        assert tensor_shapes(load_config(structured)) == stored

    @pytest.mark.parametrize(
        ("edit", "message"),
        [
            (lambda tensors: tensors.pop("model.norm.weight"), r"missing.*model\.norm\.weight"),
            (lambda tensors: tensors.update(extra=torch.zeros(2)), "unexpected.*extra"),
            (
                lambda tensors: tensors.update({"lm_head.weight": torch.zeros(2)}),
                r"mismatched.*\[300, 64\], found \[2\]",
            ),
        ],
    )
    def test_tensors_that_do_not_fit(self, folder, alter, edit, message):
        """Nothing is made up, dropped or cut."""
        alter(edit)
        with pytest.raises(CheckpointCorrupt, match=message):
            load(folder)

    def test_a_tied_head_is_no_tensor(self, dense_models, tmp_path):
        """A head of its own beside tied embeddings would be dropped without a word."""
        tied = dense_models["qwen2-tied"]
        head = {"lm_head.weight": torch.zeros(300, 64)}
        with pytest.raises(CheckpointCorrupt, match=r"unexpected.*lm_head\.weight"):
            load(tied.write(tmp_path / "s", state=tied.state | head))

    @pytest.mark.parametrize("content", [b"", b"x", b"\xff" * 100])
    def test_a_damaged_file_is_told(self, folder, content):
        """A file that is no safetensors file is named as such."""
        (folder / "model.safetensors").write_bytes(content)
        with pytest.raises(CheckpointCorrupt):
            load(folder)

    def test_reads_no_pickle(self, folder, llama):
        """Weights that are pickled are no weights."""
        torch.save(llama.state, folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
        with pytest.raises(CheckpointCorrupt):
            load(folder)


def at(*path, value):
    """Set one value of the record."""

    def edit(record):
        place = record
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return edit


def without(*path):
    def edit(record):
        place = record
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return edit


HOSTILE = {
    "no object": (lambda record: record.clear(), "fields"),
    "another format": (at("format", value=2), "format"),
    "a format that is no number": (at("format", value=[1]), "format"),
    "no layers": (at("layers", value=[]), "layers"),
    "too many layers": (at("layers", value=[{"intermediate": 1, "kv_group": 1, "head": 1}] * 5000), "layers"),
    "a layer that is none": (at("layers", 1, value=7), r"layers\[1\]"),
    "an unknown field": (at("extra", value=1), "extra"),
    "an unknown field of a layer": (at("layers", 0, "extra", value=1), "extra"),
    "no block": (without("block"), "block"),
    "a block without a query": (without("block", "query"), "query"),
    "a size of 0": (at("layers", 0, "intermediate", value=0), "intermediate"),
    "a negative size": (at("layers", 0, "kv_group", value=-2), "kv_group"),
    "a size as text": (at("layers", 0, "head", value="2"), "head"),
    "a size as truth": (at("layers", 0, "head", value=True), "head"),
    "a size of a half": (at("layers", 0, "head", value=0.5), "head"),
    "a size beyond all memory": (at("layers", 0, "intermediate", value=1 << 62), "intermediate"),
    "a size beyond all integers": (at("layers", 0, "intermediate", value=10**40), "intermediate"),
    "rank 0": (at("layers", 0, "ranks", value={"mlp.up_proj": 0}), "ranks"),
    "a rank beyond both sides": (at("layers", 0, "ranks", value={"mlp.up_proj": 97}), "ranks"),
    "a rank of no linear": (at("layers", 0, "ranks", value={"mlp.other": 3}), "ranks"),
    "ranks that are none": (at("layers", 0, "ranks", value=[3]), "ranks"),
    "a bias of no linear": (at("biases", value=["mlp.other"]), "biases"),
    "biases that are none": (at("biases", value="mlp.up_proj"), "biases"),
    "a norm unheard of": (at("block", "norm", value="batch"), "norm"),
    "no norm before the MLP": (without("block", "mlp_norm"), "mlp_norm"),
    "a norm of queries alone": (at("block", "query_norm", value="self_attn.q_norm"), "query_norm"),
    "a name that leads out": (at("block", "query", value="../query"), "query"),
    "a private name": (at("block", "query", value="_modules"), "query"),
    "an empty name": (at("block", "query", value=""), "query"),
    "a name twice": (at("block", "query", value="self_attn.k_proj"), "a module of its own"),
    "one norm for two": (at("block", "mlp_norm", value="input_layernorm"), "a module of its own"),
    "a name in a name": (at("block", "query", value="self_attn"), "taken"),
    "a name of a method": (at("block", "up", value="forward"), "taken"),
    "a name of the model's": (at("block", "final_norm", value="layers"), "taken"),
    "fused over two inputs": (at("fused", value={"x": ["self_attn.q_proj", "mlp.up_proj"]}), "fused"),
    "fused of unknown": (at("fused", value={"x": ["self_attn.q_proj", "self_attn.z"]}), "fused"),
    "fused of nothing": (at("fused", value={"x": []}), "fused"),
    "fused twice": (at("fused", value={"x": ["mlp.up_proj"], "y": ["mlp.up_proj"]}), "fused"),
    "fused under an old name": (at("fused", value={"mlp.up_proj": ["mlp.gate_proj", "mlp.up_proj"]}), "fused"),
    "fused that is no list": (at("fused", value={"x": "mlp.up_proj"}), "fused"),
    "half a bias": (
        lambda record: record.update(fused={"x": ["mlp.gate_proj", "mlp.up_proj"]}, biases=["mlp.up_proj"]),
        "biases",
    ),
    "another architecture": (at("model_type", value="qwen2"), "base_model_type"),
    "a layer too few": (lambda record: record["layers"].pop(), "num_hidden_layers"),
    "heads that are not the configuration's": (at("layers", 1, "kv_group", value=3), "num_key_value_heads"),
    "heads of a group that are not": (at("layers", 1, "head", value=3), "num_attention_heads"),
    "units that are not": (at("layers", 1, "intermediate", value=BIG), "intermediate_size"),
    "fewer units than stored": (at("layers", 1, "intermediate", value=95), "mismatched"),
    "fewer heads than stored": (at("layers", 1, "kv_group", value=1), "mismatched"),
    "a rank that is not stored": (at("layers", 0, "ranks", value={"mlp.up_proj": 3}), "missing"),
    "a bias that is not stored": (at("biases", value=["mlp.up_proj"]), "missing"),
    "another field for the epsilon": (at("block", "norm_epsilon", value="hidden_act"), "hidden_act"),
    "another field for the activation": (at("block", "activation", value="rms_norm_eps"), "rms_norm_eps"),
}


class TestHostileStructure:
    @pytest.mark.parametrize("case", HOSTILE)
    def test_is_refused(self, folder, case):
        """A structure that cannot be is one error that names what is wrong, before memory is taken."""
        edit, message = HOSTILE[case]
        edit_json(folder / "structure.json", edit)
        with pytest.raises(CheckpointCorrupt, match=message):
            load(folder)

    @pytest.mark.parametrize(
        "text", [b"", b"{", b"[]", b"null", b"7", b"\xff", b"[" * 100_000, b'{"a": 1}', b" " * (5 << 20)]
    )
    def test_is_no_structure(self, folder, text):
        """Nor is anything else than one taken for one; the harness's own reader agrees."""
        (folder / "structure.json").write_bytes(text)
        with pytest.raises(CheckpointCorrupt):
            load(folder)
        with pytest.raises(CheckpointCorrupt):
            read_structure(folder)

    def test_is_missing(self, folder):
        """Without the record there is no model."""
        (folder / "structure.json").unlink()
        with pytest.raises(CheckpointCorrupt, match=r"structure\.json"):
            load(folder)

    def test_two_that_differ(self, folder, llama):
        """One in each file, and not the same: neither is taken."""
        edit_json(folder / "config.json", lambda config: config.update(structure=llama.record | {"biases": ["x"]}))
        with pytest.raises(CheckpointCorrupt, match="structure in config"):
            load(folder)


HOSTILE_CONFIG = {
    "an active window": ({"sliding_window": 32}, "sliding window"),
    "an active window, switched on": ({"sliding_window": 32, "use_sliding_window": True}, "sliding window"),
    "a layer with a window": ({"layer_types": ["sliding_attention"] * 3}, "sliding window"),
    "layer types that are none": ({"layer_types": 3}, "sliding window"),
    "no hidden size": ({"hidden_size": None}, "hidden_size"),
    "a vocabulary of text": ({"vocab_size": "300"}, "vocab_size"),
    "no head size": ({"head_dim": None}, "head_dim"),
    "an odd head size": ({"head_dim": 15}, "head_dim"),
    "no epsilon": ({"rms_norm_eps": None}, "rms_norm_eps"),
    "an activation unheard of": ({"hidden_act": "tanhh"}, "hidden_act"),
    "an activation that is none": ({"hidden_act": ["silu"]}, "hidden_act"),
    "no rotation": ({"rope_parameters": None}, "rope_theta"),
    "a rotation unheard of": ({"rope_parameters": {"rope_theta": 1e4, "rope_type": "spiral"}}, "rope_type"),
    "a rotation that is none": ({"rope_parameters": "spiral"}, "rope_parameters"),
    "a rotation of an odd part": ({"partial_rotary_factor": 0.2}, "partial_rotary_factor"),
    "a rotation of too much": ({"partial_rotary_factor": 2}, "partial_rotary_factor"),
    "another architecture": ({"base_model_type": "phi"}, "base_model_type"),
}


class TestHostileConfig:
    @pytest.mark.parametrize("case", HOSTILE_CONFIG)
    def test_is_refused(self, folder, case):
        """A configuration that the block cannot follow is refused by the name of its field."""
        fields, message = HOSTILE_CONFIG[case]
        edit_json(folder / "config.json", lambda config: config.update(fields))
        with pytest.raises(CheckpointCorrupt, match=message):
            load(folder)

    @pytest.mark.parametrize(
        "fields",
        [
            {"sliding_window": 32, "use_sliding_window": False, "layer_types": ["full_attention"] * 3},
            {"sliding_window": None, "max_window_layers": 28},
        ],
    )
    def test_a_window_switched_off_is_none(self, folder, llama, fields):
        """What Qwen2 writes without using it does not matter."""
        edit_json(folder / "config.json", lambda config: config.update(fields))
        assert torch.equal(llama.logits(load(folder)), llama.logits(llama.model))
