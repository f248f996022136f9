"""What MLC calls the tensors of a checkpoint, and what it cannot express."""

from __future__ import annotations

import json

import pytest

from harness.checkpoint.checkpoint import read_config, read_described_config
from harness.checkpoint.shards import read_layout
from harness.deployment.mlc.names import naming, why_custom
from harness.errors import CheckpointCorrupt
from tests.deployment.mlc.conftest import cut

FUSED = {
    "llama": ("model.layers.1.self_attn.qkv_proj.weight", "model.layers.1.mlp.gate_up_proj.weight"),
    "qwen2": ("model.layers.1.self_attn.c_attn.bias", "model.layers.1.mlp.gate_up_proj.weight"),
    "phi": ("transformer.h.1.mixer.Wqkv.bias", "transformer.h.1.mixer.out_proj.weight"),
}


def names_of(path):
    return naming(read_described_config(path), read_layout(path))


class TestNaming:
    @pytest.mark.parametrize("architecture", FUSED)
    def test_every_tensor_is_used_once(self, tiny_checkpoints, architecture):
        """No tensor of the checkpoint is left out, none used twice, and the fused ones have MLC's names."""
        path = tiny_checkpoints[architecture]
        found = names_of(path)
        sources = [source for tensor in found.tensors for source in tensor.sources]
        assert sorted(sources) == sorted(entry.name for entry in read_layout(path).tensors)
        assert set(FUSED[architecture]) <= {tensor.name for tensor in found.tensors}
        assert (found.model_type, found.custom) == (architecture, ())

    def test_rows_stand_query_key_value(self, tiny_checkpoints):
        """The fused attention input is q, k, v in this order, and has their rows together."""
        found = {tensor.name: tensor for tensor in names_of(tiny_checkpoints["llama"]).tensors}
        fused = found["model.layers.0.self_attn.qkv_proj.weight"]
        assert [source.split(".")[-2] for source in fused.sources] == ["q_proj", "k_proj", "v_proj"]
        assert fused.shape == (64 + 32 + 32, 64)

    @pytest.mark.parametrize("kind", ["widths", "ranks", "fused", "heads"])
    def test_a_structure_keeps_its_own_names(self, tmp_path, tiny_checkpoint, kind):
        """Layers of their own shapes have no model in MLC: the checkpoint's names, one to one, and the reason."""
        path = cut(tiny_checkpoint, tmp_path / "cut", kind)
        found = names_of(path)
        assert found.model_type == "edge_structured"
        assert "one width" in found.custom[0]
        assert all(tensor.sources == (tensor.name,) for tensor in found.tensors)

    def test_tensors_that_the_configuration_does_not_ask_for(self, tiny_checkpoints):
        """A checkpoint that contradicts its configuration is refused, and the tensor is named."""
        config = read_config(tiny_checkpoints["llama"]) | {"intermediate_size": 95}
        with pytest.raises(CheckpointCorrupt, match=r"gate_proj\.weight \(95, 64\) -> \(96, 64\)"):
            naming(config, read_layout(tiny_checkpoints["llama"]))


class TestWhyCustom:
    @pytest.mark.parametrize(
        ("architecture", "change", "reason"),
        [
            ("llama", {"mlp_bias": True}, "no biases"),
            ("llama", {"hidden_act": "gelu"}, "silu"),
            ("llama", {"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "rotation"),
            ("qwen2", {"head_dim": 32}, "make up the hidden size"),
            ("phi", {"tie_word_embeddings": True}, "output embedding of its own"),
            ("phi", {"hidden_act": "relu"}, "gelu by tanh"),
            ("phi", {"qk_layernorm": True}, "norm of queries"),
        ],
    )
    def test_names_what_mlc_lacks(self, tiny_checkpoints, architecture, change, reason):
        """Each thing that MLC's own class would refuse or silently compute otherwise is a reason of its own."""
        config = json.loads((tiny_checkpoints[architecture] / "config.json").read_text())
        assert why_custom(config) == ()
        assert any(reason in found for found in why_custom(config | change))

    def test_an_architecture_without_a_table(self):
        """Where MLC's names are not known, they are not guessed."""
        assert "not known" in why_custom({"model_type": "mistral"})[0]
