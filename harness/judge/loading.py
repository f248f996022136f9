"""A checkpoint from disk into memory: stock classes or our structured one, safetensors, nothing made up.

A modeling file in the checkpoint is not run; our own class stands for it. ``transformers`` fills a tensor that a
checkpoint lacks with random numbers and goes on; a measurement must not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from harness.errors import MeasurementFailed
from harness.structured import files
from harness.structured import loading as structured
from harness.structured.modeling_structured import StructuredConfig, StructuredForCausalLM

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from harness.judge.requests import Precision


def load_config(checkpoint: Path) -> PreTrainedConfig:
    """The configuration of ``checkpoint``; its own code, if it brings any, is not run."""
    if files.is_structured(checkpoint):
        return structured.load_config(checkpoint)
    config: PreTrainedConfig = AutoConfig.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False)
    return config


def load_model(checkpoint: Path, *, precision: Precision, device: str) -> PreTrainedModel:
    """The model in evaluation mode on ``device``.

    Raises:
        MeasurementFailed: a tensor of the model is not in the checkpoint, has another shape, or is one too many.
        CheckpointCorrupt: the same of a checkpoint with a structure, or it is none.
    """
    dtype: torch.dtype | Literal["auto"] = "auto" if precision == "checkpoint" else getattr(torch, precision)
    if files.is_structured(checkpoint):
        model = structured.load(checkpoint, dtype=dtype)
    else:
        model = _load_stock(checkpoint, dtype)
    model.requires_grad_(requires_grad=False)
    placed: PreTrainedModel = model.to(device)  # type: ignore[arg-type]  # the stub's decorator loses self
    return placed.eval()  # type: ignore[no-untyped-call,no-any-return]


def _load_stock(checkpoint: Path, dtype: torch.dtype | Literal["auto"]) -> PreTrainedModel:
    loaded: tuple[PreTrainedModel, Mapping[str, Iterable[object]]] = AutoModelForCausalLM.from_pretrained(  # type: ignore[assignment]  # stubs forget output_loading_info
        checkpoint,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        dtype=dtype,
        output_loading_info=True,
    )
    model, report = loaded
    for fault in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if names := sorted(map(str, report.get(fault, ()))):
            raise MeasurementFailed(f"{checkpoint}: {fault.replace('_', ' ')}: {', '.join(names[:5])}")
    return model


def build_empty(config: PreTrainedConfig) -> PreTrainedModel:
    """The model of ``config`` on the meta device: its code is imported, and no memory is taken for weights."""
    with torch.device("meta"):
        if isinstance(config, StructuredConfig):
            return StructuredForCausalLM(config)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
        return model


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
