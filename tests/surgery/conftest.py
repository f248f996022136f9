"""Tiny models of every architecture: 2 layers, hidden 64, 4 query heads in 2 KV groups."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, PhiConfig, Qwen2Config, Qwen3Config

if TYPE_CHECKING:
    from pathlib import Path

KINDS = {
    "llama": LlamaConfig,
    "mistral": MistralConfig,
    "phi": PhiConfig,
    "qwen2": Qwen2Config,
    "qwen3": Qwen3Config,
}
CASES = ("llama", "llama-biased", "qwen2", "qwen2-tied", "phi", "phi-multi-head", "qwen3", "mistral")


@dataclass
class TinyCase:
    """A tiny checkpoint in FP32, so that logits can be compared closely."""

    name: str
    path: Path
    variant: dict = field(default_factory=dict)

    def load(self, path=None):
        model = AutoModelForCausalLM.from_pretrained(path or self.path, dtype=torch.float32)
        return model.eval()


def make_config(case):
    extra = {
        "llama-biased": {"attention_bias": True, "mlp_bias": True},
        "qwen2-tied": {"tie_word_embeddings": True},
        "phi-multi-head": {"num_key_value_heads": 4},
        "qwen3": {"head_dim": 16, "attention_bias": True},
        "mistral": {"sliding_window": None},
    }.get(case, {})
    settings = {"num_key_value_heads": 2, "tie_word_embeddings": False, **extra}
    return KINDS[case.split("-")[0]](
        vocab_size=300,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        initializer_range=0.2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **settings,
    )


def write_checkpoint(case, folder, *, dtype=torch.float32):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(make_config(case))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.2)
    model.to(dtype).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_config():
    """The configuration of a case, by its name."""
    return make_config


@pytest.fixture(scope="session")
def write_tiny():
    """Write the checkpoint of a case into a folder."""
    return write_checkpoint


@pytest.fixture(scope="session", params=CASES)
def case(request):
    """The name of every case."""
    return request.param


@pytest.fixture(scope="session", params=CASES)
def tiny(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return TinyCase(name=request.param, path=write_checkpoint(request.param, folder))
