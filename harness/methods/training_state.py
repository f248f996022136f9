"""The state of an interrupted training: everything that the next optimizer step depends on, in one safetensors file.

    parameter/<name>            trainable weights, float32; frozen ones stay in the checkpoint they came from
    optimizer/<name>/exp_avg    and exp_avg_sq, step: the state of AdamW
    history                     float64 [steps done, 3]: loss, learning rate, gradient norm
    metadata: key               digest of what is trained on what and how

Batch order and dropout need no state of their own: both are functions of the seed and of the step. The file is written
beside, flushed and renamed, so that a kill leaves this state or the one before. Nothing is ever unpickled. State is
gathered under plain names, whichever way the model is spread over processes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from harness.document import sync_folder
from harness.errors import CheckpointCorrupt
from harness.methods.history import StepRecord

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

_GATHER = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
_SPREAD = StateDictOptions(full_state_dict=True, ignore_frozen_params=True, strict=False)
FILE_NAME = "state.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingState:
    """A state that was read back."""

    tensors: dict[str, torch.Tensor]
    history: list[StepRecord]
    """One entry for each optimizer step done."""


def gather(
    model: nn.Module, optimizer: torch.optim.Optimizer, history: list[StepRecord]
) -> dict[str, torch.Tensor] | None:
    """The tensors of a state, on the CPU, in the first process; None in the others, which all have to call it too."""
    gathered: tuple[dict[str, torch.Tensor], Any] = get_state_dict(model, optimizer, options=_GATHER)  # type: ignore[assignment]
    weights, moments = gathered
    if not weights:
        return None
    tensors = {f"parameter/{name}": weight for name, weight in _untied(weights).items()}
    for name, slots in moments["state"].items():
        tensors |= {f"optimizer/{name}/{slot}": value for slot, value in slots.items()}
    rows = [(record.loss, record.learning_rate, record.gradient_norm) for record in history]
    tensors["history"] = torch.tensor(rows, dtype=torch.float64).reshape(-1, 3)
    return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}


def _untied(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tied tensors once, under the first of their names: a file that holds them twice could part them."""
    first = {weight.data_ptr(): name for name, weight in reversed(weights.items())}
    return {name: weight for name, weight in weights.items() if first[weight.data_ptr()] == name}


def write_state(folder: Path, tensors: dict[str, torch.Tensor], *, key: str) -> None:
    """Replace the state in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{FILE_NAME}.partial"
    save_file(tensors, beside, metadata={"key": key})
    with beside.open("rb") as stream:
        os.fsync(stream.fileno())
    beside.replace(folder / FILE_NAME)
    sync_folder(folder)


def read_state(folder: Path, *, key: str) -> TrainingState | None:
    """The state in ``folder``; None where there is none.

    Raises:
        CheckpointCorrupt: the file cannot be read.
        ValueError: it belongs to another training; each one needs a folder of its own.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as stream:
            metadata: dict[str, str] = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise CheckpointCorrupt(f"{path}: is no training state: {error}; remove it to train anew") from error
    if metadata.get("key") != key:
        raise ValueError(f"{path}: the state of another training; give each training a folder of its own")
    rows = tensors.pop("history").tolist()
    history = [StepRecord(loss=loss, learning_rate=rate, gradient_norm=norm) for loss, rate, norm in rows]
    return TrainingState(tensors=tensors, history=history)


def restore(state: TrainingState, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put weights and moments back, in place; every process has to call it."""
    weights: dict[str, Any] = {}
    moments: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in state.tensors.items():
        kind, _, rest = name.partition("/")
        if kind == "parameter":
            weights[rest] = tensor
        else:
            parameter, _, slot = rest.rpartition("/")
            moments.setdefault(parameter, {})[slot] = tensor
    groups = get_optimizer_state_dict(model, optimizer)["param_groups"]
    whole: dict[str, Any] = {"state": moments, "param_groups": groups}
    set_model_state_dict(model, weights, options=_SPREAD)
    set_optimizer_state_dict(model, optimizer, whole, options=_SPREAD)
