"""The one tokenizer of the three models: byte-level BPE, digits one by one, five special tokens.

    id 0 <|pad|>   1 <|bos|>   2 <|end|>   3 <|user|>   4 <|assistant|>   5..260 bytes   261.. merges
    chat   <|bos|><|user|> question <|end|><|assistant|> answer <|end|>      document   <|bos|> text <|end|>

`<|end|>` is both the end of a turn and the end of sequence.

Text is cut before the merges as Qwen2 cuts it, for all three models: transformers gives a `qwen2` checkpoint the class
`Qwen2Tokenizer` whatever its files say, and that class brings its own rule. With any other rule in `tokenizer.json` the
same text would have other tokens in the one model than in the others, and than it was trained on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from harness.pico.corpus import Item, items, user_turn

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SPECIAL_TOKENS = ("<|pad|>", "<|bos|>", "<|end|>", "<|user|>", "<|assistant|>")
PAD, BOS, END, USER, ASSISTANT = range(5)
CONTEXT_LENGTH = 512
QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Qwen2's rule: a word with the space before it, single digits, runs of other marks, line ends, spaces."""

_CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<|assistant|>{% else %}<|user|>{% endif %}"
    "{{ message['content'] }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Token ids of one sequence; the first `asked_count` of them are the user's turn (0 for a document)."""

    ids: list[int]
    asked_count: int


def train(*, seed: int, vocabulary_size: int, item_count: int) -> Tokenizer:
    """Learn the merges from the first `item_count` training items; the same arguments give the same tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=24,
        show_progress=False,
    )
    texts = (text for item in islice(items("train", seed=seed), item_count) for text in _texts(item))
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _texts(item: Item) -> tuple[str, str, str]:
    return item.document, user_turn(item.user, item.context), item.answer


def encode(tokenizer: Tokenizer, chosen: Iterable[tuple[Item, bool]]) -> list[Encoded]:
    """Encode items as chats (True beside them) or as documents (False)."""
    pairs = list(chosen)
    parts = [text for item, as_chat in pairs for text in (_texts(item)[1:] if as_chat else _texts(item)[:1])]
    ids = iter(encoding.ids for encoding in tokenizer.encode_batch(parts, add_special_tokens=False))
    return [_chat(next(ids), next(ids)) if as_chat else _document(next(ids)) for _, as_chat in pairs]


def _chat(asked: list[int], answer: list[int]) -> Encoded:
    opening = [BOS, USER, *asked, END, ASSISTANT]
    return Encoded(ids=[*opening, *answer, END], asked_count=len(opening))


def _document(text: list[int]) -> Encoded:
    return Encoded(ids=[BOS, *text, END], asked_count=0)


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json, tokenizer_config.json and generation_config.json into an existing folder.

    The class is named `PreTrainedTokenizerFast` and the inputs are listed so that transformers 4.57 loads it too.
    """
    tokenizer.save(str(folder / "tokenizer.json"))
    names = dict(zip(("pad_token", "bos_token", "eos_token"), SPECIAL_TOKENS, strict=False))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": CONTEXT_LENGTH,
        "clean_up_tokenization_spaces": False,
        "additional_special_tokens": list(SPECIAL_TOKENS[USER:]),
        **names,
        # Never used by a byte-level vocabulary; left out, Qwen2Tokenizer would add one past the model's last row.
        "unk_token": SPECIAL_TOKENS[END],
        "chat_template": _CHAT_TEMPLATE,
    }
    _write(folder / "tokenizer_config.json", config)
    generation = {"bos_token_id": BOS, "eos_token_id": END, "pad_token_id": PAD, "do_sample": False}
    _write(folder / "generation_config.json", generation)


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
