"""What a recipe of this plugin may say.

    compress   layerwise (legal: narrower layers)      unified (published: zeros and fewer bits)
    train      layerwise-tuning
    compress   vote (the exits of the tuning predict together; no weight changes)

Defaults are the published numbers where there are any.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from harness import Options, Step

Mixture = Annotated[dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]], Field(min_length=1)]
"""Short name of a data set to its share of the tokens."""
Bits = Annotated[int, Field(ge=2, le=16)]
QUANTISATION = "quantisation"


class CalibratedStep(Step):
    """What steps that look at activations share."""

    stage: Literal["compress"] = "compress"
    window_count: int = Field(default=128, gt=0)
    """Windows of calibration text."""
    window_tokens: int = Field(default=2048, gt=1)
    """Tokens of a window; documents are packed end to end."""
    batch_windows: int = Field(default=1, gt=0)
    """Windows that go through a layer at once."""
    mixture: Mixture = {"c4": 1.0}
    """Data sets of the calibration; the published one is WikiText-2, which the competition does not allow."""
    strength: float = Field(default=1.0, ge=0, le=1)
    """1: ratios as published, so that the most sensitive layer loses nothing; 0: the same for every layer."""
    largest: float = Field(default=0.9, gt=0, le=1)
    """The most that a layer may lose; what is clamped goes to the others."""


class LayerwiseStep(CalibratedStep):
    """Layers narrowed to the parameter budget, sensitive ones less: channels and KV groups, in FP16 all the way."""

    method: Literal["layerwise"] = "layerwise"
    allocation: Literal["policy", "uniform"] = "policy"
    """``uniform``: the same units by the same scores, with the same widths in every layer."""
    relative: bool = True
    """Whether a layer's error counts beside the size of its output; the published errors do not."""
    round_to: int = Field(default=128, gt=0)
    """MLP widths are multiples of this."""
    cut_kv_groups: bool = True
    """Whether KV groups may go."""
    cut_intermediate: bool = True
    """Whether MLP channels may go."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.cut_kv_groups or self.cut_intermediate):
            raise ValueError("cut_kv_groups and cut_intermediate are both false, so there is nothing to cut")
        return self


class UnifiedStep(CalibratedStep):
    """As published: SparseGPT zeros by layer, then weights rounded as fewer bits would hold them; stored in FP16."""

    legal_variant: ClassVar[str] = (
        "set bits = 16 (zeros alone, no size gain), or use method 'layerwise': the same policy as structured widths"
    )

    method: Literal["unified"] = "unified"
    sparsity: float = Field(default=0.5, ge=0, le=1)
    """Mean over layers of the share of zeros."""
    pattern: Literal["unstructured", "2:4"] = "unstructured"
    """``2:4``: two zeros of every four weights in every layer, whatever the policy."""
    block: int = Field(default=128, gt=0)
    """Columns whose zeros are chosen at once."""
    damping: float = Field(default=0.01, gt=0, allow_inf_nan=False)
    """Share of the mean of the Hessian's diagonal that is added to it."""
    bits: Bits = 8
    """Of the weights; 16: none are rounded. Layers at or above the mean error get ``extra_bits`` more."""
    extra_bits: int = Field(default=0, ge=0, le=14)
    low_bit_layers: dict[int, Bits] = {}
    """Layers with bits of their own; published for LLaMA-7B: 4 in layers 2, 29, 30 and 31."""

    def practices(self) -> tuple[str, ...]:
        """Fewer than 16 bits are quantisation, wherever they are stored."""
        return (QUANTISATION,) if min((self.bits, *self.low_bit_layers.values())) < 16 else ()  # noqa: PLR2004


class TuneStep(Step):
    """Tuning of a window of layers at a time, up to an exit after it; or of everything at once."""

    legal_variant: ClassVar[str] = "set bits = 16: the same tuning in full precision"

    stage: Literal["train"] = "train"
    method: Literal["layerwise-tuning"] = "layerwise-tuning"
    stride: int | None = Field(default=8, gt=0)
    """Layers of a window; null or more than there are: all layers, embedding and head at once."""
    heads: Literal["shared", "own"] = "shared"
    """Of exits: the model's norm and head, or as published a copy of the head each, which is dropped afterwards."""
    bits: Bits = 16
    """Of the weights while they are tuned, rounded and trained straight through; and when they are stored."""
    optimizer_steps: int = Field(gt=0)
    """Updates of the weights, over all windows."""
    batch_windows: int = Field(default=16, gt=0)
    """Windows of text of an optimizer step."""
    micro_batch_windows: int | None = Field(default=None, gt=0)
    """Windows of text that go through the model at once; all of them if absent."""
    window_tokens: int = Field(default=1024, gt=1)
    """Tokens of a window of text."""
    learning_rate: float = Field(default=4e-4, gt=0, allow_inf_nan=False)
    """At its highest; warm-up, then cosine, for each window of layers."""
    warmup_fraction: float = Field(default=0.03, ge=0, lt=1)
    """Share of the optimizer steps in which the learning rate rises."""
    gradient_clip: float = Field(default=0.3, gt=0, allow_inf_nan=False)
    """Largest norm of the gradient."""
    compute: Literal["float32", "bfloat16"] = "bfloat16"
    """Of the forward and backward pass."""
    mixture: Mixture = {"alpaca": 1.0}
    """Data sets and their shares of the tokens."""
    loss_on: Literal["all", "response"] = "all"
    """All tokens, or those of documents and responses alone."""

    def practices(self) -> tuple[str, ...]:
        """Fewer than 16 bits are quantisation."""
        return (QUANTISATION,) if self.bits < 16 else ()  # noqa: PLR2004


class VoteStep(Step):
    """Let the exits of ``layerwise-tuning`` predict together: same weights, the exits in the checkpoint's structure."""

    stage: Literal["compress"] = "compress"
    reads_data: ClassVar[bool] = False
    method: Literal["vote"] = "vote"
    stride: int = Field(default=8, gt=0)
    """Layers from exit to exit; the last layer is one in any case. As many as a window of the tuning had."""
    first: int = Field(default=0, ge=0)
    """Exits below this layer do not vote."""
    how: Literal["max", "mean"] = "max"
    """The largest probability over exits, made to sum to 1, as published; or the mean, an extension."""


class EdgeOptions(Options):
    """Options of ``--plugin edge-llm``."""

    steps: tuple[Annotated[LayerwiseStep | UnifiedStep | TuneStep | VoteStep, Field(discriminator="method")], ...] = ()
    """Compress, then tune, as often as one likes; vote last."""
