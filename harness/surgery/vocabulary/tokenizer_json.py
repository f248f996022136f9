"""``tokenizer.json`` with the kept tokens alone, under their new ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from harness.errors import UsageError
from harness.surgery.vocabulary.foreign import corrupt, expect, member, shown
from harness.surgery.vocabulary.tokenizer import pair_of

if TYPE_CHECKING:
    from harness.surgery.vocabulary.settings import Renumbering
    from harness.surgery.vocabulary.tokenizer import TokenizerFile

MAX_NESTING: Final = 8
"""Sequences of post-processors within each other."""


def rewritten_tokenizer(tokenizer: TokenizerFile, renumbering: Renumbering) -> dict[str, Any]:
    """The document of ``tokenizer`` with the kept tokens alone; ``ignore_merges`` and all else stays.

    Raises:
        UsageError: the post-processor is of an unknown kind, or uses a token that was dropped.
        CheckpointCorrupt: a field holds what it should not.
    """
    document = dict(tokenizer.document)
    place = f"{tokenizer.path}"
    document["model"] = _model(tokenizer, renumbering)
    entries = member(document, "added_tokens", list, place) or []
    document["added_tokens"] = [{**entry, "id": renumbering.new_id(entry["id"], place)} for entry in entries]
    for part, rewrite in (("padding", _padding), ("post_processor", _processor)):
        value = member(document, part, dict, place)
        if value is not None:
            document[part] = rewrite(value, renumbering, f"{place}: {part}")
    return document


def _model(tokenizer: TokenizerFile, renumbering: Renumbering) -> dict[str, Any]:
    """Vocabulary and merges in the order and the form that they had."""
    model: dict[str, Any] = tokenizer.document["model"]
    new_ids = renumbering.new_ids
    vocabulary = {token: new_ids[token_id] for token, token_id in tokenizer.ids.items() if token_id in new_ids}
    merges = [merge for merge in model["merges"] if _stays(*pair_of(merge, f"{tokenizer.path}"), vocabulary)]
    return {**model, "vocab": vocabulary, "merges": merges}


def _stays(left: str, right: str, vocabulary: dict[str, int]) -> bool:
    return left in vocabulary and right in vocabulary and left + right in vocabulary


def _padding(padding: dict[str, Any], renumbering: Renumbering, place: str) -> dict[str, Any]:
    token_id = expect(padding.get("pad_id"), int, f"{place}: pad_id")
    return {**padding, "pad_id": renumbering.new_id(token_id, f"{place}: pad_id")}


def _processor(processor: dict[str, Any], renumbering: Renumbering, place: str, depth: int = 0) -> dict[str, Any]:
    """What puts special tokens around a text."""
    match processor.get("type"):
        case "ByteLevel":
            return processor
        case "TemplateProcessing":
            return _template(processor, renumbering, place)
        case "BertProcessing" | "RobertaProcessing":
            ends = {end: _end(processor.get(end), renumbering, f"{place}: {end}") for end in ("sep", "cls")}
            return {**processor, **ends}
        case "Sequence" if depth < MAX_NESTING:
            steps = expect(processor.get("processors"), list, f"{place}: processors")
            inner = [_processor(expect(step, dict, place), renumbering, place, depth + 1) for step in steps]
            return {**processor, "processors": inner}
        case kind:
            raise UsageError(f"{place}: no way to renumber a {shown(kind)}; keep all tokens")


def _template(processor: dict[str, Any], renumbering: Renumbering, place: str) -> dict[str, Any]:
    """``special_tokens {name: {ids}}``; a template of none may have null there or nothing."""
    tokens = member(processor, "special_tokens", dict, place) or {}
    special = {name: _special(entry, renumbering, f"{place}: {shown(name)}") for name, entry in tokens.items()}
    return {**processor, "special_tokens": special}


def _special(entry: object, renumbering: Renumbering, place: str) -> dict[str, Any]:
    token = expect(entry, dict, place)
    ids = expect(token.get("ids"), list, f"{place}: ids")
    return {**token, "ids": [renumbering.new_id(expect(token_id, int, place), place) for token_id in ids]}


def _end(end: object, renumbering: Renumbering, place: str) -> list[object]:
    match end:
        case [str(token), token_id]:
            return [token, renumbering.new_id(expect(token_id, int, place), place)]
    raise corrupt(place, f"must be [token, id], found {shown(end)}")
