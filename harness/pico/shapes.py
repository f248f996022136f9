"""The shapes of the three models, in the proportions of the models they stand for.

    name         stands for     attention (8 heads of 32)   MLP            embeddings
    pico-llama   Llama-3.1-8B   4 KV heads                  SwiGLU 384     tied
    pico-qwen2   Qwen2-7B       4 KV heads, q k v biases    SwiGLU 384     tied
    pico-phi     Phi-2          8 KV heads, all biases      GELU 640       untied, head bias; parallel block

Hidden size 128 and four layers each, so that 4, 2 or 1 KV groups all divide it as LlamaConfig asks.
A head is twice as wide as hidden / heads: heads of 16 are too narrow to find a token by its content and by its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

NAMES = ("pico-llama", "pico-qwen2", "pico-phi")

_HIDDEN = 128
_HEADS = 8
_HEAD_DIM = 32


def config(name: str, *, vocabulary_size: int, layers: int = 4, intermediate: int | None = None) -> PreTrainedConfig:
    """The transformers configuration of a model.

    Raises:
        KeyError: if `name` is not one of `NAMES`.
    """
    from transformers import LlamaConfig, PhiConfig, Qwen2Config

    from harness.pico.vocabulary import BOS, CONTEXT_LENGTH, END, PAD

    kind, kv_heads, default_width = {
        "pico-llama": (LlamaConfig, 4, 384),
        "pico-qwen2": (Qwen2Config, 4, 384),
        "pico-phi": (PhiConfig, _HEADS, 640),
    }[name]
    made: PreTrainedConfig = kind(
        vocab_size=vocabulary_size,
        hidden_size=_HIDDEN,
        intermediate_size=intermediate or default_width,
        num_hidden_layers=layers,
        num_attention_heads=_HEADS,
        num_key_value_heads=kv_heads,
        head_dim=_HEAD_DIM,
        max_position_embeddings=CONTEXT_LENGTH,
        initializer_range=0.04,
        tie_word_embeddings=name != "pico-phi",
        bos_token_id=BOS,
        eos_token_id=END,
        pad_token_id=PAD,
    )
    if name == "pico-phi":
        # Phi's own defaults drop activations; at this size and one pass over the data that only slows learning.
        made.resid_pdrop = made.embd_pdrop = made.attention_dropout = 0.0
    return made


def initialised(
    name: str, *, seed: int, vocabulary_size: int, layers: int = 4, intermediate: int | None = None
) -> PreTrainedModel:
    """The model of a shape with weights drawn from `seed`, FP32, in training mode."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    made = config(name, vocabulary_size=vocabulary_size, layers=layers, intermediate=intermediate)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(made)  # type: ignore[no-untyped-call]
    model.train()
    return model
