"""What ``harness plan`` shows: models that do not exist yet, step by step."""

from __future__ import annotations

from pydantic import Field, JsonValue

from harness.document import Document


class Shape(Document):
    """The shape of a model; a pair where layers differ, the smallest and the largest."""

    layers: int
    hidden: int
    heads: tuple[int, int]
    kv_groups: tuple[int, int]
    intermediate: tuple[int, int]
    vocabulary: int
    fused: tuple[str, ...]
    factorised: int
    """Linears that are stored as two."""
    is_stock: bool
    """Whether a stock class of transformers has this shape."""


class Forecast(Document):
    """A model that does not exist yet."""

    shape: Shape
    parameter_count: int
    weights_bytes: int
    """FP16."""
    kv_bytes_per_token: int
    """FP16."""
    inference_bytes: int
    """Predicted peak of inference at the plan's context, without the runtime itself."""


class PlannedStep(Document):
    """One step before it runs."""

    stage: str
    method: str
    forecast: Forecast | None
    """After the step; None where the plugin does not predict it."""
    parameter_bounds: tuple[int, int] | None = None
    """Least and most parameters where weights have a say in them; the forecast is then one shape within."""
    is_exact: bool = True
    """Whether neither this step nor one before it has bounds in the place of a number."""
    disk_bytes: int | None
    """Of the checkpoint that the step writes."""
    fields: dict[str, JsonValue] = Field(default_factory=dict)
    notes: dict[str, JsonValue] = Field(default_factory=dict)


class PlannedModel(Document):
    """One base model before anything runs."""

    name: str
    base: Forecast
    base_source: str
    """A path, or a hub id."""
    download_bytes: int
    """Of the base, where it is not here; 0 where it is."""
    parameter_budget: int | None
    recipe: str
    steps: tuple[PlannedStep, ...]


class SubmissionPlan(Document):
    """The plan of a run."""

    plugin: str | None
    """None where only cuts were typed."""
    track: str
    edition: str
    notice: str
    context_tokens: int
    """For which memory is predicted."""
    memory_limit_bytes: int
    """The edition's."""
    models: tuple[PlannedModel, ...]
    tasks: tuple[str, ...]
    disk_bytes: int
    """Of the checkpoints that the steps will write, control included."""
