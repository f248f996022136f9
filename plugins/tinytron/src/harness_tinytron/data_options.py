"""What a recipe may say about the text: sources beside the edition's data sets, caps, a curriculum, filters.

    [step.sources.best]          kind = "selection"        a chunk of quality, or the code-relevant part of a data set
    [step.sources.drills]        kind = "rules"            generators with verified answers
    [step.sources.exercises]     kind = "self_generated"   what the student itself writes, and the sandbox passes

A source's name stands in ``mixture``, ``curriculum`` and ``caps`` like that of a data set. The winners had all three;
their ratios, prompts and thresholds are unpublished, so that every number here is ours. The bounds of the shares are
those of the 2024 edition.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from harness import Step
from harness.corpora.curriculum import Curriculum, Phase
from harness.corpora.filters.selection import SelectionSettings
from harness.corpora.filters.settings import FilterSettings  # noqa: TC001 - pydantic reads it
from harness.corpora.self_generated.exercises import Prompts
from harness.document import Document

Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
Generator = Literal["arithmetic", "snippets", "conversations", "idioms"]


class SelectedSource(SelectionSettings):
    """A part of a data set, chosen by filters and by quality."""

    kind: Literal["selection"] = "selection"


class RuleSource(Document):
    """Samples that rules write."""

    kind: Literal["rules"] = "rules"
    generators: dict[Generator, Weight] = Field(default={"arithmetic": 1.0, "snippets": 1.0}, min_length=1)
    """Name to its share of the samples."""
    sample_count: PositiveInt = 2_000
    """Samples that are written."""
    data: str = "alpaca"
    """Data set whose form they have, and under whose name the ledger has them."""
    instructions: str = "alpaca"
    """Data set whose first instructions conversations are made of."""
    documents: str = "c4-zh"
    """Data set whose first documents idioms are mined from."""
    read_count: PositiveInt = 2_000
    """Instructions, and documents, that are read for these."""
    max_token_share: Share = 0.02
    """Of the step's tokens; the share stays below it."""


class SelfGeneratedSource(Document):
    """Exercises and solutions that the student writes, kept where they run and agree with their own checks."""

    kind: Literal["self_generated"] = "self_generated"
    topics: tuple[str, ...] = ()
    """What is asked about; absent: mined from code-relevant documents."""
    topic_count: PositiveInt = 1_000
    """Topics that are mined, an exercise each."""
    documents: str = "c4"
    """Data set that they are mined from."""
    read_count: PositiveInt = 100_000
    """Its documents that are looked through for code-relevant ones."""
    prompts: Prompts = Prompts()
    """What the student is asked."""
    most_tokens: PositiveInt = 512
    """Of an exercise, and of a solution."""
    batch: PositiveInt = 32
    """Prompts that are asked together."""
    needs_check: bool = True
    """Whether a program must check itself, by an assert or an example; else it has to run, no more."""
    gram_words: PositiveInt = 10
    """Words in a row that a solution may not have in common with a scored task."""
    data: str = "alpaca"
    """Data set whose form they have, and under whose name the ledger has them."""
    max_token_share: Share = 0.1
    """Of the step's tokens; the share stays below it."""


Source = Annotated[SelectedSource | RuleSource | SelfGeneratedSource, Field(discriminator="kind")]


class ReadingStep(Step):
    """What all steps share that train on text."""

    mixture: dict[str, Weight] = Field(default={"c4": 0.5, "alpaca": 0.5}, min_length=1)
    """Short name of a data set or of a source to its share of the tokens."""
    curriculum: tuple[Phase, ...] = ()
    """Mixtures one after the other instead of one mixture, each up to a share of the tokens; windows then keep their
    order."""
    caps: dict[str, PositiveInt] = {}
    """Short name to the most passes over it; after these the others take its share. No name, no cap."""
    sources: dict[str, Source] = {}
    """What the names stand for that are not the edition's."""
    rater: str | None = None
    """Path of a classifier in fastText's format, for every selection that names none of its own."""
    filters: FilterSettings | None = None
    """Of all documents that are mixed; absent: only a selection is filtered, by its own."""
    loss_on: Literal["all", "response"] = "all"
    """All tokens, or those of documents and responses alone."""

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        if self.curriculum and "mixture" in self.model_fields_set:
            raise ValueError("mixture and curriculum exclude each other: name the mixture of each phase alone")
        mixed = {name for phase in self.phases.phases for name in phase.mixture}
        for field, names in (("sources", self.sources), ("caps", self.caps)):
            idle = sorted(set(names) - mixed)
            if idle:
                raise ValueError(f"{field}: {', '.join(idle)} is not mixed; mixed are {', '.join(sorted(mixed))}")
        return self

    @model_validator(mode="after")
    def _derived_stay_below(self) -> Self:
        for name, source in self.sources.items():
            if not isinstance(source, SelectedSource) and self._share(name) >= source.max_token_share:
                raise ValueError(
                    f"{name}: its share must stay below max_token_share, {source.max_token_share:.2%}, "
                    f"found {self._share(name):.2%}; lower its weight"
                )
        return self

    @property
    def phases(self) -> Curriculum:
        """The curriculum; a mixture alone is one of a single phase."""
        return Curriculum(phases=self.curriculum or (Phase(until=1, mixture=self.mixture),))

    def _share(self, name: str) -> float:
        """Of all tokens that ``name`` is planned to have."""
        total, start = 0.0, 0.0
        for phase in self.phases.phases:
            total += (phase.until - start) * phase.mixture.get(name, 0.0) / sum(phase.mixture.values())
            start = phase.until
        return total
