"""Taylor scores of a model that does not fit: one layer resident at a time, hidden states and gradients on disk.

    token ids ──embedding──> states ──layer 0──> states ── ... ──layer N-1──> states     every one kept, a file a batch
                                                                                │ final norm, head, loss
    scores of layer 0 <── ... <──layer N-2, again from its states <──layer N-1 <┴── gradient of the states

A layer's values are computed a second time when its gradient is, as gradient checkpointing does; every value and every
gradient is the one that ``taylor.taylor`` has of the whole model. Memory: one layer in FP32 with what is kept of its
gradients, or the head with the logits of a batch. Disk: ``layers * tokens * hidden * 4`` bytes.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import nn

from harness.checkpoint.reader import open_checkpoint
from harness.methods.layerwise import (
    EMBEDDING,
    HiddenStates,
    bare_model,
    embedded,
    fill,
    fill_parameter,
    skeleton,
    through,
)
from harness.methods.taylor import Tally, TaylorSettings, check_arrivals, finished, taking, tallies_of
from harness.methods.units import zero_scores
from harness.progress import silent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.checkpoint.reader import CheckpointReader
    from harness.methods.taylor import Loss
    from harness.methods.units import UnitScores
    from harness.progress import Progress
    from harness.surgery.anatomy import Anatomy
    from harness.surgery.linear import Tensor

HEAD = "lm_head"


class Texts(Protocol):
    """A batch of calibration."""

    @property
    def token_ids(self) -> torch.Tensor:
        """``[B, T]``, int64; all of them tokens, none padding."""


TextsT = TypeVar("TextsT", bound=Texts)


def stream_taylor(  # noqa: PLR0913 - model, what, from what, how
    checkpoint: Path,
    anatomy: Anatomy,
    axes: Sequence[str],
    batches: Sequence[TextsT],
    loss: Loss[TextsT],
    *,
    settings: TaylorSettings | None = None,
    folder: Path | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> UnitScores:
    """Taylor scores of the units of ``axes`` in every layer, as ``taylor.taylor`` finds them.

    Args:
        checkpoint: Stock or structured; read in FP32.
        anatomy: Of it.
        axes: ``intermediate``, ``kv_group``, ``head``.
        batches: Of calibration; each is one backward pass, and one sample of the Fisher information.
        loss: Of one batch, from a model that is asked for the logits of the batch's token ids.
        settings: Which score; ``layers_at_once`` has no meaning here.
        folder: Existing and empty, for hidden states; None keeps them in memory.
        device: Where a layer is run.
        progress: Told every layer, twice.

    Raises:
        ValueError: no batches, an axis that is no layer's, or layers that attend in different ways.
        UsageError: a model without a norm at its end.
        CheckpointCorrupt: a tensor is missing.
    """
    if not batches:
        raise ValueError("batches must be at least one, got none")
    settings = settings or TaylorSettings()
    scores, states = zero_scores(anatomy, axes), HiddenStates(folder)
    body: Any = skeleton(checkpoint).base_model
    layers: list[nn.Module] = list(body.layers)
    with open_checkpoint(checkpoint) as reader:
        for place, batch in enumerate(batches):
            states.put(_name(0, place), embedded(reader, batch.token_ids))
        for index, layer in enumerate(layers):
            progress("scoring, forwards", index, len(layers), f"layer {index}")
            fill(layer, reader, f"model.layers.{index}.", device)
            _forwards(body, layer, index, states, len(batches))
            layer.to("meta")
        _through_head(checkpoint, reader, batches, loss, states, len(layers), device)
        for index in reversed(range(len(layers))):
            progress("scoring, backwards", len(layers) - 1 - index, len(layers), f"layer {index}")
            fill(layers[index], reader, f"model.layers.{index}.", device)
            find = partial(_parameter_of, layers[index], f"model.layers.{index}.")
            tallies = tallies_of(find, anatomy, scores, range(index, index + 1), settings, len(batches))
            _backwards(body, layers[index], index, states, tallies, len(batches))
            for tally in tallies:
                tally.add_to(scores, anatomy, settings.compat)
            layers[index].to("meta")
    return finished(scores, settings)


class _Given(nn.Module):
    """Stands for the embedding and all layers: gives back what they made of the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.states: torch.Tensor | None = None

    def forward(self, token_ids: torch.Tensor) -> torch.Tensor:
        """``[B, T, D]``, whatever the tokens are."""
        del token_ids
        assert self.states is not None  # noqa: S101 - set before the model is asked
        return self.states


@torch.no_grad()
def _forwards(body: Any, layer: nn.Module, index: int, states: HiddenStates, batch_count: int) -> None:  # noqa: ANN401 - a body of any class
    """The states of every batch after ``layer``, beside those before it."""
    device = next(layer.parameters()).device
    for place in range(batch_count):
        states.put(_name(index + 1, place), through(body, layer, states.get(_name(index, place)).to(device), None))


def _through_head(  # noqa: PLR0913, PLR0917 - one step of the walk
    checkpoint: Path,
    reader: CheckpointReader,
    batches: Sequence[TextsT],
    loss: Loss[TextsT],
    states: HiddenStates,
    layer_count: int,
    device: str,
) -> None:
    """The loss's gradient of the last states, in their stead."""
    model, final_norm = bare_model(checkpoint)
    body: Any = model.base_model
    given = _Given()
    body.layers, body.embed_tokens = nn.ModuleList(), given
    fill(body.get_submodule(final_norm), reader, f"model.{final_norm}.", device)
    head: nn.Module = model.get_submodule(HEAD)
    head.to_empty(device=device)
    for name, parameter in head.named_parameters():
        is_tied = name == "weight" and model.config.tie_word_embeddings
        fill_parameter(parameter, reader, EMBEDDING if is_tied else f"{HEAD}.{name}")
    for place, batch in enumerate(batches):
        before = states.get(_name(layer_count, place)).to(device).requires_grad_()
        given.states = before
        with torch.enable_grad():
            loss(model, batch).backward()  # type: ignore[no-untyped-call]
        states.put(_name(layer_count, place), _gradient(before))


def _backwards(  # noqa: PLR0913, PLR0917 - one step of the walk
    body: Any,  # noqa: ANN401 - a body of any class
    layer: nn.Module,
    index: int,
    states: HiddenStates,
    tallies: Sequence[Tally],
    batch_count: int,
) -> None:
    """The gradients of ``layer`` to its tallies, and that of the states before it in the stead of these states."""
    device = next(layer.parameters()).device
    for tally in tallies:
        tally.weight.requires_grad_()
    with taking(tallies):
        for place in range(batch_count):
            before = states.get(_name(index, place)).to(device).requires_grad_()
            with torch.enable_grad():
                after = through(body, layer, before, None)
                after.backward(states.get(_name(index + 1, place)).to(device))  # type: ignore[no-untyped-call]
            check_arrivals(tallies, place + 1)
            states.put(_name(index, place), _gradient(before))


def _gradient(states: torch.Tensor) -> torch.Tensor:
    if states.grad is None:
        raise ValueError("the loss must depend on the hidden states, found no gradient of them")
    return states.grad


def _parameter_of(layer: nn.Module, prefix: str, tensor: Tensor) -> nn.Parameter:
    return layer.get_parameter(tensor.name.removeprefix(prefix))


def _name(layer: int, place: int) -> str:
    """Of the states that go into ``layer``."""
    return f"{layer}-{place}"
