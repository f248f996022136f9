"""Tuning a few layers at a time, each time up to an exit of its own (Edge-LLM's adaptive layer tuning, DAC 2024).

    tokens ─> layers below the window, no gradient ─> layers of the window ─> exit: norm and head ─> loss
              nothing of them is kept                 all that is kept         layers above are not run

The training's optimizer steps fall into as many equal segments as there are exits, one after the other, each with
windows of text of its own. Activations that are kept, and the depth of the backward pass, are the window's. The
released code runs all layers even so, multiplies adapters outside of the window by zero and starts every window from
features that no earlier one has changed; here later windows see what earlier ones learned, as the exported model does.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.nn import functional

from harness.corpora.windows import Windows
from harness.methods.batches import IGNORE_INDEX, Batch, derived_seed
from harness.methods.training import TrainingSettings, train
from harness.progress import silent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch import Tensor
    from transformers import PreTrainedModel

    from harness.methods.history import History
    from harness.progress import Progress

Heads = Literal["shared", "own"]
"""``shared``: the model's final norm and head, at no cost. ``own``: a copy of the head for each exit, without norm, as
published; it has the size of the head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One window of layers and when it is tuned."""

    first: int
    exit: int
    """The last layer of the window; its output goes to the head."""
    steps: range
    """Optimizer steps, of all of the training's."""


def segments(layer_count: int, stride: int, step_count: int) -> tuple[Segment, ...]:
    """Windows of ``stride`` layers from the bottom up, the last one what is left; steps left over go to the last.

    Raises:
        ValueError: no stride, or fewer steps than windows.
    """
    if not 1 <= stride <= layer_count:
        raise ValueError(f"stride must be in 1..{layer_count}, got {stride}")
    starts = range(0, layer_count, stride)
    each = step_count // len(starts)
    if each < 1:
        raise ValueError(f"{len(starts)} windows of layers need at least as many optimizer steps, got {step_count}")
    stops = [*(each * number for number in range(1, len(starts))), step_count]
    return tuple(
        Segment(first=first, exit=min(first + stride, layer_count) - 1, steps=range(each * number, stop))
        for number, (first, stop) in enumerate(zip(starts, stops, strict=True))
    )


class ExitModel(nn.Module):
    """A model that can be left after any of ``exits``; the model itself is held, not copied."""

    def __init__(self, model: PreTrainedModel, exits: Sequence[int], *, heads: Heads = "shared") -> None:
        """Exits after the layers of these numbers, ascending.

        Raises:
            ValueError: no exits, or a layer that there is not.
        """
        super().__init__()
        body: Any = model.base_model
        if not exits or sorted(set(exits)) != list(exits) or not 0 <= exits[0] <= exits[-1] < len(body.layers):
            raise ValueError(f"exits must ascend within 0..{len(body.layers) - 1}, got {list(exits)}")
        self.model = model
        self.exits = tuple(exits)
        self.heads = heads
        head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        own = {str(layer): copy.deepcopy(head) for layer in exits} if heads == "own" else {}
        self.own_heads = nn.ModuleDict(own)

    def forward(self, token_ids: Tensor, *, exit_layer: int, first: int = 0) -> Tensor:
        """Logits ``[B, T, V]`` after ``exit_layer``; no gradient reaches layers below ``first``."""
        return self.logits(self.hidden(token_ids, exit_layer=exit_layer, first=first), exit_layer)

    def hidden(self, token_ids: Tensor, *, exit_layer: int, first: int = 0) -> Tensor:
        """What leaves ``exit_layer``, ``[B, T, D]``; layers above are not run."""
        embed: Any = self.model.get_input_embeddings()
        if first == 0:
            return self._run(embed(token_ids), 0, exit_layer + 1)
        with torch.no_grad():
            below = self._run(embed(token_ids), 0, first)
        return self._run(below, first, exit_layer + 1)

    def logits(self, hidden: Tensor, exit_layer: int) -> Tensor:
        """Of what leaves ``exit_layer``, by its head."""
        if self.heads == "own":
            made: Tensor = self.own_heads[str(exit_layer)](hidden)
            return made
        head: Any = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        shared: Tensor = head(getattr(self.model.base_model, final_norm_name(self.model))(hidden))
        return shared

    @torch.no_grad()
    def exit_logits(self, token_ids: Tensor) -> list[Tensor]:
        """Logits of every exit, ``[B, T, V]`` each, from one pass through the layers."""
        states, start, found = self.hidden(token_ids, exit_layer=self.exits[0]), self.exits[0] + 1, []
        for layer in self.exits:
            states = self._run(states, start, layer + 1) if layer + 1 > start else states
            start = layer + 1
            found.append(self.logits(states, layer))
        return found

    def open(self, segment: Segment) -> None:
        """Let the layers of the window, and their exit's own head, be trained, and nothing else."""
        self.requires_grad_(requires_grad=False)
        body: Any = self.model.base_model
        for layer in body.layers[segment.first : segment.exit + 1]:
            layer.requires_grad_(requires_grad=True)
        if self.heads == "own":
            self.own_heads[str(segment.exit)].requires_grad_(requires_grad=True)

    def _run(self, states: Tensor, first: int, stop: int) -> Tensor:
        with _only(self.model, first, stop) as body:
            result: Tensor = body(inputs_embeds=states, use_cache=False).last_hidden_state
            return result


