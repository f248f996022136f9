"""An edition: one dated set of rules, as data.

    Edition ─┬─ tracks, models, data, tasks, measurement, held_out      what is competed in, from what, and how measured
             ├─ derived, forbidden, selection, contamination, ranking   the clauses (``clauses``)
             └─ version, history                                        rules drift; every change has a day

An organiser writes an edition as one TOML file; the shipped ones stand in ``harness/rules/editions``, and
``harness rules check FILE`` says what is wrong with one (``problem``, ``consistency``).
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt

from harness.document import Document
from harness.errors import UnknownEdition, UsageError
from harness.rules.clauses import (
    ContaminationRule,
    DerivedKind,
    DerivedRule,
    ForbiddenRule,
    HistoryNote,
    RankingRule,
    SelectionRule,
)
from harness.rules.consistency import contradictions
from harness.rules.finding import Severity
from harness.rules.problem import Problem, parse

TaskName = Literal["commonsense_qa", "bbh", "gsm8k", "humaneval", "chid", "truthful_qa"]
HoldOutName = Literal["mmlu", "ceval"]
"""Tasks that an edition can evaluate and not rank."""
SuiteName = Literal["demo", "official"]

COMMIT = re.compile(r"[0-9a-f]{40}")
"""A revision that cannot move; a branch or a tag can."""
_HASHED = re.compile(r".+_([0-9a-f]{6})")


class BaseModelRule(Document):
    """One base model of a track."""

    hub_id: str | None = None
    revision: str | None = None
    """Commit of the hub repository."""
    embedded: str | None = None
    """Name of an embedded pico model that stands in for it."""
    tokenizer: str | None = None
    """Name of an embedded pico model whose tokenizer an entry from scratch gets where none is given."""
    kind: Literal["chat", "base"] = "chat"
    """Whether the tasks are put through the chat template."""


class DataRule(Document):
    """One allowed data set."""

    hub_id: str
    config: str | None = None
    revision: str
    data_schema: Literal["c4", "alpaca", "alpaca-zh"]
    """How a row is read: ``text``; ``instruction, input, output``; the same with the suffix ``_zh``."""
    embedded: bool = False
    """Whether the embedded corpus stands in for it where no copy is given."""

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit."""
        return COMMIT.fullmatch(self.revision) is not None


class TrackRule(Document):
    """One division of the competition."""

    models: tuple[str, ...]
    """Short names of the base models; the score of an entry is the mean over them."""
    from_pretrained: bool = True
    """Whether entries start from the base models, or from an initialisation and nothing else."""


class TaskRule(Document):
    """One task."""

    column: str
    """Its column in ``Results.csv``; of a hold-out the name that it is shown under."""
    metric: str
    scale: Literal[1, 100]
    configuration: str
    """OpenCompass configuration with its prompt hash, or the demo's own."""
    item_count: PositiveInt | None = None
    """Items that are scored; a score of accuracy is a whole number of them."""

    @property
    def configuration_hash(self) -> str | None:
        """The hash of the prompts, six hexadecimal digits; the demo's configurations have none."""
        hashed = _HASHED.fullmatch(self.configuration)
        return hashed.group(1) if hashed else None


class MeasurementRule(Document):
    """How memory and speed are stated."""

    memory_limit_bytes: PositiveInt
    """Peak memory of inference has to stay below it, bytes. 12 GB is read as 12 * 10**9."""
    memory_limit_reading: str = ""
    """How the words of the rules became this number."""
    prefill_tokens: PositiveInt = 128
    decode_tokens: PositiveInt = 64
    repeats: PositiveInt = 5
    throughput_unit: str = "decode tokens/s"
    memory_unit: str = "MB (10**6 bytes)"


class HeldOutRule(Document):
    """The text on which bits per byte are measured."""

    data: str
    """Short name of a data set of this edition."""
    split: str = "validation"
    sample_count: int = Field(gt=0)
    window_tokens: int = Field(gt=0)


class Edition(Document):
    """A dated set of rules."""

    id: str = Field(pattern=r"^[a-z0-9]+(?:[-.][a-z0-9]+)*$")
    title: str
    version: str
    history: tuple[HistoryNote, ...] = ()
    """How the rules came to be what they are, the oldest change first."""
    eligible: bool
    """Whether entries under this edition can compete."""
    notice: str = ""
    """Said wherever an entry under this edition is shown."""
    suite: SuiteName
    """The task suite that runs on the edition's own evaluation data."""
    dtypes: tuple[str, ...]
    """Allowed safetensors dtypes of every tensor."""
    tracks: dict[str, TrackRule]
    models: dict[str, BaseModelRule]
    data: dict[str, DataRule]
    derived: dict[DerivedKind, DerivedRule] = {}
    """Samples of no data set that are allowed all the same; a kind that is absent is not."""
    forbidden: dict[str, ForbiddenRule] = {}
    """Methods that are not allowed, by the name of their family."""
    selection: SelectionRule | None = None
    contamination: ContaminationRule | None = None
    ranking: RankingRule = RankingRule()
    tasks: dict[TaskName, TaskRule]
    """What is scored and ranked."""
    hold_out_tasks: dict[HoldOutName, TaskRule] = {}
    """What ``harness evaluate --tasks`` can score besides; no entry holds it, nothing ranks it."""
    measurement: MeasurementRule
    held_out: HeldOutRule
    required_files: tuple[str, ...]
    csv_columns: tuple[str, ...]


def edition_ids() -> tuple[str, ...]:
    """The ids of the shipped editions, sorted."""
    folder = resources.files("harness.rules") / "editions"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def edition_text(name: str) -> str:
    """The TOML of a shipped edition, a start for one's own."""
    return (resources.files("harness.rules") / "editions" / f"{name}.toml").read_text(encoding="utf-8")


def load_edition(id_or_path: str) -> Edition:
    """The edition of that id, or the one in that TOML file.

    Raises:
        UnknownEdition: no shipped edition has that id.
        UsageError: the file is no edition, or contradicts itself; the message names file, line and field.
    """
    if id_or_path in edition_ids():
        return parse_edition(edition_text(id_or_path), id_or_path)
    path = Path(id_or_path)
    if path.suffix == ".toml" and path.is_file():
        return parse_edition(path.read_text(encoding="utf-8"), str(path))
    raise UnknownEdition(f"no edition {id_or_path!r}; shipped: {', '.join(edition_ids())}; or the path of a .toml file")


def parse_edition(text: str, name: str) -> Edition:
    """An edition from TOML text; ``name`` is what errors call it.

    Raises:
        UsageError: it is no edition, or contradicts itself; the message has a line for each fault.
    """
    edition, problems = check_edition(text)
    faults = [problem for problem in problems if problem.severity is Severity.ERROR]
    if edition is None or faults:
        raise UsageError("\n".join(problem.sentence(name) for problem in faults))
    return edition


def check_edition(text: str) -> tuple[Edition | None, tuple[Problem, ...]]:
    """The edition in ``text``, where it is one, and everything that is wrong with it or worth a look."""
    edition, problems = parse(text, Edition)
    return edition, problems if edition is None else contradictions(edition, text)
