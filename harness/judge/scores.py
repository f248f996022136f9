"""What OpenCompass's worker is asked and what it answers: the two files that cross the border of its environment.

The worker's side of the same is ``harness/toolchains/opencompass/worker/request.py``; it shares no code with this one,
because nothing of the harness is installed where it runs.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, FiniteFloat, JsonValue, NonNegativeFloat, NonNegativeInt, PositiveInt

from harness.document import Document

EngineName = Literal["fast", "stock"]
"""OpenCompass's own model class, or the harness's faster one with the same predictions."""
FolderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]


class WorkerModel(Document):
    """One checkpoint to score."""

    name: FolderName
    """Of its folders in the work directory."""
    label: str
    """In progress and in messages."""
    path: str
    kind: Literal["chat", "base"]
    max_seq_len: PositiveInt | None = None
    """Longest prompt, tokens; None: the model's own context."""
    max_out_len: PositiveInt
    """New tokens where a configuration does not say its own number."""
    batch_size: PositiveInt
    dtype: str
    """Of the arithmetic."""
    modeling: str | None = None
    """Path of the harness's modeling file, where the checkpoint has a structure; None: a stock class."""


class WorkerRequest(Document):
    """The request file."""

    models: tuple[WorkerModel, ...] = Field(min_length=1)
    suite: Literal["demo", "official"]
    tasks: tuple[str, ...] = Field(min_length=1)
    data_dir: str
    prompts: dict[str, str]
    """The demo's user turns by task."""
    limit: PositiveInt | None
    seed: int
    threads: PositiveInt
    processes: PositiveInt
    engine: EngineName = "fast"
    early_stop: bool = True
    """Whether generation may end where what follows cannot change the extracted answer."""
    journal_dir: str | None = None
    """Where batches are kept as they come, so that a killed evaluation goes on; None: nowhere."""
    sandbox: str
    """Folder of the program that runs what a model wrote."""
    weak_sandbox: bool = False
    """Whether to run it where the kernel offers less than the sandbox asks for."""
    work_dir: str
    result: str


class SubsetRecord(Document):
    """One data set of a task."""

    name: str
    """OpenCompass's abbreviation, e.g. ``bbh-navigate``."""
    metrics: dict[str, FiniteFloat]
    item_count: PositiveInt
    config: str
    """Name of the configuration, e.g. ``gsm8k_gen_1d7fe4``."""
    version: str = Field(pattern=r"^[0-9a-f]{6}$")
    """OpenCompass's hash of the prompt and of the inferencer's settings."""
    predictions_path: str
    """Relative to the work directory."""
    empty_count: int = Field(ge=0)
    """Blank answers: wrong ones, and for TruthfulQA ones that its evaluator leaves out."""
    items_path: str | None = None
    """Relative to the work directory: lines of ``WorkerItem``, compressed by gzip."""
    seconds: NonNegativeFloat | None = None
    """Wall time of inference and scoring."""
    cpu_seconds: NonNegativeFloat | None = None


class WorkerItem(Document):
    """A line of the file of a subset's items; fields that are not named here are dropped."""

    model_config = ConfigDict(extra="ignore")

    index: NonNegativeInt
    prediction: str
    extracted: JsonValue = None
    reference: JsonValue = None
    correct: bool | None
    """None where the metric leaves the item out."""
    prompt_tokens: NonNegativeInt | None = None
    generated_tokens: NonNegativeInt | None = None
    ended_by: str | None = None


class TaskRecord(Document):
    """One task of one model."""

    subsets: tuple[SubsetRecord, ...] = Field(min_length=1)
    score: FiniteFloat
    metric: str
    scale: FiniteFloat
    """The score of a perfect model."""
    item_count: PositiveInt


class WorkerResult(Document):
    """The result file."""

    versions: dict[str, str]
    """Of every library that can change a score."""
    durations_s: dict[str, FiniteFloat]
    models: dict[str, dict[str, TaskRecord]]
    """By the model's name, then by task."""
