"""Samples as token ids, with the part that an assistant would have to write marked.

    document       bos  text ............... eos
                   1    1    1    1    1     1        loss mask
    instruction    <chat template: the user's turn>  answer ... end of turn
                   0  0  0  0  0  0  0  0  0  0  0   1  1  1  1

The prompt is encoded by itself, exactly as it will be at inference, and the answer goes on from there. A tokenizer
without a chat template (Phi-2 is a base model) gets the plain Alpaca headings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from harness.corpora.rows import Sample

PLAIN_PROMPT = "### Instruction:\n{prompt}\n\n### Response:\n"
"""The prompt where the tokenizer has no chat template."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedSample:
    """Token ids of one sample."""

    token_ids: list[int]
    prompt_token_count: int
    """How many of them, from the first, belong to the user's turn; 0 for a document."""


def tokenizer_of(checkpoint: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in the folder ``checkpoint``; nothing is downloaded, nothing of the folder is run."""
    # Here: who only encodes, or only asks for help, does not wait for transformers.
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        checkpoint, local_files_only=True, trust_remote_code=False
    )
    return tokenizer


def encode(tokenizer: PreTrainedTokenizerBase, samples: Sequence[Sample]) -> list[EncodedSample]:
    """Each of ``samples`` as token ids, none cut; encoded together, which the tokenizer does faster than one by one."""
    pieces = [_pieces(tokenizer, sample) for sample in samples]
    ids = token_ids_of(tokenizer, [text for pair in pieces for text in pair])
    pairs = zip(ids[::2], ids[1::2], strict=True)
    return [_ended(tokenizer, sample, *pair) for sample, pair in zip(samples, pairs, strict=True)]


def token_ids_of(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Token ids of ``texts``, no special tokens added, no warning about long ones."""
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def _pieces(tokenizer: PreTrainedTokenizerBase, sample: Sample) -> tuple[str, str]:
    """What is encoded first and what after it."""
    if sample.prompt is None:
        return "", sample.text
    if not tokenizer.chat_template:
        return PLAIN_PROMPT.format(prompt=sample.prompt), sample.text
    return _chat(tokenizer, sample.prompt, sample.text)


def _chat(tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str) -> tuple[str, str]:
    user, assistant = {"role": "user", "content": prompt}, {"role": "assistant", "content": answer}
    asked = str(tokenizer.apply_chat_template([user], tokenize=False, add_generation_prompt=True))
    whole = str(tokenizer.apply_chat_template([user, assistant], tokenize=False))
    if not whole.startswith(asked):
        raise UsageError(
            f"{tokenizer.name_or_path}: the chat template writes a conversation that does not begin with its own "
            "generation prompt, so prompt and answer cannot be told apart; correct the checkpoint's chat template"
        )
    return asked, whole[len(asked) :]


def _ended(tokenizer: PreTrainedTokenizerBase, sample: Sample, prompt: list[int], answer: list[int]) -> EncodedSample:
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    # A chat template writes the beginning by itself; what it leaves out is left out at inference, too.
    begin = [bos] if bos is not None and (sample.prompt is None or not tokenizer.chat_template) else []
    end = [eos] if eos is not None and eos not in answer[-2:] else []
    prompt = [*begin, *prompt] if sample.prompt is not None else prompt
    answer = [*begin, *answer] if sample.prompt is None else answer
    return EncodedSample(token_ids=[*prompt, *answer, *end], prompt_token_count=len(prompt))
