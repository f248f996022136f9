"""What a recipe of this plugin may say. Nobody published the baseline's settings: the defaults are ours."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from harness import Options, Step


class PruneStep(Step):
    """L1 structured pruning to the parameter budget, the same widths in every layer."""

    reads_data: ClassVar[bool] = False

    stage: Literal["compress"] = "compress"
    method: Literal["l1"] = "l1"
    round_to: int = Field(default=128, gt=0)
    """The MLP width is a multiple of this: 128 keeps the fast path of phone kernels."""
    aggregation: Literal["sum", "mean"] = "sum"
    """How the tensors of a coupled group add up: every weight alike, or every tensor alike."""
    cut_kv_groups: bool = True
    cut_intermediate: bool = True


class RecoveryStep(Step):
    """What both ways of recovery share."""

    stage: Literal["train"] = "train"
    optimizer_steps: int = Field(gt=0)
    batch_windows: int = Field(default=16, gt=0)
    """Windows of an optimizer step."""
    micro_batch_windows: int | None = Field(default=None, gt=0)
    """Windows that go through the model at once; all of them if absent."""
    window_tokens: int = Field(default=1024, gt=1)
    learning_rate: float = Field(gt=0)
    """At its highest; warm-up, then cosine."""
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    compute: Literal["float32", "bfloat16"] = "bfloat16"
    """Of the forward and backward pass; trained weights are float32 in either case."""
    mixture: dict[str, Annotated[float, Field(gt=0)]] = {"c4": 0.5, "alpaca": 0.5}
    """Short name of a data set to its share of the tokens."""
    loss_on: Literal["all", "response"] = "all"
    """All tokens, or those of documents and responses alone."""


class LoraStep(RecoveryStep):
    """Recovery with low-rank adapters, merged into the weights afterwards."""

    method: Literal["lora"] = "lora"
    learning_rate: float = Field(default=2e-4, gt=0)
    rank: int = Field(default=8, gt=0)
    alpha: float = Field(default=16.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)


class FullStep(RecoveryStep):
    """Recovery of every weight."""

    method: Literal["full"] = "full"
    learning_rate: float = Field(default=2e-5, gt=0)


class BaselineOptions(Options):
    """Options of ``--plugin baseline-l1``."""

    steps: tuple[Annotated[PruneStep | LoraStep | FullStep, Field(discriminator="method")], ...] = ()
