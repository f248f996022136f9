"""What a package must know of the tokenizer: its files, the ids of its tokens, and how MLC joins them into text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from harness.errors import CheckpointCorrupt
from harness.surgery.vocabulary.foreign import MAX_VOCABULARY_BYTES, expect, member, read_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TOKENIZER_NAME: Final = "tokenizer.json"
TOKENIZER_FILES: Final = (
    "tokenizer.model",
    TOKENIZER_NAME,
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "tokenizer_config.json",
)
"""The files that MLC takes along where they are there, in its order."""
_SPACE_MARK: Final = "\u2581"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """A ``tokenizer.json``, as far as a package needs it."""

    document: Mapping[str, Any]
    ids: Mapping[str, int]
    """Every token, added ones as they stand in a text."""

    @property
    def count(self) -> int:
        """Different ids; a model may have more rows."""
        return len(set(self.ids.values()))


def read_tokens(folder: Path) -> Tokens:
    """The tokens of the checkpoint or package ``folder``.

    Raises:
        CheckpointCorrupt: there is no ``tokenizer.json``, or it is none.
    """
    path = folder / TOKENIZER_NAME
    if not path.is_file():
        raise CheckpointCorrupt(f"{folder}: no {TOKENIZER_NAME}; MLC's runtime needs the fast tokenizer's file")
    document = read_object(path, MAX_VOCABULARY_BYTES)
    model = expect(document.get("model"), dict, f"{path}: model")
    return Tokens(document=document, ids={**_base(model, f"{path}: model"), **_added(document, f"{path}")})


def present_files(folder: Path) -> tuple[str, ...]:
    """The tokenizer files that ``folder`` has, in MLC's order."""
    return tuple(name for name in TOKENIZER_FILES if (folder / name).is_file())


def tokenizer_info(tokens: Tokens) -> dict[str, Any]:
    """What MLC finds out about a tokenizer: how its tokens become bytes, and what happens to spaces.

    Source: ``Tokenizer::DetectTokenizerInfo`` of mlc-llm's ``cpp/tokenizers/tokenizers.cc``.
    """
    decoders = list(_steps(tokens.document.get("decoder"), "decoders"))
    kinds = [step.get("type") for step in decoders]
    normalizers = _steps(tokens.document.get("normalizer"), "normalizers")
    known = {"ByteLevel": "byte_level", "ByteFallback": "byte_fallback"}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    return {
        "token_postproc_method": next((known[kind] for kind in reversed(kinds) if kind in known), "byte_fallback"),
        "prepend_space_in_encode": any(
            step.get("type") == "Prepend" and step.get("prepend") == _SPACE_MARK for step in normalizers
        ),
        "strip_space_in_decode": any(strip.items() <= step.items() for step in decoders),
    }


def _base(model: dict[str, Any], place: str) -> dict[str, int]:
    """``{token: id}``, or of a unigram model ``[[token, score], ...]``."""
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, list):
        return {str(expect(entry, list, f"{place}: vocab")[0]): number for number, entry in enumerate(vocabulary)}
    found = expect(vocabulary, dict, f"{place}: vocab")
    return {token: expect(number, int, f"{place}: vocab") for token, number in found.items()}


def _added(document: dict[str, Any], place: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for entry in member(document, "added_tokens", list, place) or ():
        token = expect(entry, dict, f"{place}: added_tokens")
        name = expect(token.get("content"), str, f"{place}: added_tokens: content")
        if name in found:
            # What MLC refuses in its own words: the tokenizers library would take the last of them.
            raise CheckpointCorrupt(f"{place}: added_tokens: {name!r:.60} stands there twice; remove one")
        found[name] = expect(token.get("id"), int, f"{place}: added_tokens: id")
    return found


def _steps(part: object, inner: str) -> Iterator[dict[str, Any]]:
    """A part of the tokenizer, or those that it is a sequence of."""
    if isinstance(part, dict):
        steps = part.get(inner) if part.get("type") == "Sequence" else [part]
        yield from (step for step in steps or () if isinstance(step, dict))
