"""Calibration of a model that does not fit: one layer resident at a time, hidden states on disk between layers.

    token ids ──rows of the embedding──> hidden states of every batch, one file each ─┐
       ┌──────────────────────────────────────────────────────────────────────────────┘
       └─> layer i, its weights read from the checkpoint ──> the same files, for layer i + 1
              └─> moments of its linears, handed out before the next layer is read

A layer is run by the model's own body with that layer alone in it, so masks and rotation are its own and every value
is the one that the whole model computes, to the bit. Memory: one layer in FP32, its moments, one batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from harness.checkpoint.dtypes import to_float32
from harness.checkpoint.reader import open_checkpoint
from harness.errors import UsageError
from harness.methods.moments import OUTPUT_EXPONENT, Moments, batch_mask, listening, module_of
from harness.progress import silent
from harness.structured import files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch import Tensor
    from transformers import PreTrainedModel

    from harness.checkpoint.reader import CheckpointReader
    from harness.methods.calibration import CalibrationBatch
    from harness.progress import Progress

EMBEDDING = "model.embed_tokens.weight"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMoments:
    """What one layer's calibration gave, and its weights while they are here."""

    index: int
    layer: nn.Module
    """FP32; its weights go when the next layer is asked for."""
    moments: dict[str, Moments]
    """By full path, ``model.layers.0.mlp.down_proj``."""


@torch.no_grad()
def stream_moments(  # noqa: PLR0913 - the request of a library function, all but the first three by name
    checkpoint: Path,
    linears: Sequence[str],
    batches: Sequence[CalibrationBatch],
    *,
    folder: Path | None = None,
    device: str = "cpu",
    output_exponent: float = OUTPUT_EXPONENT,
    progress: Progress = silent,
) -> Iterator[LayerMoments]:
    """Moments of ``linears``, a layer at a time, exactly as ``moments.gather_moments`` finds them.

    Args:
        checkpoint: Stock or structured.
        linears: Paths of modules within layers; layers in which there is none are run and handed out all the same.
        batches: Of calibration; gone over once for every layer.
        folder: Existing and empty, for hidden states, ``tokens * hidden * 4`` bytes; None keeps them in memory.
        device: Where a layer is run.
        output_exponent: As of ``gather_moments``.
        progress: Told every layer.

    Raises:
        ValueError: no such linear, no batches, or layers that attend in different ways.
        CheckpointCorrupt: a tensor is missing.
    """
    if not batches:
        raise ValueError("batches must be at least one, got none")
    model = skeleton(checkpoint)
    body: Any = model.base_model
    layers: list[nn.Module] = list(body.layers)
    _check_linears(layers, linears)
    states = HiddenStates(folder)
    with open_checkpoint(checkpoint) as reader:
        for place, batch in enumerate(batches):
            states.put(place, embedded(reader, batch.token_ids))
        for index, layer in enumerate(layers):
            progress("calibrating", index, len(layers), f"layer {index}")
            prefix = f"model.layers.{index}."
            fill(layer, reader, prefix, device)
            wanted = {path: module_of(layer, path.removeprefix(prefix)) for path in linears if path.startswith(prefix)}
            with listening(wanted, output_exponent) as listeners:
                for place, batch in enumerate(batches):
                    mask = batch_mask(batch, torch.device(device))
                    for listener in listeners:
                        listener.mask = mask
                    states.put(place, through(body, layer, states.get(place).to(device), mask))
            found = {listener.path: listener.moments() for listener in listeners}
            yield LayerMoments(index=index, layer=layer, moments=found)
            layer.to("meta")
    progress("calibrating", len(layers), len(layers))


def skeleton(checkpoint: Path) -> PreTrainedModel:
    """The model of ``checkpoint`` without weights and without a norm at its end: to run layers through its body."""
    model, final_norm = bare_model(checkpoint)
    setattr(model.base_model, final_norm, nn.Identity())
    return model


