"""The data door: the only way from an allowed data set to a training step, and the ledger of what went through.

    DoorSettings (allowed rules, local copies, seed) -> DataDoor.open("c4") -> Sample, Sample, ...
                                                          -> DataDoor.ledger(): rows, counts, digest,
    EvaluationSets (what is scored) ─────────────────────────>                   and what of the scored tasks it holds

Training and validation never share a row. A data set that is published with a validation split keeps it, the embedded
corpus parts its items by their content, and of anything else one row in 32 is validation, chosen by the text itself
(``rows.is_held_out``), so that no text is on both sides.
"""

from __future__ import annotations

import difflib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.corpora.contamination import Lookup, sketch
from harness.corpora.filters.decontamination import SharedGrams
from harness.corpora.ledger import Ledger, LedgerEntry
from harness.corpora.local import content_revision
from harness.corpora.reading import Reading
from harness.corpora.sources import EmbeddedSource, source_of
from harness.document import Document
from harness.errors import DataNotAllowed
from harness.rules.edition import DataRule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.corpora.evaluation_sets import EvaluationSets
    from harness.corpora.reading import Sieve
    from harness.corpora.rows import Sample

Split = Literal["train", "validation"]


class DoorSettings(Document):
    """What the door may give out, and from where; it can be sent to a worker process."""

    rules: dict[str, DataRule]
    """The edition's data sets by short name."""
    local: dict[str, str] = {}
    """Short name to the path of a local copy: a file or a folder."""
    embedded_allowed: bool = True
    """Whether the embedded corpus may stand in where the rule lets it; if not, the hub is asked."""
    seed: int = 0
    """Of the embedded corpus."""

    def revisions(self) -> dict[str, str]:
        """What each data set would be read as, without asking the hub: for the digest that names a step.

        Raises:
            DataNotAllowed: a local copy cannot be read, or belongs to no data set of the edition.
        """
        check_known(self, tuple(self.local))
        return {name: self._revision(name, rule) for name, rule in sorted(self.rules.items())}

    def _revision(self, name: str, rule: DataRule) -> str:
        if name in self.local:
            return f"local:{content_revision(name, Path(self.local[name]))}"
        if rule.embedded and self.embedded_allowed:
            return f"embedded:{EmbeddedSource(rule, self.seed).revision}"
        return f"hub:{rule.hub_id}@{rule.revision}"


class DataDoor:
    """Opens data sets by short name and remembers what was taken."""

    def __init__(
        self, settings: DoorSettings, *, closed: bool = False, evaluation: EvaluationSets | None = None
    ) -> None:
        """A door over ``settings``.

        Args:
            settings: what it may give out.
            closed: whether it refuses everything, for steps that say they read no data.
            evaluation: what every text that is taken is held against; the judge's own reading goes without.
        """
        check_known(settings, tuple(settings.local))
        self.settings = settings
        self._closed = closed
        self._evaluation = evaluation
        self._sieves: dict[str, tuple[Callable[[], Sieve], str]] = {}
        self._readings: list[Reading] = []
        self._recorded: list[LedgerEntry] = []

    def open(self, name: str, *, split: Split = "train") -> Iterator[Sample]:
        """The samples of a data set in order; each is entered in the ledger as it is handed out.

        The embedded corpus never ends; take as much as is needed.

        Raises:
            DataNotAllowed: the edition has no such data set, its copy cannot be read, or the door is closed.
        """
        return _accounted(self.reading(name, split=split))

    def reading(self, name: str, *, split: Split = "train") -> Reading:
        """The same for code that reads ahead: it says itself, by ``Reading.account``, what it took."""
        self._check_open(name, split)
        local = self.settings.local.get(name)
        rule = self.settings.rules[name]
        source = source_of(
            name,
            rule,
            local=None if local is None else Path(local),
            embedded_allowed=self.settings.embedded_allowed,
            seed=self.settings.seed,
        )
        make_sieve = self._sieves[name][0] if name in self._sieves else None
        sieve = None if make_sieve is None else make_sieve()
        reading = Reading(name=name, rule=rule, source=source, split=split, lookup=self._lookup, sieve=sieve)
        self._readings.append(reading)
        return reading

    def sift(self, name: str, make_sieve: Callable[[], Sieve], *, key: str) -> None:
        """Let what is opened as ``name`` from here on through a sieve, a new one for each opening.

        Args:
            name: Short name of a data set.
            make_sieve: Makes a function from a sample to what is left of it, None for nothing.
            key: Digest of everything that decides what it lets pass.
        """
        self._sieves[name] = (make_sieve, key)

    def sieve_key(self, name: str) -> str | None:
        """The key of the sieve that ``name`` goes through; None where it goes through none."""
        return self._sieves[name][1] if name in self._sieves else None

    def shared_grams(self, *, gram_words: int = 10) -> SharedGrams:
        """A filter that drops what has so many words in a row in common with a scored task.

        The tasks themselves stay behind the door. Where nothing is scored it drops nothing.
        """
        scored = self._evaluation.texts() if self._evaluation is not None else ()
        return SharedGrams((segment for text in scored for segment in text.segments), gram_words=gram_words)

    def count_tokens(self, name: str, count: int, *, split: Split = "train") -> None:
        """Enter ``count`` tokens under the latest opening of ``name``."""
        for reading in reversed(self._readings):
            if (reading.name, reading.split) == (name, split):
                reading.token_count += count
                return
        raise ValueError(f"data set {name!r}, split {split!r} was not opened, so no tokens can be counted for it")

    def record(self, ledger: Ledger) -> None:
        """Enter what an earlier, interrupted process read for the same step, or samples derived with their parents."""
        self._recorded.extend(ledger.entries)

    def ledger(self) -> Ledger:
        """Everything that was taken so far, one entry for each opening."""
        taken = (reading.entry() for reading in self._readings)
        return Ledger(entries=(*self._recorded, *(entry for entry in taken if entry is not None)))

    @cached_property
    def _lookup(self) -> Lookup | None:
        """Made when the first data set is opened; its words and grams serve all of them."""
        return Lookup(sketch(self._evaluation.texts())) if self._evaluation is not None else None

    def _check_open(self, name: str, split: str) -> None:
        if self._closed:
            raise DataNotAllowed(f"data set {name!r}: this step says that it reads no data; set its reads_data to true")
        check_known(self.settings, (name,))
        if split not in {"train", "validation"}:
            raise DataNotAllowed(f"data set {name!r}: no split {split!r}; the door gives out train and validation")


def check_known(settings: DoorSettings, names: tuple[str, ...]) -> None:
    """Raise ``DataNotAllowed`` for a name that is no data set of the edition."""
    for name in names:
        if name in settings.rules:
            continue
        near = difflib.get_close_matches(name, settings.rules, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        allowed = ", ".join(sorted(settings.rules)) or "none"
        raise DataNotAllowed(f"data set {name!r} is not allowed by the edition{hint} allowed: {allowed}")


def _accounted(reading: Reading) -> Iterator[Sample]:
    for sample in reading:
        reading.account(sample)
        yield sample
