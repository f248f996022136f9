"""Where a submission came from: the recipe as run (``recipe.json``), what was read (``ledger.json``), the lock file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue, NonNegativeInt

from harness.corpora.ledger import LedgerEntry
from harness.corpora.overlap import TaskOverlap
from harness.document import Document
from harness.submission.file_record import Sha256
from harness.submission.looks import Look


class ModelRecipe(Document):
    """The recipe of one base model, after defaults and ``--set``."""

    name: str
    """Short name of the base model."""
    source: str
    """The recipe file by its name in the plugin, or ``given`` where the user brought one."""
    parameter_budget: NonNegativeInt
    options: dict[str, JsonValue]
    """The plugin's whole options, validated, ``steps`` included."""


class RecipeRecord(Document):
    """The recipe and the options as run: ``recipe.json``."""

    format_version: Literal[1] = 1
    plugin: str
    command: tuple[str, ...]
    """What to type to run it again, word by word, without paths of the machine that it ran on."""
    models: tuple[ModelRecipe, ...]


class StepLedger(Document):
    """What one step read through the data door."""

    model: str
    """Short name of the base model."""
    branch: Literal["student", "control"] = "student"
    step: NonNegativeInt
    """Index into ``steps`` or, for the control, ``control_steps`` of the model's result."""
    entries: tuple[LedgerEntry, ...]
    overlaps: tuple[TaskOverlap, ...] = ()
    """What of the scored tasks stands in the text; empty where nobody looked."""


class LedgerRecord(Document):
    """Everything that the submission read, and every look at a scored task: ``ledger.json``."""

    format_version: Literal[1] = 1
    steps: tuple[StepLedger, ...] = ()
    looks: tuple[Look, ...] = ()
    """In order, chained; empty where no ledger of looks was kept."""


class CodeRecord(Document):
    """A distribution whose code took part, by version and by digest."""

    name: str
    """Of the distribution."""
    version: str
    code_digest: Sha256


class EditionRecord(Document):
    """The edition of the rules that the entry was made under."""

    id: str
    version: str
    rules_digest: Sha256
    """Of the edition as data."""


class PlatformRecord(Document):
    """The machine, as far as it can change a number."""

    python: str
    """Implementation and version, e.g. ``CPython 3.11.9``."""
    system: str
    """Operating system, e.g. ``Linux``."""
    machine: str
    """Instruction set, e.g. ``x86_64``."""
    cpu: str
    """Model name of the processor."""
    thread_count: NonNegativeInt
    device: str
    """``cpu``, or the accelerator's name."""


class ToolchainRecord(Document):
    """An engine with an environment of its own."""

    name: str
    version: str
    """Of the engine."""
    pins_digest: Sha256
    """Of the pinned requirements."""
    packages: dict[str, str] = Field(default_factory=dict)


class Lock(Document):
    """Everything that a replay needs to repeat: ``lock.json``."""

    format_version: Literal[1] = 1
    harness: CodeRecord
    plugin: CodeRecord
    edition: EditionRecord
    platform: PlatformRecord
    packages: dict[str, str]
    """Version of every distribution of the environment that took part, by name."""
    toolchains: tuple[ToolchainRecord, ...] = ()
    seeds: dict[str, int]
    """By what they seed, e.g. ``submission``."""
    digests: dict[str, Sha256]
    """By what they name: ``llama.base``, ``llama.step.0``, ``llama.final``, ``data.c4``."""
    recipe: RecipeRecord
    """The same as ``recipe.json``: the lock file alone is enough to run again."""
