"""A random model on disk that is large beside what one of its layers takes."""

from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from harness.checkpoint.writer import CheckpointWriter, TensorSpec


def write_llama(folder, layers):
    """A Llama in FP16 with 512 tokens and 1.9 M parameters a layer, a tensor at a time; returns its parameters."""
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=384,
        intermediate_size=1152,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=8,
        tie_word_embeddings=True,
        architectures=["LlamaForCausalLM"],
    )
    with torch.device("meta"):
        shapes = {name: tuple(each.shape) for name, each in LlamaForCausalLM(config).named_parameters()}
    specs = [TensorSpec(name=name, dtype="F16", shape=shape) for name, shape in shapes.items()]
    with CheckpointWriter(folder, specs) as writer:
        for name, shape in shapes.items():
            values = torch.ones(shape) if len(shape) == 1 else torch.randn(shape) * 0.02
            writer.append(name, iter([values.half().numpy()]))
        writer.write_file("config.json", config.to_json_string(use_diff=False).encode())
    return sum(torch.Size(shape).numel() for shape in shapes.values())
