"""What a mixture draws from besides whole data sets: a part of one, or samples that were derived.

    "c4"        DataDoor.reading                      rows of the edition's data set
    Part        DataDoor.reading, then a sieve        a chunk of quality, the code-relevant documents
    Derived     samples in memory, with parents       made by rules, or by the student

Each is read in passes; a pass is iterated for samples, told which of them were really taken, and gives the ledger's
entry for these.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from harness.corpora.derived import parent_kind
from harness.corpora.ledger import LedgerEntry
from harness.document import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pydantic import JsonValue

    from harness.corpora.door import DataDoor
    from harness.corpora.reading import Reading, Sieve
    from harness.corpora.rows import Sample


class Pass(Protocol):
    """One pass over samples."""

    def __iter__(self) -> Iterator[Sample]:
        """The samples, in order."""

    def account(self, sample: Sample, *, token_count: int = 0) -> None:
        """Enter ``sample``, of which so many tokens were used; called in order."""

    def entry(self) -> LedgerEntry | None:
        """The ledger's entry; None where nothing was taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a sieve leaves of a data set, under a name of its own."""

    data: str
    """Short name of the data set in the edition."""
    make_sieve: Callable[[], Sieve]
    """Makes a sieve, a new one for each pass."""
    key: str
    """Digest of everything that decides what it lets pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """Samples that stand in no data set, with what made them."""

    data: str
    """Short name of the data set that they belong to: what their parents read, or the nearest in form."""
    samples: Sequence[Sample]
    parents: tuple[str, ...]
    """Digests of checkpoints, ``rules:<name>``."""
    max_token_share: float
    """Of all tokens; what is drawn stays below it."""

    def __post_init__(self) -> None:
        unknown = [parent for parent in self.parents if parent_kind(parent) is None]
        if not self.parents or unknown:
            raise ValueError(f"derived samples need parents, a digest or rules:<name>, got {list(self.parents)}")
        if not 0 < self.max_token_share <= 1:
            raise ValueError(f"max_token_share must be > 0 and <= 1, got {self.max_token_share}")

    @property
    def key(self) -> str:
        """Digest of the samples and their parents."""
        texts: list[JsonValue] = [[one.prompt, one.text] for one in self.samples]
        return digest_of([self.data, list(self.parents), *texts])


Named = Part | Derived


class PartReading:
    """A pass over a part."""

    def __init__(self, reading: Reading, sieve: Sieve) -> None:
        self._reading, self._sieve = reading, sieve
        self.account, self.entry = reading.account, reading.entry

    def __iter__(self) -> Iterator[Sample]:
        for sample in self._reading:
            left = self._sieve(sample)
            if left is not None:
                yield left


class DerivedReading:
    """A pass over derived samples."""

    def __init__(self, door: DataDoor, derived: Derived) -> None:
        self._rule = door.settings.rules[derived.data]
        self._derived = derived
        self._digest = hashlib.sha256()
        self._rows: list[int] = []
        self._token_count = 0

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._derived.samples)

    def account(self, sample: Sample, *, token_count: int = 0) -> None:
        """As ``Reading.account``."""
        self._rows.append(sample.row)
        self._token_count += token_count
        self._digest.update(json.dumps([sample.prompt, sample.text], ensure_ascii=False).encode() + b"\n")

    def entry(self) -> LedgerEntry | None:
        """As ``Reading.entry``, with the parents."""
        if not self._rows:
            return None
        return LedgerEntry(
            data=self._derived.data,
            hub_id=self._rule.hub_id,
            revision=f"derived:{self._derived.key[:16]}",
            origin="embedded",
            split="train",
            first_row=self._rows[0],
            last_row=self._rows[-1],
            sample_count=len(self._rows),
            token_count=self._token_count,
            text_digest=self._digest.hexdigest(),
            parents=self._derived.parents,
        )


def open_pass(door: DataDoor, name: str, named: Named | None) -> Pass:
    """A new pass over the data set ``name``, or over what ``named`` says that the name stands for."""
    if named is None:
        return door.reading(name)
    if isinstance(named, Derived):
        return DerivedReading(door, named)
    return PartReading(door.reading(named.data), named.make_sieve())
