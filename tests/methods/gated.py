"""Tiny models of every architecture in FP32, tied and untied, with their anatomies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from harness.checkpoint.checkpoint import read_described_config
from harness.methods.distillation import FeatureModel
from harness.surgery import anatomy as anatomies
from harness.testing.tiny import tiny_config

if TYPE_CHECKING:
    from pathlib import Path

CASES = ("llama", "llama-tied", "qwen2", "qwen2-untied", "phi")


@dataclass
class Tiny:
    """A model, its folder and its anatomy."""

    path: Path
    model: PreTrainedModel
    anatomy: Any

    def logits(self, token_ids):
        return self.model(input_ids=token_ids, use_cache=False).logits


def make_tiny(case, folder, *, seed=0):
    """A tiny model with weights large enough that every unit matters, and biases and norms that are not trivial."""
    kind, _, ties = case.partition("-")
    config = tiny_config(kind)
    config.initializer_range = 0.2
    if ties:
        config.tie_word_embeddings = ties == "tied"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config).float().eval()
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.data.add_(0.1 * torch.randn_like(parameter) if "bias" not in name else 0.0)
            if name.endswith("bias"):
                parameter.data.normal_(0, 0.1)
    model.save_pretrained(folder)
    return Tiny(folder, model, anatomies.load(read_described_config(folder)))


def tokens(count=2, length=12, *, seed=0):
    """Token ids [count, length]."""
    return torch.randint(5, 200, (count, length), generator=torch.Generator().manual_seed(seed))


def logits_of(features):
    """Logits of ``Features``."""
    return torch.nn.functional.linear(features.hidden, features.weight, features.bias)


__all__ = ["CASES", "FeatureModel", "Tiny", "logits_of", "make_tiny", "tokens"]
