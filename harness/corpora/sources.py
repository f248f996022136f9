"""Where the rows of a data set come from.

--data c4=PATH given ............................ LocalSource      sha256 of each file that was read
the edition lets the corpus stand in ............ EmbeddedSource   version and seed
otherwise ....................................... HubSource        the commit that the revision stood for
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Literal, Protocol

from harness.corpora.local import LocalSource
from harness.corpora.rows import Row
from harness.errors import DataNotAllowed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.corpora.ledger import LedgerFile
    from harness.rules.edition import DataRule

HUB_TIMEOUT_S = 20.0


class Source(Protocol):
    """A readable data set."""

    @property
    def origin(self) -> Literal["hub", "local", "embedded"]:
        """The kind of place."""

    @property
    def revision(self) -> str:
        """What exactly was read."""

    def has_split(self, split: str) -> bool:
        """Whether the data set itself keeps ``split`` apart; if not, the door parts it by ``rows.is_held_out``."""

    def rows(self, split: str) -> Iterator[Row]:
        """The rows of ``split``, or all rows where the data set has no such split."""

    def files(self) -> tuple[LedgerFile, ...]:
        """The local files opened so far."""


class EmbeddedSource:
    """Rows of the corpus that ships with the package: endless, and held out by its own rule."""

    origin: Literal["embedded"] = "embedded"

    def __init__(self, rule: DataRule, seed: int) -> None:
        self.revision = f"edge-llm-harness-{metadata.version('edge-llm-harness')}/seed-{seed}"
        self._schema = rule.data_schema
        self._seed = seed

    def has_split(self, split: str) -> bool:
        """Always: the corpus parts its items by their content."""
        return split in {"train", "validation"}

    def rows(self, split: str) -> Iterator[Row]:
        """The endless stream of ``split``."""
        from harness.pico import corpus

        stream = corpus.documents if self._schema == "c4" else corpus.instructions
        for number, fields in enumerate(stream("train" if split == "train" else "validation", seed=self._seed)):
            yield Row(number=number, place=f"embedded corpus: row {number}", fields=fields)

    def files(self) -> tuple[LedgerFile, ...]:
        """None: it is made by rules."""
        return ()


class HubSource:
    """Rows streamed from the hub at one commit."""

    origin: Literal["hub"] = "hub"

    def __init__(self, name: str, rule: DataRule) -> None:
        self._name = name
        self._rule = rule
        self.revision = self._resolve()

    def has_split(self, split: str) -> bool:
        """C4 is published with a validation split, the Alpacas with ``train`` alone."""
        del split
        return self._rule.data_schema == "c4"

    def rows(self, split: str) -> Iterator[Row]:
        """The rows of ``split``; raises ``DataNotAllowed`` where the hub stops answering."""
        wanted = split if self.has_split(split) else "train"
        for number, fields in enumerate(self._stream(wanted)):
            yield Row(number=number, place=f"{self._rule.hub_id}@{self.revision[:12]}: row {number}", fields=fields)

    def files(self) -> tuple[LedgerFile, ...]:
        """None: the commit names the bytes."""
        return ()

    def _resolve(self) -> str:
        from huggingface_hub import HfApi

        try:
            found = HfApi().dataset_info(self._rule.hub_id, revision=self._rule.revision, timeout=HUB_TIMEOUT_S)
        except Exception as error:  # the client lets errors of several HTTP libraries through
            raise self._unreachable(error) from error
        return found.sha or self._rule.revision

    def _stream(self, split: str) -> Iterator[dict[str, object]]:
        from datasets import load_dataset

        rule = self._rule
        try:
            yield from load_dataset(rule.hub_id, rule.config, revision=self.revision, split=split, streaming=True)
        except Exception as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> DataNotAllowed:
        cause = (str(error) or type(error).__name__).strip().splitlines()[0]
        return DataNotAllowed(
            f"data set {self._name!r} ({self._rule.hub_id}, revision {self._rule.revision}) "
            f"is not to be had from the hub: {cause}; give a local copy with --data {self._name}=PATH"
        )


def source_of(name: str, rule: DataRule, *, local: Path | None, embedded_allowed: bool, seed: int) -> Source:
    """The source that serves the data set ``name``.

    Raises:
        DataNotAllowed: the local copy cannot be read, or the hub cannot be reached.
    """
    if local is not None:
        return LocalSource(name, local, rule.revision)
    if rule.embedded and embedded_allowed:
        return EmbeddedSource(rule, seed)
    return HubSource(name, rule)
