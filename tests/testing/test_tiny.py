"""Tiny checkpoints: small, real, and the same every time."""

from __future__ import annotations

from harness.checkpoint.checkpoint import Checkpoint
from harness.testing import write_tiny_checkpoint


class TestWriteTinyCheckpoint:
    def test_same_seed_same_bytes(self, tmp_path, tiny_checkpoints):
        """A tiny checkpoint is named by its seed, and making one does not touch the caller's random numbers."""
        import torch

        state = torch.random.get_rng_state()
        again = write_tiny_checkpoint("phi", tmp_path / "again")
        other = write_tiny_checkpoint("phi", tmp_path / "other", seed=1)
        assert torch.equal(state, torch.random.get_rng_state())
        assert Checkpoint.of(again).digest == Checkpoint.of(tiny_checkpoints["phi"]).digest
        assert Checkpoint.of(other).digest != Checkpoint.of(again).digest

    def test_is_small_and_complete(self, tiny_checkpoint):
        """Weights, configuration, tokenizer with a chat template, well under half a megabyte."""
        from transformers import AutoTokenizer

        assert sum(file.stat().st_size for file in tiny_checkpoint.iterdir()) < 400_000
        tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
        chat = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
        assert chat == "<|bos|><|user|>hi<|end|>"
        assert tokenizer("<|end|>")["input_ids"] == [tokenizer.eos_token_id]


def test_fake_door_gives_text_and_keeps_the_ledger(fake_door):
    """The door for tests is the real one over the embedded corpus."""
    sample = next(fake_door.open("c4"))
    assert sample.text
    assert [entry.data for entry in fake_door.ledger().entries] == ["c4"]
