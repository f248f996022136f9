"""What a recipe of track scratch may say: the Cauchy-style model, its pretraining, its instructions.

    initialise   initialise              once, the first step
    train        pretrain   sft          in any order

Published of Cauchy-3B: QKV bias, QK norm, tied embeddings, MiniCPM's scalings, a stable stage with doubled batches, a
decay by half-lives with other data, dropout, caps on repetition. Its numbers are not; defaults are MiniCPM's, or ours.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from harness import Step
from harness_tinytron.data_options import Weight  # noqa: TC001 - pydantic reads it
from harness_tinytron.learning_options import LearningStep


class InitialiseStep(Step):
    """An untrained model: Qwen3's class, which has the biases and the norms, with MiniCPM's scalings in its weights."""

    reads_data: ClassVar[bool] = False

    stage: Literal["initialise"] = "initialise"
    method: Literal["initialise"] = "initialise"
    hidden: int = Field(gt=0)
    """Size of the hidden state."""
    layers: int = Field(gt=0)
    """Decoder layers."""
    heads: int = Field(gt=0)
    """Query heads."""
    kv_heads: int | None = Field(default=None, gt=0)
    """Heads of keys and values; as many as query heads if absent."""
    head_dim: int | None = Field(default=None, gt=0, multiple_of=2)
    """Size of a head; ``hidden / heads`` if absent."""
    intermediate: int = Field(gt=0)
    """Units of an MLP."""
    context_tokens: int = Field(default=2048, gt=1)
    """Tokens that the model is made for."""
    rope_theta: float = Field(default=10_000.0, gt=0, allow_inf_nan=False)
    """Base of the rotation's wavelengths."""
    vocabulary: int | None = Field(default=None, gt=0)
    """Tokens of the tokenizer: what a plan computes with before there is one, checked when there is."""
    embedding_scale: float = Field(default=12.0, gt=0, allow_inf_nan=False)
    """What embeddings are multiplied by on their way into the first layer."""
    depth_scale: float = Field(default=1.4, gt=0, allow_inf_nan=False)
    """What attention and MLP add is multiplied by this, over the square root of ``layers``."""
    base_hidden: int = Field(default=256, gt=0)
    """Hidden size at which rates and sizes hold: logits and the rates of matrices are divided by ``hidden`` over it."""
    initial_std: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    """Of embeddings; of matrices over the square root of ``hidden / base_hidden``."""


class TextStep(LearningStep):
    """Cross-entropy on the text alone, with dropout."""

    stage: Literal["train"] = "train"
    attention_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of attention's probabilities that is dropped in training."""
    hidden_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of what attention and MLP add that is dropped in training."""


class PretrainStep(TextStep):
    """Warm-up, a stable rate, a decay by half-lives."""

    method: Literal["pretrain"] = "pretrain"
    learning_rate: float = Field(default=0.01, gt=0, allow_inf_nan=False)
    """At its highest, of embeddings and biases; of matrices ``base_hidden / hidden`` of it."""
    schedule: Literal["cosine", "stable-decay", "half-life"] = "half-life"
    """How it falls again."""


class SftStep(TextStep):
    """Answers to instructions."""

    method: Literal["sft"] = "sft"
    learning_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    """As of ``pretrain``."""
    mixture: dict[str, Weight] = Field(default={"alpaca": 1.0}, min_length=1)
    """Short name of a data set or of a source to its share of the tokens."""
    loss_on: Literal["all", "response"] = "response"
    """All tokens, or those of documents and responses alone."""
