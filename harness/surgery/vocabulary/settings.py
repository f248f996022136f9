"""Token ids in ``config.json`` and ``generation_config.json``, old ones to new ones.

    bos_token_id, eos_token_id, ... (one, or a list)      each must stay: what ends an answer cannot be given up
    force_words_ids, forced_decoder_ids                   likewise
    suppress_tokens, bad_words_ids, sequence_bias, ...    what names a dropped token goes: it can no longer be produced

A negative id (a pad token of -1) is no row and stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Self

from harness.errors import UsageError
from harness.surgery.vocabulary.foreign import corrupt, expect, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MAX_NESTING: Final = 4
"""Lists within lists; ``force_words_ids`` has three."""

_STRICT_SUFFIX: Final = "_token_id"
_STRICT_KEYS: Final = ("force_words_ids",)
_LENIENT_KEYS: Final = ("suppress_tokens", "begin_suppress_tokens", "bad_words_ids")


@dataclass(frozen=True, slots=True, kw_only=True)
class Renumbering:
    """Old ids to new ones: the new id of a token is its place among the kept ones."""

    keep: tuple[int, ...]
    """Old ids, ascending."""
    new_ids: Mapping[int, int]

    @classmethod
    def of(cls, keep: Sequence[int]) -> Self:
        """The renumbering by which the tokens ``keep`` stay.

        Raises:
            ValueError: ``keep`` is empty, does not ascend, or has a negative id.
        """
        if not keep or keep[0] < 0 or not all(left < right for left, right in pairwise(keep)):
            raise ValueError("keep must be ascending ids, at least one, none negative")
        return cls(keep=tuple(keep), new_ids={old: new for new, old in enumerate(keep)})

    def new_id(self, old: int, place: str) -> int:
        """The new id of the token ``old``; raises ``UsageError`` where it was dropped."""
        if old not in self.new_ids:
            raise UsageError(f"{place}: token {old} is not kept; keep it, or name another token there")
        return self.new_ids[old]


def remap_config(config: Mapping[str, Any], keep: Sequence[int], place: str = "config.json") -> dict[str, Any]:
    """``config`` with the new ids of the kept tokens; ``vocab_size`` is left to the plan of the ``vocab`` axis.

    Args:
        config: a parsed ``config.json`` or ``generation_config.json``.
        keep: old ids, ascending.
        place: what errors call it.

    Raises:
        UsageError: a token that must stay was dropped.
        CheckpointCorrupt: a field of ids holds something else.
    """
    renumbering = Renumbering.of(keep)
    return {key: _remapped(key, value, renumbering, f"{place}: {key}") for key, value in config.items()}


def token_ids_in(config: Mapping[str, Any], place: str) -> tuple[int, ...]:
    """The ids in ``config`` that must stay, in the order of the file; raises ``CheckpointCorrupt``."""
    strict = [(key, value) for key, value in config.items() if _is_strict(key)]
    found = [token_id for key, value in strict for token_id in _flat(value, f"{place}: {key}")]
    pairs = _forced(config.get("forced_decoder_ids"), f"{place}: forced_decoder_ids")
    return (*found, *(token_id for _, token_id in pairs if token_id is not None and token_id >= 0))


def _is_strict(key: str) -> bool:
    return key.endswith(_STRICT_SUFFIX) or key in _STRICT_KEYS


def _remapped(key: str, value: object, renumbering: Renumbering, place: str) -> object:
    if value is None:
        return None
    if _is_strict(key):
        return _strict(value, renumbering, place)
    if key in _LENIENT_KEYS:
        return _lenient(value, renumbering, place)
    if key == "sequence_bias":
        return _biased(value, renumbering, place)
    if key == "forced_decoder_ids":
        return [_forced_pair(pair, renumbering, place) for pair in _forced(value, place)]
    return value


def _strict(value: object, renumbering: Renumbering, place: str, depth: int = 0) -> object:
    """Ids in lists at any depth that is in use; every one must be kept."""
    if isinstance(value, list):
        if depth == MAX_NESTING:
            raise corrupt(place, f"lists are read {MAX_NESTING} deep, found more")
        return [_strict(entry, renumbering, place, depth + 1) for entry in value]
    token_id = expect(value, int, place)
    return token_id if token_id < 0 else renumbering.new_id(token_id, place)


def _flat(value: object, place: str, depth: int = 0) -> Iterator[int]:
    """The ids in ``value``, in lists as deep as ``_strict`` takes them; null and negative ones are none."""
    if isinstance(value, list):
        if depth == MAX_NESTING:
            raise corrupt(place, f"lists are read {MAX_NESTING} deep, found more")
        for entry in value:
            yield from _flat(entry, place, depth + 1)
    elif value is not None and expect(value, int, place) >= 0:
        yield expect(value, int, place)


def _lenient(value: object, renumbering: Renumbering, place: str) -> object:
    """A list of ids, or of sequences of ids, less what holds a dropped token; null where nothing is left."""
    kept = [
        _strict(entry, renumbering, place)
        for entry in expect(value, list, place)
        if all(token_id in renumbering.new_ids for token_id in _flat(entry, place))
    ]
    return kept or None


def _biased(value: object, renumbering: Renumbering, place: str) -> object:
    """``[[ids, bias], ...]`` less what holds a dropped token; null where nothing is left."""
    kept: list[object] = []
    for entry in expect(value, list, place):
        match entry:
            case [list() as ids, bias]:
                sequences = _lenient([ids], renumbering, place)
                kept.extend([sequence, bias] for sequence in expect(sequences or [], list, place))
            case _:
                raise corrupt(place, f"an entry must be [ids, bias], found {shown(entry)}")
    return kept or None


def _forced(value: object, place: str) -> Iterator[tuple[int, int | None]]:
    """``[[position, id or null], ...]``."""
    for entry in expect([] if value is None else value, list, place):
        match entry:
            case [position, token_id]:
                yield expect(position, int, place), None if token_id is None else expect(token_id, int, place)
            case _:
                raise corrupt(place, f"an entry must be [position, id], found {shown(entry)}")


def _forced_pair(pair: tuple[int, int | None], renumbering: Renumbering, place: str) -> list[int | None]:
    position, token_id = pair
    return [position, token_id if token_id is None or token_id < 0 else renumbering.new_id(token_id, place)]
