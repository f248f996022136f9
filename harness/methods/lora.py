"""Low-rank adapters (LoRA, arXiv 2106.09685) through peft, and the merge back to stock modules.

y = W x + (alpha / rank) B A x        W frozen; A random, B zero: at first the model is unchanged
merge: W <- W + (alpha / rank) B A    the model has its own classes and parameter count again
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSettings:
    """The shape of the adapters."""

    rank: int = 8
    alpha: float = 16.0
    """The adapters' output is scaled by ``alpha / rank``."""
    dropout: float = 0.0
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Last names of the linears that get an adapter (``q_proj``); ``all-linear`` leaves out ``lm_head``."""


def attach(model: PreTrainedModel, settings: LoraSettings, *, seed: int = 0) -> PeftModel:
    """``model`` with adapters, which alone are trainable (float32); ``model`` itself is changed in place.

    Raises:
        ValueError: no linear of the model is among the targets.
    """
    targets = settings.targets if isinstance(settings.targets, str) else list(settings.targets)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type] # a float works and is not declared
        lora_dropout=settings.dropout,
        target_modules=targets,
        bias="none",
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # peft asks transformers 5 a question by its old name.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        torch.manual_seed(seed)
        return get_peft_model(model, config)


def merge(model: PeftModel) -> PreTrainedModel:
    """The model with its adapters added into its weights, of stock modules alone."""
    merged: PreTrainedModel = model.merge_and_unload()
    return merged.requires_grad_(requires_grad=True)
