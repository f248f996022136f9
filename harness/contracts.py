"""What crosses the border between the harness and a plugin: one frozen request and one typed result per hook."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from harness.options import Options, Step

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import JsonValue

    from harness.checkpoint.checkpoint import Checkpoint
    from harness.corpora.door import DataDoor
    from harness.progress import Progress

INTERFACE_VERSION = 1
"""Version of the hooks and of the types in this file; a plugin states the one that it was written for."""

OptionsT = TypeVar("OptionsT", bound=Options)
StepT = TypeVar("StepT", bound=Step)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRequest(Generic[OptionsT, StepT]):
    """What ``compress`` and ``train`` are asked: one step of the recipe, for one base model."""

    base: Checkpoint
    """The track's untouched model: teacher and yardstick."""
    student: Checkpoint
    """The model so far: the base in the first step, then the result of the step before."""
    options: OptionsT
    """The whole recipe, validated by the plugin's own model."""
    step: StepT
    """The step to carry out."""
    parameter_budget: int
    """Parameters that the final model may have, embeddings included, tied tensors counted once."""
    data: DataDoor
    """The only way to training and calibration text; it keeps the ledger."""
    workdir: Path
    """The one folder that this step may write to. It survives a kill, so state kept here can be resumed from."""
    device: str
    """``cpu``, ``cuda`` or ``cuda:N``."""
    seed: int
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialiseRequest(Generic[OptionsT, StepT]):
    """Write the untrained model that an entry from scratch starts from: a function of the recipe and the seed alone."""

    tokenizer: Path
    """Folder with the files of the tokenizer that the model will have; they belong into the checkpoint."""
    options: OptionsT
    step: StepT
    workdir: Path
    """The one folder that may be written to."""
    device: str
    seed: int
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressRequest(StepRequest[OptionsT, StepT]):
    """Write a smaller model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest(StepRequest[OptionsT, StepT]):
    """Write a model of the same shape with better weights."""

    is_control: bool = False
    """Whether the student is the base itself, or came of it by training alone: the yardstick of recovery. It is to be
    trained on the same tokens; what is learned from the base has nothing to teach it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a step hands back."""

    checkpoint: Path
    """Folder of the new checkpoint, inside the step's ``workdir``."""
    notes: Mapping[str, JsonValue] = field(default_factory=dict)
    """What the plugin wants recorded: widths, losses, token counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastRequest(Generic[OptionsT, StepT]):
    """Predict the shapes that an initialise or compress step makes from a configuration alone."""

    config: Mapping[str, Any]
    """The ``config.json`` of the student before the step; for an initialise step what the tokenizer says, its length as
    ``vocab_size``, or nothing where there is none yet."""
    options: OptionsT
    step: StepT
    parameter_budget: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What an initialise or compress step will make."""

    config: Mapping[str, Any]
    """The ``config.json`` of the student after the step."""
    parameter_count: int
    parameter_bounds: tuple[int, int] | None = None
    """Least and most parameters where weights have a say in them; ``config`` is then one shape within. None: exact."""
    notes: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalRequest(Generic[OptionsT]):
    """What the hooks after the last step are asked, once per base model."""

    base: Checkpoint
    student: Checkpoint
    """The final checkpoint."""
    options: OptionsT
    workdir: Path
    device: str
    seed: int
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateRequest(FinalRequest[OptionsT]):
    """Add metrics of the plugin's own; the official scores are the harness's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A number of the plugin's own: shown under ``<plugin>.<name>``, never ranked."""

    name: str
    value: float
    unit: str
    higher_is_better: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployRequest(FinalRequest[OptionsT]):
    """Package the final checkpoint for the edge; how it is measured is not the plugin's to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A model packaged for a runtime."""

    path: Path
    """Folder of the package, inside ``workdir``."""
    format: str
    """``transformers``, ``executorch``, ``mlc``."""
    notes: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateRequest(Generic[OptionsT]):
    """Add findings of the plugin's own to a bundle's; none can be removed."""

    bundle: Path
    options: OptionsT
