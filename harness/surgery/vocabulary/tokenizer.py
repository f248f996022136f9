"""A tokenizer file, read and held against what a vocabulary can be cut from: byte-level BPE.

    tokenizer.json   model.vocab {token: id}   model.merges [(left, right)]   added_tokens [{id, content}]

Tokens are written in 256 byte symbols: a printable byte of Latin-1 stands for itself, each other one for U+0100 and on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from harness.errors import UsageError
from harness.surgery.plan import MAX_UNIT_COUNT
from harness.surgery.vocabulary.foreign import MAX_VOCABULARY_BYTES, corrupt, expect, member, read_object, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TOKENIZER_NAME: Final = "tokenizer.json"
MAX_TOKEN_CHARACTERS: Final = 1024
"""Longest token that is read; those of Llama-3 and Qwen2 end at 128."""

_PRINTABLE: Final = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_OTHERS: Final = tuple(byte for byte in range(256) if byte not in _PRINTABLE)
BYTE_SYMBOLS: Final = frozenset(map(chr, (*_PRINTABLE, *range(0x100, 0x100 + len(_OTHERS)))))
"""The characters that stand for the 256 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerFile:
    """A byte-level BPE, as its ``tokenizer.json`` has it."""

    path: Path
    document: Mapping[str, Any]
    """The whole file."""
    ids: Mapping[str, int]
    """``model.vocab``: base tokens, in byte symbols."""
    added: Mapping[str, int]
    """Added tokens, special or not, as they stand in a text; some are base tokens as well."""
    token_of: Mapping[int, str]
    """Every token by its id, ascending."""
    merge_ranks: Mapping[tuple[str, str], int]
    """The smaller, the earlier a pair is merged."""

    @property
    def length(self) -> int:
        """Tokens, added ones included; a model may have more rows."""
        return len(self.token_of)

    @property
    def row_count(self) -> int:
        """Rows that a model needs for every id."""
        return max(self.token_of) + 1

    def byte_ids(self) -> frozenset[int]:
        """The ids of the 256 byte symbols."""
        return frozenset(self.ids[symbol] for symbol in BYTE_SYMBOLS)

    def id_of(self, token: str) -> int | None:
        """The id of a token that is written as text (``<|end|>``); None where there is none."""
        return self.added.get(token, self.ids.get(token))


def read_tokenizer(folder: Path) -> TokenizerFile:
    """The tokenizer of the checkpoint ``folder``.

    Raises:
        UsageError: there is no ``tokenizer.json``, or it is no byte-level BPE.
        CheckpointCorrupt: it contradicts itself, or is too large.
    """
    path = folder / TOKENIZER_NAME
    if not path.exists():
        raise UsageError(
            f"{folder}: no {TOKENIZER_NAME}; only a fast tokenizer's vocabulary can be cut: load the tokenizer with "
            "transformers' AutoTokenizer and save it into the checkpoint"
        )
    document = read_object(path, MAX_VOCABULARY_BYTES)
    model = expect(document.get("model"), dict, f"{path}: model")
    _check_kind(document, model, path)
    ids = _base_ids(model, path)
    added = _added_ids(document, ids, path)
    token_of = {token_id: token for token, token_id in (*ids.items(), *added.items())}
    ranks = {pair: rank for rank, pair in enumerate(_merges(model, ids, path))}
    return TokenizerFile(
        path=path,
        document=document,
        ids=ids,
        added=added,
        token_of=dict(sorted(token_of.items())),
        merge_ranks=ranks,
    )


def pair_of(merge: object, place: str) -> tuple[str, str]:
    """The two halves of a merge, which older files write ``"a b"`` and newer ones ``["a", "b"]``."""
    halves = merge.split(" ") if isinstance(merge, str) else merge
    match halves:
        case [str(left), str(right)] if left and right:
            return left, right
    raise corrupt(place, f"a merge must be two tokens, found {shown(merge)}")


def _check_kind(document: dict[str, Any], model: dict[str, Any], path: Path) -> None:
    """Raises ``UsageError`` for what is no byte-level BPE, the one kind whose tokens all come down to bytes."""
    kind = expect(model.get("type", "BPE"), str, f"{path}: model: type")
    if kind != "BPE":
        _unsupported(path, f"model type {shown(kind)}")
    for option in ("byte_fallback", "continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if model.get(option):
            _unsupported(path, f"{option} {shown(model[option])}")
    for part in ("pre_tokenizer", "decoder"):
        if "ByteLevel" not in _types(member(document, part, dict, f"{path}")):
            _unsupported(path, f"a {part} without ByteLevel")


def _unsupported(path: Path, found: str) -> None:
    raise UsageError(f"{path}: only the vocabulary of a byte-level BPE can be cut, found {found}; keep all tokens")


def _types(part: dict[str, Any] | None) -> Iterator[object]:
    """The type of a part of the tokenizer, and of those that it is a sequence of."""
    pending: list[object] = [part]
    while pending:
        found = pending.pop()
        if isinstance(found, dict):
            yield found.get("type")
            for steps in (found.get("pretokenizers"), found.get("decoders")):
                pending.extend(steps if isinstance(steps, list) else ())


def _base_ids(model: dict[str, Any], path: Path) -> dict[str, int]:
    ids = expect(model.get("vocab"), dict, f"{path}: model: vocab")
    for token, token_id in ids.items():
        _check_token(token, token_id, f"{path}: model: vocab")
    _check_unique(ids, path)
    missing = BYTE_SYMBOLS - ids.keys()
    if missing:
        _unsupported(path, f"no token for {len(missing)} of the 256 bytes")
    return ids


def _check_token(token: str, token_id: object, place: str) -> None:
    number = expect(token_id, int, place)
    if not 0 <= number < MAX_UNIT_COUNT:
        raise corrupt(place, f"token {shown(token)}: its id must be in 0..{MAX_UNIT_COUNT - 1}, found {shown(number)}")
    if not 0 < len(token) <= MAX_TOKEN_CHARACTERS:
        raise corrupt(place, f"token {number}: 1 to {MAX_TOKEN_CHARACTERS} characters are read, found {len(token)}")


def _check_unique(ids: Mapping[str, int], path: Path) -> None:
    if len(set(ids.values())) < len(ids):
        token_id = next(token_id for token_id, count in Counter(ids.values()).items() if count > 1)
        raise corrupt(f"{path}", f"id {token_id} belongs to several tokens")


def _added_ids(document: dict[str, Any], base: Mapping[str, int], path: Path) -> dict[str, int]:
    """Added tokens; one that is no base token has the id that the tokenizers library gives it: the next free one."""
    place = f"{path}: added_tokens"
    added: dict[str, int] = {}
    free = len(base)
    for entry in member(document, "added_tokens", list, f"{path}") or ():
        token = expect(expect(entry, dict, place).get("content"), str, f"{place}: content")
        _check_token(token, entry.get("id"), place)
        expected = base.get(token, free)
        if entry["id"] != expected or token in added:
            raise corrupt(place, f"{shown(token)} must stand there once with id {expected}, found {shown(entry['id'])}")
        added[token] = expected
        free += token not in base
    _check_unique({**base, **added}, path)
    return added


def _merges(model: dict[str, Any], ids: Mapping[str, int], path: Path) -> Iterator[tuple[str, str]]:
    place = f"{path}: model: merges"
    for merge in expect(model.get("merges"), list, place):
        left, right = pair_of(merge, place)
        if not (left in ids and right in ids and left + right in ids):
            raise corrupt(place, f"{shown(merge)}: both halves and their sum must be in the vocabulary")
        yield left, right
