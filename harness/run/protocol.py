"""What the host and a plugin's worker process say to each other: one JSON file each way."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, JsonValue

from harness.corpora.evaluation_sets import EvaluationSets
from harness.document import Document

Operation = Literal["options", "forecast", "initialise", "compress", "train", "evaluate", "deploy", "validate"]


FailureKind = Literal["options", "harness", "memory", "raised"]


class CheckpointReference(Document):
    """A checkpoint by path and digest."""

    path: str
    digest: str


class WorkerRequest(Document):
    """One call of one hook."""

    operation: Operation
    plugin: str
    module: str
    distribution: str
    recipe: dict[str, JsonValue]
    """The options as written in the recipe, with overrides applied."""
    workdir: str
    memory_limit_bytes: int
    step_index: int = 0
    base: CheckpointReference | None = None
    student: CheckpointReference | None = None
    tokenizer: str | None = None
    """Folder of the tokenizer that an initialisation gets."""
    config: dict[str, JsonValue] | None = None
    parameter_budget: int = 0
    door: JsonValue = None
    evaluation: EvaluationSets | None = None
    """What the text that a step reads is held against."""
    bundle: str | None = None
    is_control: bool = False
    """Whether a train step is done to the base, as the yardstick of recovery."""
    device: str = "cpu"
    seed: int = 0


class StepDescription(Document):
    """What the host needs to know of one step without importing the plugin."""

    stage: Literal["initialise", "compress", "train"]
    method: str
    reads_data: bool
    practices: tuple[str, ...] = ()
    """What the step says that it does besides what its method is called."""
    legal_variant: str = ""
    """What a recipe can say instead where that is forbidden."""
    fields: dict[str, JsonValue]
    """Every field with its value, defaults included."""


class OptionsDescription(Document):
    """A recipe as the plugin's own model understood it."""

    steps: tuple[StepDescription, ...]
    other: dict[str, JsonValue]
    """The options beside the steps."""


class Problem(Document):
    """One field of a recipe that the plugin's model refused."""

    path: tuple[str | int, ...]
    message: str
    found: str
    allowed: tuple[str, ...] = ()
    """The values or fields that would have been understood."""


class WorkerFailure(Document):
    """Why a call gave no result."""

    kind: FailureKind
    message: str
    error: str = ""
    """Name of the exception's class."""
    problems: tuple[Problem, ...] = ()


class Predicted(Document):
    """The answer to ``forecast``: as ``contracts.Forecast``; no configuration where the plugin predicts none."""

    config: dict[str, Any] | None = None
    parameter_count: int | None = None
    parameter_bounds: tuple[int, int] | None = None
    notes: dict[str, JsonValue] = Field(default_factory=dict)


class WorkerResponse(Document):
    """A result or a failure."""

    value: JsonValue = None
    ledger: JsonValue = None
    failure: WorkerFailure | None = None
