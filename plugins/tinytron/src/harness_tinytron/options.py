"""What a recipe of this plugin may say.

Published: what the steps are, the teacher, rates of 1e-4 and 1.5e-4, and the shapes that the README's counts lead to.
Everything else is unpublished; defaults are Sheared-LLaMA's and MiniCPM's numbers, or ours.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from harness import Options, Step
from harness_tinytron.learning_options import LearningStep
from harness_tinytron.scratch_options import InitialiseStep, PretrainStep, SftStep  # noqa: TC001 - pydantic reads them

Axis = Literal["hidden", "kv_group", "head", "intermediate", "layer"]


class TaughtStep(LearningStep):
    """What all steps share that train under a teacher."""

    teacher: str = "base"
    """``base``: the track's untouched model. Otherwise a checkpoint's folder; its vocabulary must be the student's."""
    top_k: int | None = Field(default=32, gt=0)
    """Likeliest tokens that are kept of the teacher's word, which is then asked once; absent: asked anew every step."""
    kl: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Weight of the divergence from the teacher."""
    ce: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Weight of the cross-entropy with the text."""
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Softens both distributions of the divergence."""


class CutStep(TaughtStep):
    """What steps share that end in a smaller shape."""

    stage: Literal["compress"] = "compress"
    keep: dict[Axis, Annotated[int, Field(gt=0)]] = {}
    """Axis to units that stay, the same in every layer."""
    to_budget: bool = True
    """Whether KV groups and MLP channels that ``keep`` does not name are solved from the parameter budget."""
    budget_multiple: float = Field(default=1.0, ge=1, allow_inf_nan=False)
    """Of the budget, for a round that is not the last."""
    round_to: int = Field(default=128, gt=0)
    """A solved MLP width is a multiple of this."""


class MaskPruneStep(CutStep):
    """Masks learned together with the weights, against the teacher, then cut for good."""

    method: Literal["mask_prune"] = "mask_prune"
    mask_learning_rate: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Of log-alphas and multipliers, at its highest."""
    target_warmup_fraction: float = Field(default=0.2, ge=0, le=1)
    """Share of the optimizer steps in which the target sparsity rises."""


class SoftPruneStep(CutStep):
    """Units chosen by the loss's slope along their gates, faded out while distilling, then cut."""

    method: Literal["soft_prune"] = "soft_prune"
    score_batches: int = Field(default=8, gt=0)
    """Batches that the choice is made on, the first of the step's own."""
    score_batch_windows: int = Field(default=16, gt=0)
    """Windows of one of these, one backward pass."""


class DistilStep(TaughtStep):
    """Distillation of every weight, or of the embeddings alone."""

    stage: Literal["train"] = "train"
    method: Literal["distil"] = "distil"
    trained: Literal["all", "embeddings"] = "all"
    """``embeddings``: with the head and the final norm, for the first stage after a change of vocabulary."""


class SwapVocabularyStep(Step):
    """Another model's tokenizer, with embeddings made from the old ones and tied."""

    reads_data: ClassVar[bool] = False

    stage: Literal["compress"] = "compress"
    method: Literal["swap_vocabulary"] = "swap_vocabulary"
    tokenizer: str | None = None
    """Folder of the tokenizer (a checkpoint has one); absent: only a forecast can be made."""
    row_count: int = Field(gt=0)
    """Rows of the new embedding, padding included."""


class TieEmbeddingsStep(Step):
    """The embedding serves as the head, too; the head's own weights are given up."""

    reads_data: ClassVar[bool] = False

    stage: Literal["compress"] = "compress"
    method: Literal["tie_embeddings"] = "tie_embeddings"


class TinytronOptions(Options):
    """Options of ``--plugin tinytron``."""

    steps: tuple[
        Annotated[
            MaskPruneStep
            | SoftPruneStep
            | DistilStep
            | SwapVocabularyStep
            | TieEmbeddingsStep
            | InitialiseStep
            | PretrainStep
            | SftStep,
            Field(discriminator="method"),
        ],
        ...,
    ] = ()
    """Prune and distil, in turns; or initialise, and train from nothing."""
