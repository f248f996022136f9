"""Greedy answers: what the logits say, whatever else is asked beside."""

from __future__ import annotations

import pytest
import torch

from harness.methods.generation import greedy
from tests.methods.gated import make_tiny


@pytest.fixture
def model(tmp_path):
    made = make_tiny("llama", tmp_path / "m").model
    made.generation_config.eos_token_id = None
    return made


def stepwise(model, prompt, count):
    """The likeliest token, one pass over the whole for each."""
    ids = list(prompt)
    for _ in range(count):
        with torch.no_grad():
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


class TestGreedy:
    def test_is_the_likeliest_token_each_time(self, model):
        """Padding on the left and the cache of keys and values change no answer."""
        prompts = [[7, 8, 9], [11], [20, 21, 22, 23, 24]]
        found = greedy(model, prompts, most_tokens=6, padding=0)
        assert found == [stepwise(model, prompt, 6) for prompt in prompts]

    def test_ends_before_the_end_token(self, model):
        """What follows the end is nobody's, the end itself is not part of the answer."""
        whole = stepwise(model, [7, 8, 9], 6)
        model.generation_config.eos_token_id = whole[3]
        (found,) = greedy(model, [[7, 8, 9]], most_tokens=6, padding=0)
        assert found == whole[: whole.index(whole[3])]

    def test_no_prompt_and_an_empty_one(self, model):
        """Nothing asked is nothing answered; an empty prompt is told."""
        assert greedy(model, [], most_tokens=4, padding=0) == []
        with pytest.raises(ValueError, match="at least one token"):
            greedy(model, [[1], []], most_tokens=4, padding=0)