def bare_model(checkpoint: Path) -> tuple[PreTrainedModel, str]:
    """The model of ``checkpoint`` without weights (on the meta device), its rotation ready to compute.

    Returns:
        The model in evaluation mode, and the name of its body's last norm.

    Raises:
        UsageError: it has no such norm.
        ValueError: its layers attend in different ways.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    if files.is_structured(checkpoint):
        from harness.structured.loading import load_config
        from harness.structured.modeling_structured import StructuredForCausalLM

        with torch.device("meta"):
            structured: PreTrainedModel = StructuredForCausalLM(load_config(checkpoint))
        found = structured.model.shapes.block.final_norm
        if found is None:
            raise UsageError(f"{checkpoint}: has no norm at its end (nGPT); its layers cannot be walked one by one")
        return _attending_alike(structured), found
    config = AutoConfig.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    body: Any = model.base_model
    # Frequencies are no part of a checkpoint: they are computed where the module is made.
    body.rotary_emb = type(body.rotary_emb)(config=config)
    return _attending_alike(model), "final_layernorm" if hasattr(body, "final_layernorm") else "norm"


def embedded(reader: CheckpointReader, token_ids: Tensor) -> Tensor:
    """Rows of the embedding for ``token_ids`` ``[B, T]``: ``[B, T, D]``, float32, with one chunk of it in memory."""
    entry = reader.entry(EMBEDDING)
    wanted, places = torch.unique(token_ids, return_inverse=True)
    rows = torch.empty(len(wanted), entry.shape[1])
    first = 0
    for chunk in reader.chunks(EMBEDDING):
        inside = (wanted >= first) & (wanted < first + len(chunk))
        if bool(inside.any()):
            found = chunk[(wanted[inside] - first).numpy()]
            rows[inside] = torch.from_numpy(to_float32(found, entry.dtype))
        first += len(chunk)
    if len(wanted) and int(wanted[-1]) >= first:
        raise ValueError(f"token ids must be in 0..{first - 1}, got {int(wanted[-1])}")
    return rows[places]


class HiddenStates:
    """Hidden states by place; on disk as plain files, since mapped pages would count as memory held."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._held: dict[int | str, Tensor] = {}

    def put(self, place: int | str, states: Tensor) -> None:
        """Keep the states of ``place``, a batch's number or a file's name, in the stead of those before."""
        if self._folder is None:
            self._held[place] = states.cpu()
        else:
            torch.save(states.cpu().contiguous(), self._folder / f"{place}.pt")

    def get(self, place: int | str) -> Tensor:
        """The states of ``place``, ``[B, T, D]``."""
        if self._folder is None:
            return self._held[place]
        states: Tensor = torch.load(self._folder / f"{place}.pt", weights_only=True)
        return states


def _attending_alike(model: PreTrainedModel) -> PreTrainedModel:
    """``model`` in evaluation mode; raises ``ValueError`` where its layers attend in different ways."""
    kinds = getattr(model.config, "layer_types", None) or []
    if len(set(kinds)) > 1:
        raise ValueError(f"layers must all attend in the same way, found {', '.join(sorted(set(kinds)))}")
    return model.eval()  # type: ignore[no-untyped-call,no-any-return]


def through(body: Any, layer: nn.Module, states: Tensor, mask: Tensor | None) -> Tensor:  # noqa: ANN401 - a body of any class
    """The states after ``layer``, run by ``body`` as its only one."""
    body.layers = nn.ModuleList([layer])
    attention_mask = None if mask is None else mask.to(torch.int64)
    result: Tensor = body(inputs_embeds=states, attention_mask=attention_mask, use_cache=False).last_hidden_state
    return result


@torch.no_grad()
def fill(layer: nn.Module, reader: CheckpointReader, prefix: str, device: str) -> None:
    """Give ``layer`` its weights, FP32, a chunk of a tensor at a time; none of them requires a gradient."""
    layer.to_empty(device=device)
    for name, parameter in layer.named_parameters():
        fill_parameter(parameter, reader, f"{prefix}{name}")


@torch.no_grad()
def fill_parameter(parameter: nn.Parameter, reader: CheckpointReader, name: str) -> None:
    """Give ``parameter`` the values of the tensor ``name``; raises ``ValueError`` where that has another shape."""
    entry, first = reader.entry(name), 0
    if entry.shape != tuple(parameter.shape):
        raise ValueError(f"{name} must be {list(parameter.shape)} by config.json, got {list(entry.shape)}")
    for chunk in reader.chunks(name):
        values = torch.from_numpy(to_float32(chunk, entry.dtype))
        parameter[first : first + len(chunk)] = values.to(parameter.device)
        first += len(chunk)
    parameter.requires_grad = False


def _check_linears(layers: Sequence[nn.Module], linears: Sequence[str]) -> None:
    known = {f"model.layers.{index}.{name}" for index, layer in enumerate(layers) for name, _ in layer.named_modules()}
    for path in linears:
        if path not in known:
            raise ValueError(f"the model's layers have no module {path!r}; paths are as in its checkpoint's tensors")
