"""A checkpoint under transformers as a runner: what it says is what one forward pass over everything says."""

from __future__ import annotations

import pytest
import torch

from harness.judge.loading import load_model
from harness.judge.protocol import prompt_ids
from harness.judge.transformers_runner import open_transformers
from harness.testing.tiny import ARCHITECTURES, CONTEXT_TOKENS

BOUND = 1e-4
"""FP32 logits of a tiny model: a cache changes the order of sums, not more."""


def opened(folder):
    return open_transformers(folder, precision="float32", device="cpu", threads=1)


class TestTransformersRunner:
    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_equals_one_forward_over_all_tokens(self, tiny_checkpoints, architecture):
        """Prefill and steps with a cache choose and weigh as the model does that reads everything anew."""
        runner = opened(tiny_checkpoints[architecture])
        model = load_model(tiny_checkpoints[architecture], precision="float32", device="cpu")
        read = prompt_ids(runner.vocabulary_count, 7)
        following = runner.prefill(read)
        for _ in range(4):
            with torch.inference_mode():
                expected = model(input_ids=torch.tensor([read])).logits[0, -1]
            assert abs(torch.from_numpy(runner.last_logits()) - expected).max() < BOUND
            assert following == int(runner.last_logits().argmax())
            read.append(following)
            following = runner.step(following)

    def test_prefill_forgets(self, tiny_checkpoints):
        """A prompt starts from an empty cache, whatever was read before."""
        runner = opened(tiny_checkpoints["llama"])
        runner.prefill([5, 6, 7])
        first = runner.last_logits()
        runner.step(9)
        runner.prefill([5, 6, 7])
        assert (runner.last_logits() == first).all()

    def test_logits_are_a_copy(self, tiny_checkpoints):
        """Who gets them may write to them."""
        runner = opened(tiny_checkpoints["llama"])
        runner.prefill([5])
        runner.last_logits()[:] = 0
        assert runner.last_logits().any()

    def test_refuses_what_it_cannot_read(self, tiny_checkpoints):
        """Nothing read yet, no tokens, too many, and ids that the vocabulary has not."""
        runner = opened(tiny_checkpoints["llama"])
        for wrong in (lambda: runner.step(1), runner.last_logits):
            with pytest.raises(ValueError, match="before prefill"):
                wrong()
        for ids in ([], [0] * (CONTEXT_TOKENS + 1)):
            with pytest.raises(ValueError, match=f"must be in 1..{CONTEXT_TOKENS}"):
                runner.prefill(ids)
        for ids in ([-1], [runner.vocabulary_count]):
            with pytest.raises(ValueError, match=f"must be in 0..{runner.vocabulary_count - 1}"):
                runner.prefill(ids)
