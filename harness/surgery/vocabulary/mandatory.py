r"""Tokens that stay whatever their counts: what prompts, answers and settings are made of.

chat template   "{{ '<|user|>' + message['role'] }}\n"  ──>  '\n', '<|user|>', 'role'   its text and its literals
answers         the digits, punctuation and the option letters A to H, alone and after a space
settings        every id in config.json and generation_config.json, every special token by name
"""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING, Any, Final

from harness.surgery.vocabulary.engine import load_engine
from harness.surgery.vocabulary.foreign import expect, read_object, read_text
from harness.surgery.vocabulary.settings import token_ids_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.surgery.vocabulary.tokenizer import TokenizerFile

TOKENIZER_CONFIG_NAME: Final = "tokenizer_config.json"
SPECIAL_TOKENS_NAME: Final = "special_tokens_map.json"
GENERATION_NAME: Final = "generation_config.json"
TEMPLATE_NAME: Final = "chat_template.jinja"

ROLES: Final = ("system", "user", "assistant")
"""What a message's ``role`` puts into the text."""
OPTION_LETTERS: Final = "ABCDEFGH"

_SYMBOLS: Final = (*string.digits, *string.punctuation, *OPTION_LETTERS)
_TAG: Final = re.compile(r"(\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\})", re.DOTALL)
_LITERAL: Final = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)
_ESCAPES: Final = {r"\n": "\n", r"\t": "\t", r"\r": "\r", r"\\": "\\", r"\'": "'", r"\"": '"'}
_ESCAPE: Final = re.compile(r"\\.", re.DOTALL)
_SPECIAL_KEYS: Final = (
    *(f"{name}_token" for name in ("bos", "eos", "pad", "unk", "sep", "cls", "mask")),
    "additional_special_tokens",
    "extra_special_tokens",
    "model_specific_special_tokens",
    "added_tokens_decoder",
)


def mandatory_tokens(folder: Path, tokenizer: TokenizerFile) -> frozenset[int]:
    """Ids that a cut of the checkpoint ``folder`` must keep, beside bytes and added tokens, which always stay.

    Raises:
        CheckpointCorrupt: a file of the checkpoint is not what it should be.
    """
    texts = [*ROLES, *_SYMBOLS, *(" " + symbol for symbol in _SYMBOLS)]
    texts.extend(text for template in chat_templates(folder) for text in template_texts(template))
    encodings = load_engine(tokenizer.path).encode_batch_fast(texts, add_special_tokens=False)
    encoded = {token_id for encoding in encodings for token_id in encoding.ids}
    named = {tokenizer.id_of(token) for token in named_special_tokens(folder)} - {None}
    settings = {token_id for token_id in _settings_ids(folder) if token_id in tokenizer.token_of}
    return frozenset({*encoded, *settings, *(token_id for token_id in named if token_id is not None)})


def chat_templates(folder: Path) -> tuple[str, ...]:
    """The chat templates of a checkpoint, wherever transformers looks for them; raises ``CheckpointCorrupt``."""
    path = folder / TEMPLATE_NAME
    return (*_configured_templates(folder), *([read_text(path)] if path.exists() else ()))


def template_texts(template: str) -> tuple[str, ...]:
    """What a Jinja template can put into a text by itself: what stands outside of tags, and literals within them.

    Literals that are only compared or looked up are among them: a few tokens too many, and none too few.
    """
    pieces = _TAG.split(template)
    literals = [one or other for tag in pieces[1::2] for one, other in _LITERAL.findall(tag)]
    return tuple(text for text in (*pieces[::2], *map(_unescaped, literals)) if text)


def named_special_tokens(folder: Path) -> frozenset[str]:
    """The special tokens that the tokenizer's settings name; raises ``CheckpointCorrupt``."""
    names: set[str] = set()
    for file in (TOKENIZER_CONFIG_NAME, SPECIAL_TOKENS_NAME):
        document = _optional(folder / file)
        for key in _SPECIAL_KEYS:
            names.update(_contents(document.get(key), f"{folder / file}: {key}"))
    return frozenset(names)


def _contents(value: object, place: str) -> Iterator[str]:
    """The texts of a special token, of a list of them, or of several by name; null is none."""
    several = list(value.values()) if isinstance(value, dict) and "content" not in value else value
    for entry in several if isinstance(several, list) else [several]:
        content = entry.get("content") if isinstance(entry, dict) else entry
        if content is not None and content != "":
            yield expect(content, str, place)


def _configured_templates(folder: Path) -> Iterator[str]:
    template = _optional(folder / TOKENIZER_CONFIG_NAME).get("chat_template")
    place = f"{folder / TOKENIZER_CONFIG_NAME}: chat_template"
    if isinstance(template, list):  # several by name
        for entry in template:
            yield expect(expect(entry, dict, place).get("template"), str, place)
    elif template is not None:
        yield expect(template, str, place)


def _settings_ids(folder: Path) -> Iterator[int]:
    for name in ("config.json", GENERATION_NAME):
        yield from token_ids_in(_optional(folder / name), f"{folder / name}")


def _optional(path: Path) -> dict[str, Any]:
    return read_object(path) if path.exists() else {}


def _unescaped(literal: str) -> str:
    return _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[0], escape[0]), literal)
