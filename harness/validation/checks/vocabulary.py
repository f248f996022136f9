"""Tokens: every id has a row, generation ends where the tokenizer says, and the template speaks in its tokens.

tokenizer.json ──ids──> rows of the embedding <──ids── config.json, generation_config.json
tokenizer_config.json ──eos_token──> eos_token_id      ──chat_template──> <|markers|>, the end of a turn
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from harness.errors import CheckpointCorrupt
from harness.rules.finding import Finding, Place
from harness.validation.catalogue import finding
from harness.validation.check import Check
from harness.validation.listing import Unreadable, read_plain
from harness.validation.weights import read_layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from harness.rules.edition import Edition
    from harness.validation.entry import Entry
    from harness.validation.weights import Weights

EMBEDDING: Final = "model.embed_tokens.weight"
CONFIGS: Final = ("config.json", "generation_config.json")
TOKENIZER: Final = "tokenizer.json"
TOKENIZER_CONFIG: Final = "tokenizer_config.json"
TEMPLATE_FILE: Final = "chat_template.jinja"
ID_FIELDS: Final = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
MAX_TOKENIZER_BYTES: Final = 48 << 20
MAX_CONTAINERS: Final = 600_000
MAX_VALUES: Final = 3_000_000
"""Twice what the largest vocabularies of the competition need; counted before anything is parsed."""
MAX_FINDINGS: Final = 20
_MARKER: Final = re.compile(r"<\|[^|<>\s]{1,64}\|>")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tokens:
    """What the files of one checkpoint say about tokens."""

    weights: Weights
    row_count: int
    """Rows of the input embedding."""
    configs: Mapping[str, Mapping[str, Any]]
    """The parsed files of ``CONFIGS`` that are there, by name."""
    settings: Mapping[str, Any]
    """``tokenizer_config.json``."""
    ids: Mapping[str, int]
    """Every token of ``tokenizer.json``; empty where there is none."""
    added: tuple[tuple[int, str, int], ...]
    """Place in ``added_tokens``, content and id."""

    @property
    def end(self) -> str | None:
        """The token that ends a text, as the tokenizer has it."""
        token = self.settings.get("eos_token")
        token = token.get("content") if isinstance(token, dict) else token
        return token if isinstance(token, str) else None

    @property
    def end_ids(self) -> tuple[str, list[int]]:
        """The file that decides where generation ends, and the ids in it."""
        for name in reversed(CONFIGS):
            found = [value for _, value in _ids(self.configs.get(name, {}), "eos_token_id")]
            if found:
                return name, found
        return CONFIGS[0], []


def _read(entry: Entry) -> Iterator[_Tokens]:
    for weights in entry.weights:
        if weights.role != "final" or weights.folder is None:
            continue
        try:
            rows = next((t.shape[0] for t in read_layout(weights).tensors if t.name == EMBEDDING and t.shape), None)
        except CheckpointCorrupt:
            continue  # weights.corrupt says so
        if rows is not None:
            yield _tokens(weights, weights.folder, rows)


def _tokens(weights: Weights, folder: Path, rows: int) -> _Tokens:
    tokenizer = _json(folder / TOKENIZER)
    listed = tokenizer.get("added_tokens")
    added = tuple(
        (number, token["content"], token["id"])
        for number, token in enumerate(listed if isinstance(listed, list) else ())
        if isinstance(token, dict) and isinstance(token.get("content"), str) and type(token.get("id")) is int
    )
    return _Tokens(
        weights=weights,
        row_count=rows,
        configs={name: _json(folder / name) for name in CONFIGS},
        settings=_json(folder / TOKENIZER_CONFIG),
        ids={**_vocabulary(tokenizer.get("model")), **{content: number for _, content, number in added}},
        added=added,
    )


def _vocabulary(model: object) -> dict[str, int]:
    """Ids by token: a mapping in BPE and WordPiece, a list of pairs in Unigram."""
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, list):
        return {str(pair[0]): number for number, pair in enumerate(vocabulary) if isinstance(pair, list) and pair}
    found = vocabulary.items() if isinstance(vocabulary, dict) else ()
    return {token: number for token, number in found if type(number) is int}


def _json(file: Path) -> dict[str, Any]:
    """The object in ``file``; empty where there is none that can be read, of which other rules speak."""
    try:
        text = read_plain(file, max_bytes=MAX_TOKENIZER_BYTES)
        if text.count(b"[") + text.count(b"{") > MAX_CONTAINERS or text.count(b",") > MAX_VALUES:
            return {}
        content = json.loads(text)
    except (Unreadable, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _ids(config: Mapping[str, Any], field: str) -> Iterator[tuple[str, int]]:
    """The ids in ``field`` of a configuration, one or a list of them, each with its path."""
    value = config.get(field)
    if isinstance(value, list):
        yield from ((f"{field}.{n}", number) for n, number in enumerate(value) if type(number) is int)
    elif type(value) is int:
        yield field, value


def token_ids(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Every token id that the files name has a row in the embedding."""
    for tokens in _read(entry):
        beyond = [one for one in _named_ids(tokens) if not 0 <= one[2] < tokens.row_count]
        for file, field, number in beyond[:MAX_FINDINGS]:
            place = Place(file=tokens.weights.file(file), field=field)
            message = "the token has no row in the embedding"
            allowed = f"0 to {tokens.row_count - 1}"
            yield finding("structure.token_ids", place, message, found=number, allowed=allowed)


