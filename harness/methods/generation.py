"""What a model goes on with, greedily: the likeliest token each time, so that the prompts alone decide the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel


@torch.no_grad()
def greedy(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], *, most_tokens: int, padding: int
) -> list[list[int]]:
    """Token ids after each of ``prompts``, to the end token that the model's generation settings name, without it.

    Args:
        model: In evaluation mode.
        prompts: Token ids, none empty; they are asked together, padded on the left. What stands in a batch can move
            the last bits of the logits, so that the same prompts should always be asked in the same batches.
        most_tokens: Of an answer.
        padding: Token id; its places are masked.

    Raises:
        ValueError: an empty prompt.
    """
    if not prompts:
        return []
    longest = max(map(len, prompts))
    if not all(prompts):
        raise ValueError("a prompt must have at least one token")
    rows = [[padding] * (longest - len(prompt)) + [*prompt] for prompt in prompts]
    places = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    made = model.generate(  # type: ignore[operator]
        input_ids=torch.tensor(rows, device=model.device),
        attention_mask=torch.tensor(places, device=model.device),
        max_new_tokens=most_tokens,
        do_sample=False,
        pad_token_id=padding,
    )
    ends = _ends(model)
    return [_until(row, ends) for row in made[:, longest:].tolist()]


def _ends(model: PreTrainedModel) -> set[int]:
    config = model.generation_config
    found = config.eos_token_id if config is not None else None
    return set(found) if isinstance(found, list) else {found} if isinstance(found, int) else set()


def _until(row: list[int], ends: set[int]) -> list[int]:
    for place, token in enumerate(row):
        if token in ends:
            return row[:place]
    return row
