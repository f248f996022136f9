"""The small files of a checkpoint as they are once only the kept tokens are left.

    tokenizer.json          vocab, merges, added tokens, padding, post-processor
    tokenizer_config.json   added_tokens_decoder; the chat template is text and stays
    generation_config.json  see settings
    added_tokens.json, vocab.json, merges.txt   what slow tokenizers read, where present

Fields that hold no id stay as they are, in their order, so the same input gives the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from harness.errors import UsageError
from harness.surgery.vocabulary.ancestry import check_closed
from harness.surgery.vocabulary.foreign import (
    MAX_VOCABULARY_BYTES,
    corrupt,
    expect,
    object_bytes,
    read_object,
    read_text,
    shown,
)
from harness.surgery.vocabulary.mandatory import GENERATION_NAME, TOKENIZER_CONFIG_NAME, named_special_tokens
from harness.surgery.vocabulary.settings import Renumbering, remap_config
from harness.surgery.vocabulary.tokenizer import TOKENIZER_NAME, TokenizerFile, pair_of, read_tokenizer
from harness.surgery.vocabulary.tokenizer_json import rewritten_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

SUPERSEDED: Final = ("tokenizer.model", "spiece.model", "qwen.tiktoken", "tekken.json", "vocab.txt")
"""The same vocabulary in formats that are not rewritten: they would contradict the rest and must not be copied."""


def has_tokenizer(folder: Path) -> bool:
    """Whether the checkpoint ``folder`` has a tokenizer of any kind, or weights alone."""
    return any((folder / name).exists() for name in (TOKENIZER_NAME, *_REWRITERS, *SUPERSEDED))


def rewrite_files(folder: Path, keep: Sequence[int]) -> Mapping[str, bytes]:
    """The files of the checkpoint ``folder`` that hold token ids, by name, with the new ones; nothing is written.

    ``config.json`` is not among them: its sizes change with the plan and its ids by ``settings.remap_config``. Files
    that name tokens by their text (special_tokens_map.json, chat templates) stay valid and are not among them either.
    Of a checkpoint without any tokenizer the generation settings alone are.

    Args:
        folder: a checkpoint.
        keep: old ids, ascending; all bytes and added tokens, and of every token what it is merged from.

    Raises:
        UsageError: the tokenizer is of another kind, or ``keep`` lacks a token that must stay.
        CheckpointCorrupt: a file is not what it should be.
        ValueError: ``keep`` does not ascend.
    """
    renumbering = Renumbering.of(keep)
    files = _tokenizer_files(folder, renumbering) if has_tokenizer(folder) else {}
    path = folder / GENERATION_NAME
    if path.exists():
        files[GENERATION_NAME] = object_bytes(remap_config(read_object(path), keep, f"{path}"), f"{path}")
    return files


def _tokenizer_files(folder: Path, renumbering: Renumbering) -> dict[str, bytes]:
    tokenizer = read_tokenizer(folder)
    _check_kept(folder, tokenizer, renumbering)
    files = {TOKENIZER_NAME: object_bytes(rewritten_tokenizer(tokenizer, renumbering), f"{tokenizer.path}")}
    present = [name for name in _REWRITERS if (folder / name).exists()]
    return files | {name: _REWRITERS[name](folder / name, tokenizer, renumbering) for name in present}


def _check_kept(folder: Path, tokenizer: TokenizerFile, renumbering: Renumbering) -> None:
    special = {_special_id(token, tokenizer) for token in named_special_tokens(folder)}
    required = {*tokenizer.byte_ids(), *tokenizer.added.values(), *special}
    missing = sorted(required - renumbering.new_ids.keys())
    if missing:
        raise UsageError(
            f"{tokenizer.path}: keep lacks {len(missing)} tokens that must stay (bytes, added and special ones), the "
            f"first is {missing[0]} ({shown(tokenizer.token_of[missing[0]])}); add them"
        )
    check_closed(tokenizer, renumbering.keep)


def _special_id(token: str, tokenizer: TokenizerFile) -> int:
    """Loading would give a special token that the tokenizer lacks an id for which the smaller model has no row."""
    token_id = tokenizer.id_of(token)
    if token_id is None:
        raise UsageError(
            f"{tokenizer.path}: lacks the special token {shown(token)} that the settings beside it name; load the "
            "tokenizer with transformers' AutoTokenizer and save it into the checkpoint"
        )
    return token_id


def _tokenizer_config(path: Path, tokenizer: TokenizerFile, renumbering: Renumbering) -> bytes:
    document = read_object(path)
    entries = document.get("added_tokens_decoder")
    if entries is not None:
        place = f"{path}: added_tokens_decoder"
        document["added_tokens_decoder"] = {
            str(renumbering.new_id(_added_id(key, entry, tokenizer, place), place)): entry
            for key, entry in expect(entries, dict, place).items()
        }
    return object_bytes(document, f"{path}")


def _added_id(key: str, entry: object, tokenizer: TokenizerFile, place: str) -> int:
    """The old id of an entry of ``added_tokens_decoder``, on which the tokenizer must agree."""
    content = expect(expect(entry, dict, place).get("content"), str, f"{place}: {shown(key)}: content")
    token_id = tokenizer.id_of(content)
    if token_id is None or key != str(token_id):
        raise corrupt(place, f"{shown(content)} has id {shown(key)}, in {TOKENIZER_NAME} {token_id}")
    return token_id


def _vocabulary(path: Path, tokenizer: TokenizerFile, renumbering: Renumbering) -> bytes:
    """``{token: id}``, of base tokens or of added ones."""
    document = read_object(path, MAX_VOCABULARY_BYTES)
    return object_bytes(_renumbered(document, tokenizer, renumbering, path), f"{path}")


def _renumbered(
    document: Mapping[str, Any], tokenizer: TokenizerFile, renumbering: Renumbering, path: Path
) -> dict[str, int]:
    """``{token: id}`` of the kept tokens, with new ids."""
    for token, token_id in document.items():
        if tokenizer.id_of(token) != expect(token_id, int, f"{path}: {shown(token)}"):
            raise corrupt(f"{path}", f"{shown(token)} has id {token_id}, in {TOKENIZER_NAME} {tokenizer.id_of(token)}")
    kept = renumbering.new_ids
    return {token: kept[token_id] for token, token_id in document.items() if token_id in kept}


def _merges(path: Path, tokenizer: TokenizerFile, renumbering: Renumbering) -> bytes:
    """``merges.txt``: comment lines, then a pair a line."""
    lines = read_text(path, MAX_VOCABULARY_BYTES).split("\n")
    kept = [line for line in lines if _line_stays(line, f"{path}", tokenizer, renumbering)]
    return "\n".join(kept).encode()


def _line_stays(line: str, place: str, tokenizer: TokenizerFile, renumbering: Renumbering) -> bool:
    if not line or line.startswith("#version"):
        return True
    left, right = pair_of(line.rstrip("\r"), place)
    return all(tokenizer.ids.get(token) in renumbering.new_ids for token in (left, right, left + right))


_REWRITERS: Final[dict[str, Callable[[Path, TokenizerFile, Renumbering], bytes]]] = {
    TOKENIZER_CONFIG_NAME: _tokenizer_config,
    "added_tokens.json": _vocabulary,
    "vocab.json": _vocabulary,
    "merges.txt": _merges,
}
