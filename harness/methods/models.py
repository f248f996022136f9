"""Whole models in memory: load a checkpoint with its class, save one that looks like the checkpoint it came from.

checkpoint folder --load (float32 to train, never remote code, never pickle)--> model
model --save--> folder: model.safetensors (F16), config.json (dtype float16), tokenizer files of the old folder;
                with a structure also structure.json and its modeling file

The class is transformers' own, or ours for a checkpoint with a structure; what lies in the folder is never run.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import torch

from harness.document import sync_folder
from harness.errors import CheckpointCorrupt, MeasurementFailed
from harness.structured import files

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

MAX_SHARD_SIZE = "5GB"
COPIED_FILES = (
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
)
"""What belongs to a checkpoint and is not changed by training."""


def load(path: Path, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> PreTrainedModel:
    """The model at ``path``, by the class that its config names, in evaluation mode.

    Raises:
        CheckpointCorrupt: neither a stock class nor ours fits, or tensors are missing, unknown or of another shape.
    """
    if files.is_structured(path):
        from harness.structured import loading

        return loading.load(path, dtype=dtype, device=device)
    return _load_stock(path, dtype, device)


def _load_stock(path: Path, dtype: torch.dtype, device: str) -> PreTrainedModel:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    loaded: tuple[PreTrainedModel, dict[str, Any]]
    try:
        loaded = AutoModelForCausalLM.from_pretrained(  # type: ignore[assignment] # a pair is asked for
            path,
            dtype=dtype,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise CheckpointCorrupt(f"{path}: transformers cannot load it as a causal language model: {error}") from error
    model, report = loaded
    wrong = {kind: sorted(map(str, names)) for kind, names in report.items() if names}
    if wrong:
        raise CheckpointCorrupt(f"{path}: its tensors do not fit its config.json: {json.dumps(wrong)}")
    model.to(torch.device(device))  # type: ignore[arg-type] # transformers' own signature is too narrow
    model.eval()  # type: ignore[no-untyped-call]
    return model


def save(model: PreTrainedModel, folder: Path, *, like: Path) -> Path:
    """Write ``model`` in FP16 as the checkpoint ``folder``, whole or not at all; returns ``folder``.

    Equal weights make equal bytes. Tied weights are written once; tokenizer and generation files come from ``like``.

    Raises:
        MeasurementFailed: a weight is not finite in FP16; the message names the tensor.
    """
    from huggingface_hub import save_torch_state_dict

    beside = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    save_torch_state_dict(_half(model), beside, max_shard_size=MAX_SHARD_SIZE, metadata={"format": "pt"})
    _write_config(model, beside)
    for name in COPIED_FILES:
        if (like / name).is_file():
            shutil.copyfile(like / name, beside / name)
    _flush(beside)
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
    sync_folder(folder.parent)
    return folder


def _half(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """The state in FP16 on the CPU, each tied tensor under its own name only."""
    state = model.state_dict()
    tied: dict[str, str] = model._tied_weights_keys or {}  # noqa: SLF001 - there is no public name for it
    aliases = {name for name, source in tied.items() if _shares_memory(state, name, source)}
    half = {name: tensor.detach().to("cpu", torch.float16) for name, tensor in state.items() if name not in aliases}
    for name, tensor in half.items():
        if not torch.isfinite(tensor).all():
            largest = state[name].detach().abs().max().item()
            raise MeasurementFailed(f"{name}: not finite in FP16 (largest magnitude {largest:g}, allowed 65504)")
    return half


def _shares_memory(state: dict[str, torch.Tensor], name: str, source: str) -> bool:
    return name in state and source in state and state[name].data_ptr() == state[source].data_ptr()


def _write_config(model: PreTrainedModel, folder: Path) -> None:
    config = copy.deepcopy(model.config)
    config.dtype = torch.float16
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    if files.is_structured(folder):
        files.complete(folder)


def _flush(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    sync_folder(folder)
