"""What a recipe of track scratch may say: an nGPT is initialised, trained on documents, and taught to answer.

    initialise   initialise                 once, the first step
    train        pretrain   sft             on the sphere, in any order

What is published of C4NGPT-0.8B stands in the recipe ``scratch.toml``; defaults are nGPT's own.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from harness import Step
from harness.corpora.filters.settings import FilterSettings

Mixture = Annotated[
    dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]],
    Field(min_length=1),
]
"""Short name of a data set to its share of the tokens."""


class InitialiseStep(Step):
    """An untrained nGPT."""

    reads_data: ClassVar[bool] = False

    stage: Literal["initialise"] = "initialise"
    method: Literal["initialise"] = "initialise"
    hidden: int = Field(gt=0)
    """Size of the hidden state."""
    layers: int = Field(gt=0)
    """Decoder layers."""
    heads: int = Field(gt=0)
    """Query heads, each with keys and values of its own."""
    head_dim: int | None = Field(default=None, gt=0, multiple_of=2)
    """Size of a head; ``hidden / heads`` if absent."""
    intermediate: int | None = Field(default=None, gt=0)
    """Units of an MLP; four times ``hidden`` if absent, as nGPT has it."""
    context_tokens: int = Field(default=1024, gt=1)
    """Tokens that the model is made for."""
    rope_theta: float = Field(default=10_000.0, gt=0, allow_inf_nan=False)
    """Base of the rotation's wavelengths."""
    vocabulary: int | None = Field(default=None, gt=0)
    """Tokens of the tokenizer: what a plan computes with before there is one, checked when there is."""
    chat_template: Literal["tokenizer", "llama-3"] = "tokenizer"
    """The tokenizer's own, or that of Llama 3, whose special tokens the tokenizer must have."""


class SphereStep(Step):
    """What the ways of training share. There is no weight decay and no warm-up: nGPT needs neither."""

    stage: Literal["train"] = "train"
    optimizer_steps: int = Field(gt=0)
    """Updates of the weights."""
    batch_windows: int = Field(gt=0)
    """Windows of an optimizer step."""
    micro_batch_windows: int | None = Field(default=None, gt=0)
    """Windows that go through the model at once; all of them if absent."""
    window_tokens: int = Field(default=1024, gt=1)
    """Tokens of a window; documents are packed end to end."""
    learning_rate: float = Field(gt=0, allow_inf_nan=False)
    """At its beginning; it falls to 0 by a cosine."""
    compute: Literal["float32", "bfloat16"] = "bfloat16"
    """Of the forward and backward pass; trained weights are float32 in either case."""


class PretrainStep(SphereStep):
    """Training on documents, filtered."""

    method: Literal["pretrain"] = "pretrain"
    learning_rate: float = Field(default=15e-4, gt=0, allow_inf_nan=False)
    """At its beginning; it falls to 0 by a cosine."""
    mixture: Mixture = {"c4": 1.0}
    """Data sets, and their shares of the tokens."""
    filters: FilterSettings = FilterSettings()
    """What of the documents is left out; answers to instructions are not filtered."""


class SftStep(SphereStep):
    """Training on answers to instructions, in the checkpoint's chat template."""

    method: Literal["sft"] = "sft"
    mixture: Mixture = {"alpaca": 1.0}
    """Data sets, and their shares of the tokens."""
    loss_on: Literal["all", "response"] = "response"
    """All tokens, or the responses alone; which of the two was published is not known."""
