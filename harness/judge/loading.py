"""A checkpoint from disk into memory, as a stranger would load it: stock classes, safetensors, nothing made up.

``transformers`` fills a tensor that a checkpoint lacks with random numbers and goes on; a measurement must not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from harness.errors import MeasurementFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from harness.judge.requests import Precision


def load_config(checkpoint: Path) -> PreTrainedConfig:
    """The configuration of ``checkpoint``; its own code, if it brings any, is not run."""
    config: PreTrainedConfig = AutoConfig.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False)
    return config


def load_model(checkpoint: Path, *, precision: Precision, device: str) -> PreTrainedModel:
    """The model in evaluation mode on ``device``.

    Raises:
        MeasurementFailed: a tensor of the model is not in the checkpoint, has another shape, or is one too many.
    """
    loaded: tuple[PreTrainedModel, Mapping[str, Iterable[object]]] = AutoModelForCausalLM.from_pretrained(  # type: ignore[assignment]  # stubs forget output_loading_info
        checkpoint,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        dtype="auto" if precision == "checkpoint" else getattr(torch, precision),
        output_loading_info=True,
    )
    model, report = loaded
    for fault in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if names := sorted(map(str, report.get(fault, ()))):
            raise MeasurementFailed(f"{checkpoint}: {fault.replace('_', ' ')}: {', '.join(names[:5])}")
    model.requires_grad_(requires_grad=False)
    placed: PreTrainedModel = model.to(device)  # type: ignore[arg-type]  # the stub's decorator loses self
    return placed.eval()  # type: ignore[no-untyped-call,no-any-return]


def load_tokenizer(checkpoint: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of ``checkpoint``."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        checkpoint, local_files_only=True, trust_remote_code=False
    )
    return tokenizer


def context_tokens(config: PreTrainedConfig) -> int:
    """How many positions the model knows; raises ``MeasurementFailed`` where the configuration does not say."""
    context = getattr(config, "max_position_embeddings", None)
    if not isinstance(context, int) or context < 1:
        raise MeasurementFailed(f"config.json: max_position_embeddings must be a positive integer, found {context!r}")
    return context
