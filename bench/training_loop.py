"""Tokens a second of the training loop against a bare one: the same model, the same batches, one thread.

    python bench/training_loop.py

Alternates the two and prints processor seconds, so that other load on the machine weighs on both alike.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from harness.corpora.windows import Windows
from harness.methods.training import TrainingSettings, train

STEPS, BATCH, TOKENS, VOCAB, ROUNDS = 15, 32, 128, 1024, 4


def new_model() -> LlamaForCausalLM:
    """About a million parameters."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=384,
        vocab_size=VOCAB,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


def bare(windows: Windows) -> None:
    """What a page of a notebook does."""
    model = new_model().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    for step in range(STEPS):
        rows = windows.token_ids[step * BATCH : (step + 1) * BATCH].astype(np.int64)
        token_ids = torch.from_numpy(rows)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(input_ids=token_ids, use_cache=False).logits[:, :-1]
        functional.cross_entropy(logits.flatten(0, 1).float(), token_ids[:, 1:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def ours(windows: Windows) -> None:
    """The harness's loop, with its state written at the end."""
    settings = TrainingSettings(optimizer_steps=STEPS, batch_windows=BATCH, learning_rate=1e-3, compute="bfloat16")
    with tempfile.TemporaryDirectory() as folder:
        train(new_model(), windows, settings, state=Path(folder))


def main() -> None:
    """Print both rates and their ratio."""
    torch.set_num_threads(1)
    token_ids = np.random.default_rng(0).integers(0, VOCAB, (STEPS * BATCH, TOKENS)).astype(np.uint16)
    windows = Windows(token_ids=token_ids, loss_mask=None, key="bench")
    bare(windows), ours(windows)
    spent = {"bare": 0.0, "harness": 0.0}
    for _ in range(ROUNDS):
        for name, loop in (("bare", bare), ("harness", ours)):
            start = time.process_time()
            loop(windows)
            spent[name] += time.process_time() - start
    rates = {name: ROUNDS * STEPS * BATCH * TOKENS / seconds for name, seconds in spent.items()}
    for name, rate in rates.items():
        print(f"{name:8} {rate:8.0f} tokens/processor-s")
    print(f"ratio    {rates['harness'] / rates['bare']:8.3f}")


if __name__ == "__main__":
    main()
