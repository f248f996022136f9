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
    """Whether KV groups (a KV head with all its query heads) may go."""
    cut_intermediate: bool = True
    """Whether MLP channels may go; where both may, both lose nearly the same share."""


class RecoveryStep(Step):
    """What both ways of recovery share."""

    stage: Literal["train"] = "train"
    optimizer_steps: int = Field(gt=0)
    """Updates of the weights."""
    batch_windows: int = Field(default=16, gt=0)
    """Windows of an optimizer step."""
    micro_batch_windows: int | None = Field(default=None, gt=0)
    """Windows that go through the model at once; all of them if absent."""
    window_tokens: int = Field(default=1024, gt=1)
    """Tokens of a window; documents are packed end to end."""
    learning_rate: float = Field(gt=0, allow_inf_nan=False)
    """At its highest; warm-up, then cosine."""
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Share of the optimizer steps in which the learning rate rises."""
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Of matrices; norms and biases never decay."""
    compute: Literal["float32", "bfloat16"] = "bfloat16"
    """Of the forward and backward pass; trained weights are float32 in either case."""
    mixture: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        default={"c4": 0.5, "alpaca": 0.5}, min_length=1
    )
    """Short name of a data set to its share of the tokens."""
    loss_on: Literal["all", "response"] = "all"
    """All tokens, or those of documents and responses alone."""


class LoraStep(RecoveryStep):
    """Recovery with low-rank adapters, merged into the weights afterwards."""

    method: Literal["lora"] = "lora"
    learning_rate: float = Field(default=2e-4, gt=0, allow_inf_nan=False)
    """At its highest; warm-up, then cosine."""
    rank: int = Field(default=8, gt=0)
    """Rank of the adapters, which go to every linear but ``lm_head``."""
    alpha: float = Field(default=16.0, gt=0, allow_inf_nan=False)
    """The adapters' output is scaled by ``alpha / rank``."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of an adapter's inputs that is dropped in training."""


class FullStep(RecoveryStep):
    """Recovery of every weight."""

    method: Literal["full"] = "full"
    learning_rate: float = Field(default=2e-5, gt=0, allow_inf_nan=False)
    """At its highest; warm-up, then cosine."""


class BaselineOptions(Options):
    """Options of ``--plugin baseline-l1``."""

    steps: tuple[Annotated[PruneStep | LoraStep | FullStep, Field(discriminator="method")], ...] = ()
    """Prune, then recover; as often as one likes."""
