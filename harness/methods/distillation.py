r"""A student learns a teacher's distribution of the next token, and the logits of a batch are never held at once.

    hidden [n, h] ──chunk of rows──> logits [c, V] ──> loss, its gradient ──> gradient of hidden states and head
                                       ^ let go before the next chunk is made

Both passes happen in one: the gradient of each chunk's logits is known in closed form as soon as the logits are, so
only ``c`` rows of the vocabulary stand in memory (Hinton et al., arXiv 1503.02531, for the loss). The teacher is asked
there and then (``Live``), or was asked once and remembered as its top k (``harness.methods.teacher_cache``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import nn
from torch.nn import functional

from harness.methods.batches import IGNORE_INDEX
from harness.methods.divergence import DistillationSettings, TopK, token_losses

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

    from harness.methods.batches import Batch


class Features(NamedTuple):
    """What a model says before its vocabulary."""

    hidden: torch.Tensor
    """``[B, T, h]``, after the final norm."""
    weight: torch.Tensor
    """``[V, h]`` of the head."""
    bias: torch.Tensor | None
    """``[V]`` of the head."""
    penalty: torch.Tensor | None = None
    """A scalar that is added to the loss; None for nothing."""


class ChunkTarget(Protocol):
    """The teacher's word on some rows."""

    def rows(self, place: slice) -> torch.Tensor | TopK | None:
        """Logits ``[c, V]`` at temperature 1, or what was remembered, of the rows at ``place``.

        None where there is no teacher.
        """


class Targets(Protocol):
    """Where a batch's targets come from."""

    def of(self, batch: Batch, counted: torch.Tensor) -> ChunkTarget:
        """The targets of ``batch`` at the places ``counted``, bool ``[B, T - 1]``, row by row."""


class FeatureModel(nn.Module):
    """A causal language model up to its head."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, token_ids: torch.Tensor, *, step: int = 0) -> Features:
        """Features of ``token_ids [B, T]``; ``step`` changes nothing here."""
        del step
        hidden = self.model.base_model(input_ids=token_ids, use_cache=False).last_hidden_state
        head: Any = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        return Features(hidden, head.weight, getattr(head, "bias", None))


class Distilled(nn.Module):
    """A student with its loss inside, so that whatever spreads a model over processes sees one forward pass."""

    def __init__(self, student: nn.Module, targets: Targets, settings: DistillationSettings) -> None:
        """Wrap a module whose forward pass gives ``Features``."""
        super().__init__()
        self.student = student
        self._targets, self._settings = targets, settings

    def forward(self, batch: Batch) -> torch.Tensor:
        """The mean loss over the places of ``batch`` whose label, one place on, counts; and the student's penalty."""
        counted = batch.labels[:, 1:] != IGNORE_INDEX
        features: Features = self.student(batch.token_ids, step=batch.step)
        loss = chunked_loss(
            features,
            counted,
            batch.labels[:, 1:][counted],
            self._targets.of(batch, counted),
            self._settings,
        )
        return loss if features.penalty is None else loss + features.penalty


def distillation_loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    """The loss of ``harness.methods.training.train`` for a ``Distilled`` model."""
    loss: torch.Tensor = model(batch)
    return loss


class NoTeacher:
    """Targets of a training on the text alone, ``kl`` 0: the same loss by chunks, and nobody is asked."""

    def of(self, batch: Batch, counted: torch.Tensor) -> ChunkTarget:
        """See ``Targets``."""
        del batch, counted
        return self

    def rows(self, place: slice) -> None:
        """See ``ChunkTarget``."""
        del place


class LiveTeacher:
    """A teacher that is asked in every step."""

    def __init__(self, teacher: PreTrainedModel) -> None:
        """Ask ``teacher``, frozen, on the student's device."""
        self._features = FeatureModel(teacher).eval().requires_grad_(requires_grad=False)

    @torch.no_grad()
    def of(self, batch: Batch, counted: torch.Tensor) -> ChunkTarget:
        """See ``Targets``: only hidden states are kept, logits are made chunk by chunk."""
        features: Features = self._features(batch.token_ids)
        return _LiveRows(features.hidden[:, :-1][counted], features.weight, features.bias)