def tune(  # noqa: PLR0913 - the request of a library function, all but the first four by name
    model: ExitModel,
    windows: Windows,
    settings: TrainingSettings,
    stride: int,
    *,
    state: Path,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress = silent,
) -> list[History]:
    """Tune the layers of ``model`` in place, window after window, going on from what stands in ``state``.

    Args:
        model: With an exit at the end of every window of ``stride`` layers.
        windows: Of text, at least one for each optimizer step; those of different segments are different.
        settings: Of the whole training; each segment has a schedule of its own, warmed up in proportion.
        stride: Layers of a window.
        state: Folder of this training alone.
        device: Where ``model`` is.
        seed: Of the batch order.
        progress: Told every optimizer step.

    Raises:
        ValueError: an exit is missing, or as ``segments`` and ``train``.
    """
    body: Any = model.model.base_model
    histories = []
    for number, segment in enumerate(segments(len(body.layers), stride, settings.optimizer_steps)):
        if segment.exit not in model.exits:
            raise ValueError(f"the model must have an exit after layer {segment.exit}, it has {model.exits}")
        model.open(segment)
        history = train(
            model,
            _share(windows, segment.steps, settings.optimizer_steps),
            _segment_settings(settings, len(segment.steps)),
            state=state / str(number),
            device=device,
            seed=derived_seed("segment", seed, number),
            progress=progress,
            loss=_ExitLoss(segment),
        )
        histories.append(history)
    model.requires_grad_(requires_grad=True)
    return histories


def final_norm_name(model: PreTrainedModel) -> str:
    """The attribute of the body that is its final norm."""
    body: Any = model.base_model
    names = [name for name in ("final_layernorm", "norm") if hasattr(body, name)]
    shapes: Any = getattr(body, "shapes", None)
    return str(shapes.block.final_norm) if shapes is not None else names[0]


@dataclass(frozen=True, slots=True)
class _ExitLoss:
    """Next-token loss at the exit of a window, nats/token, in float32."""

    segment: Segment

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        logits = model(batch.token_ids, exit_layer=self.segment.exit, first=self.segment.first)[:, :-1]
        labels = batch.labels[:, 1:].flatten()
        total = functional.cross_entropy(
            logits.flatten(0, 1).float(), labels, ignore_index=IGNORE_INDEX, reduction="sum"
        )
        return total / (labels != IGNORE_INDEX).sum().clamp(min=1)


@contextmanager
def _only(model: PreTrainedModel, first: int, stop: int) -> Iterator[Any]:
    """The body with these layers alone and without its final norm, until the block ends."""
    body: Any = model.base_model
    name = final_norm_name(model)
    layers, norm = body.layers, getattr(body, name)
    try:
        body.layers = nn.ModuleList(list(layers)[first:stop])
        setattr(body, name, nn.Identity())
        yield body
    finally:
        body.layers = layers
        setattr(body, name, norm)


def _share(windows: Windows, steps: range, step_count: int) -> Windows:
    """The part of ``windows`` that belongs to ``steps``."""
    start, stop = (len(windows) * step // step_count for step in (steps.start, steps.stop))
    mask = None if windows.loss_mask is None else windows.loss_mask[start:stop]
    return Windows(token_ids=windows.token_ids[start:stop], loss_mask=mask, key=f"{windows.key}/{start}-{stop}")


def _segment_settings(settings: TrainingSettings, step_count: int) -> TrainingSettings:
    warmup = round(settings.warmup_count * step_count / settings.optimizer_steps)
    return replace(settings, optimizer_steps=step_count, warmup_count=warmup)
