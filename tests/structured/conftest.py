"""Tiny stock models, and the same weights as structured checkpoints: 3 layers, hidden 64, heads of 16."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, PhiConfig, Qwen2Config, Qwen3Config

from harness.checkpoint.structure import Structure
from harness.structured import files
from harness.structured.loading import load
from tests.structured.blocks import LLAMA

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

PHI = {
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
BLOCKS = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA | {"query_norm": "self_attn.q_norm", "key_norm": "self_attn.k_norm"},
    "phi": PHI,
    "phi-normed": PHI | {"query_norm": "self_attn.q_layernorm", "key_norm": "self_attn.k_layernorm"},
}
LINEARS = ("query", "key", "value", "output", "gate", "up", "down")
KINDS = {"llama": LlamaConfig, "mistral": MistralConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config, "phi": PhiConfig}
VARIANTS = {
    "llama": {},
    "llama-biased": {"attention_bias": True, "mlp_bias": True},
    "llama-llama3": {
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        }
    },
    "mistral": {"sliding_window": None},
    "qwen2": {},
    "qwen2-tied": {"tie_word_embeddings": True},
    "qwen3": {},
    "phi": {"partial_rotary_factor": 0.5},
    "phi-multi-head": {"partial_rotary_factor": 0.25, "num_key_value_heads": 4},
    "phi-normed": {"partial_rotary_factor": 0.5, "qk_layernorm": True},
}
CASES = tuple(VARIANTS)


@dataclass(frozen=True)
class Dense:
    """A stock model and what is needed to write it as a structured checkpoint."""

    name: str
    model: PreTrainedModel
    config: dict[str, Any]
    record: dict[str, Any]
    """The content of ``structure.json``."""

    @property
    def state(self):
        """Weights as a checkpoint stores them: a tied head is none of its own."""
        tied = self.config["tie_word_embeddings"]
        return {name: part for name, part in self.model.state_dict().items() if not (tied and name == "lm_head.weight")}

    def write(self, folder, *, state=None, record=None, config=None, dtype=torch.float32):
        """A structured checkpoint of these weights, or of changed ones."""
        structure = Structure.model_validate(record or self.record)
        folder.mkdir(parents=True, exist_ok=True)
        fields = files.config_fields((config or self.config) | {"dtype": str(dtype).removeprefix("torch.")}, structure)
        (folder / "config.json").write_bytes(files.config_bytes(fields))
        files.write_beside(folder, structure)
        stored = {name: part.to(dtype).contiguous() for name, part in (state or self.state).items()}
        save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    def logits(self, model, token_ids=None, **inputs):
        """``[B, T, V]`` of a fixed text, or of ``token_ids``."""
        with torch.inference_mode():
            return model(input_ids=text() if token_ids is None else token_ids, use_cache=False, **inputs).logits


def text(rows=2, tokens=23):
    """Token ids ``[rows, tokens]``, none of them padding."""
    return torch.randint(3, 300, (rows, tokens), generator=torch.Generator().manual_seed(7))


def make_dense(name, **changes):
    kind = name.split("-")[0]
    settings = {"num_key_value_heads": 2, "tie_word_embeddings": False} | VARIANTS[name] | changes
    if kind == "qwen3":
        settings["head_dim"] = 16
    config = KINDS[kind](
        vocab_size=300,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=128,
        initializer_range=0.2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **settings,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for part, parameter in model.named_parameters():
            if part.endswith("bias") or "norm" in part:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return Dense(name=name, model=model, config=json.loads(config.to_json_string()), record=record_of(name, model))


def record_of(name, model):
    kind = name.split("-")[0]
    block = BLOCKS.get(name, BLOCKS[kind])
    linears = [block[role] for role in LINEARS if role in block]
    biases = [linear for linear in linears if f"model.layers.0.{linear}.bias" in model.state_dict()]
    config = model.config
    layer = {
        "intermediate": config.intermediate_size,
        "kv_group": config.num_key_value_heads,
        "head": config.num_attention_heads // config.num_key_value_heads,
    }
    layers = [dict(layer) for _ in range(config.num_hidden_layers)]
    return {"format": 1, "model_type": kind, "block": block, "biases": biases, "fused": {}, "layers": layers}


@pytest.fixture(scope="session")
def dense_models():
    """Every stock model, by the name of its case, made once."""
    return {name: make_dense(name) for name in CASES}


@pytest.fixture(params=CASES)
def dense(request, dense_models):
    """Each stock model in turn."""
    return dense_models[request.param]


@pytest.fixture
def llama(dense_models):
    return dense_models["llama"]


@pytest.fixture(scope="session")
def new_dense():
    """Make a stock model with changed settings."""
    return make_dense


@pytest.fixture
def structured(dense, tmp_path) -> Path:
    """The structured checkpoint of each stock model, uniform in its layers."""
    return dense.write(tmp_path / "structured")


@pytest.fixture
def model(structured):
    """It in memory."""
    return load(structured)


@pytest.fixture
def token_ids():
    return text()


@pytest.fixture
def changed(llama):
    """The structure of the tiny Llama with a change made to it."""

    def change(edit):
        record = copy.deepcopy(llama.record)
        edit(record)
        return record

    return change
