"""Structured checkpoints into memory by our own class: nothing that lies in a checkpoint's folder is run.

config.json + structure.json --StructuredConfig--> names and shapes of all tensors
headers of the shards        --compare-->          missing, unexpected, mismatched: refused before a weight is read
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal

import torch

from harness.checkpoint.shards import read_layout
from harness.errors import CheckpointCorrupt
from harness.structured.modeling_structured import StructuredConfig, StructuredForCausalLM

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from transformers import PreTrainedModel

SHOWN_NAMES: Final = 5


def load(path: Path, *, dtype: torch.dtype | Literal["auto"] = torch.float32, device: str = "cpu") -> PreTrainedModel:
    """The model at ``path``, in evaluation mode; ``auto`` is the dtype that the checkpoint is stored in.

    Raises:
        CheckpointCorrupt: its structure or configuration is none, or tensors are missing, unknown or of another shape.
    """
    from safetensors import SafetensorError

    config = load_config(path)
    _check_tensors(path, config)
    loaded: tuple[PreTrainedModel, Mapping[str, Any]]
    try:
        loaded = StructuredForCausalLM.from_pretrained(  # type: ignore[assignment] # a pair is asked for
            path,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise CheckpointCorrupt(f"{path}: transformers cannot load it: {error}") from error
    model, report = loaded
    _refuse_faults(path, {kind: sorted(map(str, names)) for kind, names in report.items()})
    model.to(torch.device(device))  # type: ignore[arg-type] # transformers' own signature is too narrow
    model.eval()  # type: ignore[no-untyped-call]
    return model


def load_config(path: Path) -> StructuredConfig:
    """The configuration of the structured checkpoint ``path``, with its structure.

    Raises:
        CheckpointCorrupt: it is not what a structured checkpoint has, or the two files contradict each other.
    """
    try:
        config: StructuredConfig = StructuredConfig.from_pretrained(path, local_files_only=True)
    except (OSError, TypeError, ValueError) as error:
        raise CheckpointCorrupt(f"{path}: {error}") from error
    return config


def tensor_shapes(config: StructuredConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a checkpoint with ``config`` stores; a tied head is none of its own.

    Raises:
        CheckpointCorrupt: two modules have the same name.
    """
    try:
        with torch.device("meta"):
            model = StructuredForCausalLM(config)
    except ValueError as error:
        raise CheckpointCorrupt(f"structure: {error}") from error
    tied = set(model._tied_weights_keys) if config.tie_word_embeddings else set()  # noqa: SLF001 - there is no public name for it
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if name not in tied}


def _check_tensors(path: Path, config: StructuredConfig) -> None:
    """Compare what is stored with what the structure asks for, before memory is taken for either."""
    asked = tensor_shapes(config)
    found = {entry.name: entry.shape for entry in read_layout(path).tensors}
    differing = sorted(name for name in asked.keys() & found.keys() if asked[name] != found[name])
    faults = {
        "missing": sorted(asked.keys() - found.keys()),
        "unexpected": sorted(found.keys() - asked.keys()),
        "mismatched": [f"{name} must be {list(asked[name])}, found {list(found[name])}" for name in differing],
    }
    _refuse_faults(path, faults)


def _refuse_faults(path: Path, faults: Mapping[str, list[str]]) -> None:
    shown = {kind: names[:SHOWN_NAMES] for kind, names in faults.items() if names}
    if shown:
        raise CheckpointCorrupt(f"{path}: its tensors do not fit its structure: {json.dumps(shown)}")