@dataclass(frozen=True, slots=True)
class _LiveRows:
    hidden: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None

    def rows(self, place: slice) -> torch.Tensor:
        return functional.linear(self.hidden[place], self.weight, self.bias)


def chunked_loss(
    features: Features,
    counted: torch.Tensor,
    labels: torch.Tensor,
    target: ChunkTarget,
    settings: DistillationSettings,
) -> torch.Tensor:
    """The mean loss, and gradients for hidden states and head.

    Args:
        features: Of the student; hidden states ``[B, T, h]``.
        counted: bool ``[B, T - 1]``, the places whose next token counts.
        labels: int64 ``[n]``, the next tokens of the counted places, row by row.
        target: The teacher's word on the same ``n`` places.
        settings: Weights, temperature, size of a chunk.
    """
    hidden = features.hidden[:, :-1][counted]
    loss: torch.Tensor = _Chunked.apply(hidden, features.weight, features.bias, labels, target, settings)  # type: ignore[no-untyped-call]
    return loss


class _Chunked(torch.autograd.Function):
    """Loss and gradients chunk by chunk; the backward pass only scales what the forward pass found."""

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917 - what autograd hands over
        ctx: Any,  # noqa: ANN401 - autograd's own
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        labels: torch.Tensor,
        target: ChunkTarget,
        settings: DistillationSettings,
    ) -> torch.Tensor:
        sums = _Sums.like(hidden, weight, bias)
        rows = max(1, settings.chunk_logits // weight.shape[0])
        for start in range(0, len(hidden), rows):
            place = slice(start, start + rows)
            logits = functional.linear(hidden[place], weight, bias).float()
            loss, gradient = token_losses(logits, target.rows(place), labels[place], settings)
            sums.add(place, loss, gradient, hidden, weight)
        count = max(1, len(hidden))
        ctx.save_for_backward(*(each for each in (sums.hidden, sums.weight, sums.bias) if each is not None))
        ctx.count = count
        return sums.loss / count

    @staticmethod
    def backward(ctx: Any, scale: torch.Tensor) -> tuple[Any, ...]:  # noqa: ANN401 - likewise
        gradients = [each * (scale / ctx.count).to(each.dtype) for each in ctx.saved_tensors]
        hidden, weight, bias = (*gradients, None)[:3]
        return hidden, weight, bias, None, None, None


@dataclass(slots=True)
class _Sums:
    """What adds up over chunks."""

    loss: torch.Tensor
    hidden: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None

    @classmethod
    def like(cls, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> _Sums:
        return cls(
            torch.zeros((), device=hidden.device),
            torch.empty_like(hidden),
            torch.zeros_like(weight),
            None if bias is None else torch.zeros_like(bias),
        )

    def add(
        self, place: slice, loss: torch.Tensor, gradient: torch.Tensor, hidden: torch.Tensor, weight: torch.Tensor
    ) -> None:
        """Take the losses ``[c]`` and the gradient ``[c, V]`` of one chunk's logits."""
        self.loss += loss.sum()
        if self.bias is not None:
            self.bias += gradient.sum(0)
        low = gradient.to(_compute_dtype(hidden))
        self.hidden[place] = functional.linear(low, weight.to(low.dtype).T)
        if self.weight.dtype == low.dtype:
            self.weight.addmm_(low.T, hidden[place].to(low.dtype))
        else:
            self.weight += low.T @ hidden[place].to(low.dtype)


def _compute_dtype(hidden: torch.Tensor) -> torch.dtype:
    """The dtype of matrix products: autocast's, where it is on."""
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype


def counted_rows(batch_rows: NDArray[Any], counted: torch.Tensor) -> torch.Tensor:
    """``batch_rows [B, T - 1, ...]`` at the places ``counted``, on their device."""
    return torch.from_numpy(batch_rows).to(counted.device)[counted]
