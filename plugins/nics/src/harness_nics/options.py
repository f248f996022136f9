"""What a recipe of this plugin may say: one class for each method, in any order, as often as one likes.

    compress   vocabulary   width   fuse   decompose   merge
    train      lora         full    partial

Those of track scratch stand in ``scratch_options``.

Defaults are the published numbers read as they were meant; what repeats the original to the letter is named ``compat``.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from harness import Options, Step
from harness_nics.scratch_options import InitialiseStep, PretrainStep, SftStep

Mixture = Annotated[
    dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]],
    Field(min_length=1),
]
"""Short name of a data set to its share of the tokens."""


def _is_ranges(text: str) -> str:
    from harness.surgery.plan import parse_ranges

    parse_ranges(text)
    return text


LayerRanges = Annotated[str, AfterValidator(_is_ranges)]
"""Layers as text: ``0-31`` or ``4-27,30``; both ends belong to a range."""


class VocabularyStep(Step):
    """Fewer tokens: the most frequent that can be made from each other, bytes and special tokens always."""

    stage: Literal["compress"] = "compress"
    method: Literal["vocabulary"] = "vocabulary"
    drop_fraction: float | None = Field(default=None, ge=0, lt=1)
    """Share of the tokenizer's tokens that go; ``int`` of the rest stay, and the added tokens beside them."""
    row_count: int | None = Field(default=None, gt=0)
    """Tokens that stay, instead of ``drop_fraction``."""
    tokenizer_length: int | None = Field(default=None, gt=0)
    """Tokens of the tokenizer, added ones included: what a plan computes with before there is one, checked when there
    is."""
    added_count: int | None = Field(default=None, ge=0)
    """Added tokens of the tokenizer, likewise."""
    compat: Literal["id-rank"] | None = None
    """``id-rank``: as the original's code, nothing is counted and the lowest ids stay; no token is mandatory."""
    mixture: Mixture = {"c4": 0.5, "alpaca": 0.5}
    """Data sets that are counted, and their shares of the texts."""
    text_count: int = Field(default=20_000, gt=0)
    """Texts that are counted."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.drop_fraction is None) is (self.row_count is None):
            raise ValueError("give either drop_fraction or row_count")
        return self


class CalibratedStep(Step):
    """What steps that look at activations or gradients share."""

    stage: Literal["compress"] = "compress"
    window_count: int = Field(gt=0)
    """Windows of calibration text."""
    window_tokens: int = Field(default=256, gt=1)
    """Tokens of a window; documents are packed end to end."""
    batch_windows: int = Field(default=8, gt=0)
    """Windows that go through the model at once."""
    mixture: Mixture = {"alpaca": 1.0}
    """Data sets of the calibration, and their shares of the tokens."""


class WidthStep(CalibratedStep):
    """Fewer KV groups and MLP channels, by Taylor scores (LLM-Pruner, block-wise)."""

    method: Literal["width"] = "width"
    window_count: int = Field(default=10, gt=0)
    """Windows of calibration text."""
    batch_windows: int = Field(default=1, gt=0)
    """Windows that go through the model at once."""
    drop_fraction: float | None = Field(default=None, gt=0, lt=1)
    """Share that each chosen layer loses; KV groups go whole, so of these it may be less. Absent: solved so that the
    model has the parameter budget."""
    budget_multiple: float = Field(default=1.0, ge=1, allow_inf_nan=False)
    """Of the parameter budget that solved widths may leave: more than 1 leaves the rest to later steps."""
    attention_layers: LayerRanges | None = None
    """Layers that lose KV groups; all if absent."""
    mlp_layers: LayerRanges | None = None
    """Layers that lose MLP channels; all if absent."""
    cut_kv_groups: bool = True
    """Whether KV groups may go."""
    cut_intermediate: bool = True
    """Whether MLP channels may go."""
    round_to: int = Field(default=128, gt=0)
    """The MLP width is a multiple of this; 1 is the original, whose widths no fast kernel takes."""
    order: Literal["first", "vectorized", "unit", "second", "mixed"] = "first"
    """Of the Taylor series; ``first`` is what the original ran."""
    weights: Literal["coupled", "exit"] = "coupled"
    """Scores add up over all weights of a unit, or over those that it leaves through."""
    layers_at_once: int | None = Field(default=None, gt=0)
    """Layers scored in one pass over the calibration: fewer take less memory and more passes."""
    streamed: bool | None = None
    """Score layer by layer with weights read as they are needed, hidden states on disk: the same scores. Absent: where
    the whole model does not fit in memory."""
    compat: Literal["llm-pruner-gqa"] | None = None
    """``llm-pruner-gqa`` gives KV groups the scores of other groups' query heads, as the original's code did."""


class FuseStep(Step):
    """Concatenate linears that read the same input: one right factor for all of them, and fewer kernels."""

    reads_data: ClassVar[bool] = False

    stage: Literal["compress"] = "compress"
    method: Literal["fuse"] = "fuse"
    linears: tuple[str, ...] | None = None
    """``self_attn.qkv_proj``, ``mlp.gate_up_proj``; all that the architecture has if absent."""


class DecomposeStep(CalibratedStep):
    """DecompLLM: linears become products of two, each at a rank of its own."""

    method: Literal["decompose"] = "decompose"
    window_count: int = Field(default=128, gt=0)
    """Windows of calibration text."""
    keep_fraction: float | None = Field(default=None, gt=0, lt=1)
    """Share of the model's parameters, embeddings included, that stays. Absent: the parameter budget."""
    scaling: Literal["whitened", "asvd", "plain"] = "whitened"
    """What the factors keep: outputs on the calibration, ASVD's approximation to that, or the weights."""
    asvd_alpha: float = Field(default=0.5, ge=0, le=1)
    """Exponent of the activations' size in ``asvd``."""
    damping: float = Field(default=1e-6, gt=0, lt=1)
    """Share of the mean diagonal that is added to second moments which are not positive definite."""
    weigh_outputs: bool = True
    """Whether an output's error counts by the size that the output has (the original's ``norm``)."""
    output_exponent: float = Field(default=0.5, gt=0, le=1)
    """That size, to this power (the original's ``norm_coef``)."""
    split: Literal["balanced", "both", "left", "right"] = "balanced"
    """How the two factors share a direction's size: alike; or roots of the singular values in each (the original), or
    all of them in one."""
    allocation: Literal["top-k", "binary", "error", "sensitivity", "uniform"] = "top-k"
    """Who gets which rank: the original's search; ASVD's; least summed output error; the same with each linear's error
    in units of the loss that it was found to cause; or the same share for all."""
    search_windows: int = Field(default=32, gt=0)
    """Windows, of those of the calibration, on which the searches measure the loss."""
    step_fraction: float = Field(default=0.15, gt=0, lt=1)
    """Share of a linear's weights that one step of ``top-k`` takes."""
    top_k: int = Field(default=5, gt=0)
    """Linears that step in one round of ``top-k``."""
    minimum_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Share of its weights that every linear keeps at least."""
    ranked_by: Literal["loss", "loss-per-weight"] = "loss"
    """By what ``top-k`` chooses: the rise of the loss, or that over the weights it saves."""
    rank_multiple: int = Field(default=1, gt=0)
    """Ranks are multiples of it."""
    streamed: bool = False
    """Calibrate layer by layer with weights read as they are needed, hidden states on disk: for models that do not fit.
    Searches that measure the loss need the model in memory all the same."""
    compat: Literal["full-rounds"] | None = None
    """``full-rounds``: as the original, every round of ``top-k`` measures all linears anew and takes all its steps."""


class MergeStep(Step):
    """Multiply factors out where that has no more parameters, and all others where asked."""

    reads_data: ClassVar[bool] = False

    stage: Literal["compress"] = "compress"
    method: Literal["merge"] = "merge"
    scope: Literal["break-even", "all"] = "break-even"
    """Linears whose rank saves nothing, or every factorised one (which may break the budget)."""


class RecoveryStep(Step):
    """What the ways of recovery share."""

    stage: Literal["train"] = "train"
    optimizer_steps: int = Field(gt=0)
    """Updates of the weights."""
    batch_windows: int = Field(default=16, gt=0)
    """Windows of an optimizer step."""
    micro_batch_windows: int | None = Field(default=None, gt=0)
    """Windows that go through the model at once; all of them if absent."""
    window_tokens: int = Field(default=1024, gt=1)
    """Tokens of a window; documents are packed end to end."""
    learning_rate: float = Field(default=2e-5, gt=0, allow_inf_nan=False)
    """At its highest; warm-up, then cosine."""
    warmup_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Share of the optimizer steps in which the learning rate rises."""
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Of matrices; norms and biases never decay."""
    compute: Literal["float32", "bfloat16"] = "bfloat16"
    """Of the forward and backward pass; trained weights are float32 in either case."""
    mixture: Mixture = {"alpaca": 1.0}
    """Data sets, and their shares of the tokens."""
    loss_on: Literal["all", "response"] = "all"
    """All tokens (the original), or those of documents and responses alone."""


class LoraStep(RecoveryStep):
    """Recovery with low-rank adapters on every linear but ``lm_head``, merged into the weights afterwards."""

    method: Literal["lora"] = "lora"
    rank: int = Field(default=8, gt=0)
    """Rank of the adapters."""
    alpha: float = Field(default=16.0, gt=0, allow_inf_nan=False)
    """The adapters' output is scaled by ``alpha / rank``."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of an adapter's inputs that is dropped in training."""


class FullStep(RecoveryStep):
    """Recovery of every weight."""

    method: Literal["full"] = "full"


class PartialStep(RecoveryStep):
    """Recovery of a slice of the ranks of factorised linears; the parts are one again afterwards."""

    method: Literal["partial"] = "partial"
    trained_fraction: float = Field(default=0.1, gt=0, le=1)
    """Share of every rank that is trained (the original's beta)."""
    side: Literal["tail", "head"] = "tail"
    """The weakest directions (the original), or the strongest."""
    trains_rest: bool = True
    """Whether all that is not factorised is trained as well, as the original's code does; its text says it is not."""


CompressionStep = VocabularyStep | WidthStep | FuseStep | DecomposeStep | MergeStep | LoraStep | FullStep | PartialStep

ScratchStep = InitialiseStep | PretrainStep | SftStep
AnyStep = CompressionStep | ScratchStep


class NicsOptions(Options):
    """Options of ``--plugin nics``."""

    steps: tuple[Annotated[AnyStep, Field(discriminator="method")], ...] = ()
    """Compress and recover in any order."""
