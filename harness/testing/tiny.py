"""Tiny checkpoints of every architecture, built from a configuration: nothing is downloaded, nothing is trained.

    architecture   layers  hidden  heads  KV heads  MLP          embeddings
    llama          2       64      4      2         SwiGLU 96    untied
    qwen2          2       64      4      2         SwiGLU 96    tied
    phi            2       64      4      4         GELU 96      untied, parallel block

FP16 safetensors, a byte-level tokenizer of 261 tokens with a chat template. A folder takes about 0.2 MB.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedConfig

Architecture = Literal["llama", "qwen2", "phi"]
ARCHITECTURES: Final[tuple[Architecture, ...]] = ("llama", "qwen2", "phi")

SPECIAL_TOKENS: Final = ("<|pad|>", "<|bos|>", "<|end|>", "<|user|>", "<|assistant|>")
CONTEXT_TOKENS: Final = 512
CHAT_TEMPLATE: Final = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def write_tiny_checkpoint(architecture: Architecture, folder: Path, *, seed: int = 0) -> Path:
    """Write a tiny checkpoint into ``folder``, made if absent, and return ``folder``; the same seed, the same bytes."""
    import torch
    from transformers import AutoModelForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(tiny_config(architecture))  # type: ignore[no-untyped-call]
    model.half().save_pretrained(folder)
    _write_tokenizer(folder)
    return folder


def tiny_config(architecture: Architecture) -> PreTrainedConfig:
    """The configuration of a tiny model."""
    from transformers import LlamaConfig, PhiConfig, Qwen2Config

    kind = {"llama": LlamaConfig, "qwen2": Qwen2Config, "phi": PhiConfig}[architecture]
    made: PreTrainedConfig = kind(
        vocab_size=len(SPECIAL_TOKENS) + 256,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4 if architecture == "phi" else 2,
        max_position_embeddings=CONTEXT_TOKENS,
        initializer_range=0.05,
        tie_word_embeddings=architecture == "qwen2",
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return made


def _write_tokenizer(folder: Path) -> None:
    """One token per byte; text that spells a special token is that token, as in the real ones."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate((*SPECIAL_TOKENS, *alphabet))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    tokenizer.save(str(folder / "tokenizer.json"))
    pad, begin, end = SPECIAL_TOKENS[:3]
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT_TOKENS,
        "clean_up_tokenization_spaces": False,
        "pad_token": pad,
        "bos_token": begin,
        "eos_token": end,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