def _named_ids(tokens: _Tokens) -> Iterator[tuple[str, str, int]]:
    """File, field and id; of the vocabulary only the largest and the smallest id."""
    for name, config in tokens.configs.items():
        for field in ID_FIELDS:
            yield from ((name, path, number) for path, number in _ids(config, field))
    added = {content for _, content, _ in tokens.added}
    yield from ((TOKENIZER, f"added_tokens.{place}.id", number) for place, _, number in tokens.added)
    plain = [(number, token) for token, number in tokens.ids.items() if token not in added]
    for number, token in sorted({min(plain), max(plain)}) if plain else ():
        yield TOKENIZER, f"model.vocab.{token}", number


def end_of_text(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Generation ends at the token that the tokenizer calls the end."""
    for tokens in _read(entry):
        name, ids = tokens.end_ids
        if tokens.end is None or not tokens.ids:
            continue
        if tokens.end not in tokens.ids:
            place = Place(file=tokens.weights.file(TOKENIZER_CONFIG), field="eos_token")
            message = "the end of a text is no token of the tokenizer"
            yield finding("structure.eos", place, message, found=tokens.end, allowed="a token of tokenizer.json")
        elif tokens.ids[tokens.end] not in ids:
            place = Place(file=tokens.weights.file(name), field="eos_token_id")
            message = f"generation does not end at {tokens.end!r}, which the tokenizer calls the end"
            allowed = f"{tokens.ids[tokens.end]}, or a list with it"
            yield finding("structure.eos", place, message, found=ids or "no id", allowed=allowed)


def template(entry: Entry, _: Edition) -> Iterator[Finding]:
    """The chat template's markers are tokens, and it writes a token that ends generation."""
    for tokens in _read(entry):
        for file, field, text in _templates(tokens) if tokens.ids else ():
            place = Place(file=tokens.weights.file(file), field=field)
            for marker in sorted(set(_MARKER.findall(text)) - tokens.ids.keys())[:MAX_FINDINGS]:
                message = "a marker of the chat template is no token: the model sees it in pieces"
                yield finding("structure.template", place, message, found=marker, allowed="a token of tokenizer.json")
            ids = tokens.end_ids[1]
            ends = [token for token, number in tokens.ids.items() if number in ids]
            if ends and "eos_token" not in text and not any(token in text for token in ends):
                message = "the chat template never writes a token at which generation ends"
                yield finding("structure.template", place, message, found="none", allowed=" or ".join(sorted(ends)))


def _templates(tokens: _Tokens) -> Iterator[tuple[str, str | None, str]]:
    """File, field and text of every chat template."""
    written = tokens.settings.get("chat_template")
    if isinstance(written, str):
        yield TOKENIZER_CONFIG, "chat_template", written
    for number, one in enumerate(written if isinstance(written, list) else ()):
        if isinstance(one, dict) and isinstance(one.get("template"), str):
            yield TOKENIZER_CONFIG, f"chat_template.{number}.template", one["template"]
    try:
        text = read_plain(tokens.weights.require_folder() / TEMPLATE_FILE, max_bytes=MAX_TOKENIZER_BYTES)
    except Unreadable:
        return
    yield TEMPLATE_FILE, None, text.decode(errors="replace")


CHECKS = (
    Check(rule="structure.token_ids", function=token_ids),
    Check(rule="structure.eos", function=end_of_text),
    Check(rule="structure.template", function=template),
)
