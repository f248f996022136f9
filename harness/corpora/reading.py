"""One pass over a split of a data set, and what was taken from it."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.checkpoint.checkpoint import CheckpointFile, files_digest
from harness.corpora.contamination import Scanner
from harness.corpora.ledger import LedgerEntry, LedgerFile, ScannedEntry
from harness.corpora.rows import Sample, is_held_out, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.corpora.contamination import Lookup
    from harness.corpora.sources import Source
    from harness.rules.edition import DataRule

Sieve = Callable[[Sample], Sample | None]
"""From a sample to what is left of it; None for nothing."""


class Reading:
    """Iterate for the samples of the split; ``account`` for each one that is really taken."""

    def __init__(  # noqa: PLR0913 - what the door knows of a pass, all by name
        self,
        *,
        name: str,
        rule: DataRule,
        source: Source,
        split: str,
        lookup: Lookup | None = None,
        sieve: Sieve | None = None,
    ) -> None:
        """A pass over ``source``.

        Args:
            name: Of the data set in the edition.
            rule: The edition's for it.
            source: Where its rows come from.
            split: Which of them.
            lookup: What is taken is held against the items of it, where there is one.
            sieve: What it lets pass of each sample is the sample; what it holds back is skipped.
        """
        self.name = name
        self.split = split
        self.token_count = 0
        self.sample_count = 0
        self._rule = rule
        self._source = source
        self._digest = hashlib.sha256()
        self._rows: tuple[int, int] | None = None
        self._skipped_ahead: deque[int] = deque()
        self._skipped_count = 0
        self._sieve = sieve
        self._scanner = Scanner(lookup) if lookup is not None else None

    def __iter__(self) -> Iterator[Sample]:
        has_split = self._source.has_split(self.split)
        for row in self._source.rows(self.split):
            parsed = parse(self._rule.data_schema, row, self.name)
            if not has_split and is_held_out(parsed.key) != (self.split == "validation"):
                continue
            self._skipped_ahead.extend([row.number] * parsed.skipped_count)
            for sample in parsed.samples:
                sifted = sample if self._sieve is None else self._sieve(sample)
                if sifted is None:
                    self._skipped_ahead.append(sample.row)
                else:
                    yield sifted

    def account(self, sample: Sample, *, token_count: int = 0) -> None:
        """Enter ``sample``, of which ``token_count`` tokens were used; call it in reading order."""
        first = sample.row if self._rows is None else self._rows[0]
        self._rows = (first, sample.row)
        self.sample_count += 1
        self.token_count += token_count
        self._digest.update(json.dumps([sample.prompt, sample.text], ensure_ascii=False).encode() + b"\n")
        if self._scanner is not None:
            self._scanner.add(sample.text if sample.prompt is None else f"{sample.prompt}\n{sample.text}")
        # Reading may run ahead of taking: only rows up to the last one taken belong to the entry.
        while self._skipped_ahead and self._skipped_ahead[0] <= sample.row:
            self._skipped_ahead.popleft()
            self._skipped_count += 1

    def entry(self) -> LedgerEntry | None:
        """The ledger's entry for this pass; None where nothing was taken."""
        if self._rows is None:
            return None
        entry = self._plain_entry(*self._rows)
        if self._scanner is None:
            return entry
        return ScannedEntry.model_validate({**dict(entry), "matches": self._scanner.matches()})

    def _plain_entry(self, first_row: int, last_row: int) -> LedgerEntry:
        files = self._source.files()
        return LedgerEntry(
            data=self.name,
            hub_id=self._rule.hub_id,
            revision=self._source.revision,
            origin=self._source.origin,
            split=self.split,
            file_sha256=_one_digest(files),
            files=files,
            first_row=first_row,
            last_row=last_row,
            sample_count=self.sample_count,
            skipped_count=self._skipped_count,
            token_count=self.token_count,
            text_digest=self._digest.hexdigest(),
        )


def _one_digest(files: tuple[LedgerFile, ...]) -> str | None:
    if len(files) < 2:  # noqa: PLR2004 - none or the one
        return files[0].sha256 if files else None
    return files_digest(tuple(CheckpointFile(name=f.name, size_bytes=f.size_bytes, sha256=f.sha256) for f in files))
