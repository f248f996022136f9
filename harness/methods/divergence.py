"""The loss of a few rows of logits, and its gradient in closed form; the teacher's word whole, or as its top k.

loss = kl * T^2 * KL(p_T || q_T) + ce * CE(label, q)      p teacher, q student, T temperature (arXiv 1503.02531)
gradient by the student's logits: kl * T * (q_T - p_T) + ce * (q - label)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn import functional

CHUNK_LOGITS = 1 << 22
"""Logits that stand in memory at once: 16 MiB of FP32, a few times over."""


class TopK(NamedTuple):
    """A teacher's distribution over the next token, as its ``k`` likeliest tokens and all others as one."""

    ids: torch.Tensor
    """``[n, k]``, int64."""
    probabilities: torch.Tensor
    """``[n, k]``, float32; with the tail they add up to 1."""
    tail: torch.Tensor
    """``[n]``: the probability of all other tokens together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillationSettings:
    """The loss."""

    kl: float = 1.0
    """Weight of the divergence from the teacher."""
    ce: float = 0.0
    """Weight of the cross-entropy with the text itself."""
    temperature: float = 1.0
    """Softens both distributions of the divergence; its gradients keep their size."""
    chunk_logits: int = CHUNK_LOGITS
    """Logits at once."""


@torch.no_grad()
def token_losses(
    logits: torch.Tensor, target: torch.Tensor | TopK | None, labels: torch.Tensor, settings: DistillationSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of every row and its gradient by the logits.

    Args:
        logits: float32 ``[c, V]`` of the student; may be overwritten.
        target: The teacher's logits ``[c, V]``, or its top k at the settings' temperature; not looked at where ``kl``
            is 0.
        labels: int64 ``[c]``.
        settings: Weights and temperature.

    Returns:
        Losses ``[c]`` and gradients ``[c, V]``.

    Raises:
        ValueError: no target, and a divergence from it is asked for.
    """
    if target is None and settings.kl:
        raise ValueError("a divergence needs a teacher; set kl to 0 to learn from the text alone")
    if target is None or not settings.kl:
        return _cross_entropy(logits, labels, settings)
    warm = settings.temperature
    if isinstance(target, TopK):
        loss, gradient = _top_k_divergence(logits / warm if settings.ce or warm != 1.0 else logits, target)
    else:
        loss, gradient = _divergence(logits / warm, target.float() / warm)
    # d(T^2 KL)/d logits = T^2 * (q - p) / T.
    loss, gradient = loss.mul_(settings.kl * warm * warm), gradient.mul_(settings.kl * warm)
    if settings.ce:
        told, wrong = _cross_entropy(logits, labels, settings)
        loss, gradient = loss.add_(told), gradient.add_(wrong)
    return loss, gradient


def _cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, settings: DistillationSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """``ce`` times the loss against the text, and ``ce * (q - label)``."""
    log_q = functional.log_softmax(logits, dim=-1)
    loss = log_q.gather(1, labels[:, None])[:, 0].mul_(-settings.ce)
    wrong = log_q.exp_()
    wrong[torch.arange(len(labels), device=labels.device), labels] -= 1
    return loss, wrong.mul_(settings.ce) if settings.ce != 1.0 else wrong


def _divergence(logits: torch.Tensor, teacher: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """KL(p || q) and q - p; exactly zero, both, where the logits are the same."""
    log_q, log_p = functional.log_softmax(logits, dim=-1), functional.log_softmax(teacher, dim=-1)
    p = log_p.exp()
    loss = (p * log_p.sub_(log_q)).sum(-1)
    return loss, log_q.exp_().sub_(p)


def _top_k_divergence(logits: torch.Tensor, target: TopK) -> tuple[torch.Tensor, torch.Tensor]:
    """KL of the two distributions over k tokens and the tail, and its gradient; overwrites ``logits``.

    For a tail token the gradient is ``q_j (1 - p_tail / q_tail)``: the student's own shape within the tail is left as
    it is, only its mass moves.
    """
    smallest = torch.finfo(torch.float32).tiny
    q = logits.sub_(logits.logsumexp(-1, keepdim=True))
    log_q = q.gather(1, target.ids)
    q.exp_().scatter_(1, target.ids, 0.0)
    q_tail = q.sum(-1).clamp_(min=smallest)
    p, tail = target.probabilities, target.tail
    loss = (torch.xlogy(p, p) - p * log_q).sum(-1)
    loss += torch.xlogy(tail, tail) - tail * q_tail.log()
    q.mul_((1 - tail / q_tail)[:, None])
    q.scatter_(1, target.ids, log_q.exp_().sub_(p))
    return loss, q


def top_k_of(logits: torch.Tensor, k: int, *, temperature: float = 1.0) -> TopK:
    """The ``k`` likeliest tokens of every row of ``logits [n, V]``, with the mass of all others."""
    log_p = functional.log_softmax(logits.float() / temperature, dim=-1)
    values, ids = log_p.topk(min(k, logits.shape[-1]), dim=-1)
    tail = log_p.scatter(1, ids, -torch.inf).logsumexp(-1).exp()
    return TopK(ids, values.exp(), tail)


@torch.no_grad()
def top_k_bound(logits: torch.Tensor, target: TopK) -> torch.Tensor:
    """How far the divergence of all tokens may lie above that of the top k and the tail, for every row.

    The difference is ``p_tail * KL(p within the tail || q within the tail)``, never negative, and at most

        p_tail * (min(0, log(p_k / p_tail)) - min over the tail of log(q_j / q_tail))

    because no tail token is likelier than the k-th. Rounding of what was remembered comes on top.

    Args:
        logits: float32 ``[n, V]`` of the student, over the temperature.
        target: The teacher's top k.

    Returns:
        ``[n]``, nats.
    """
    log_q = functional.log_softmax(logits, dim=-1)
    inside = log_q.scatter(1, target.ids, -torch.inf)
    lowest = log_q.scatter(1, target.ids, torch.inf).amin(-1)
    log_tail = target.tail.clamp(min=torch.finfo(torch.float32).tiny).log()
    least = target.probabilities.amin(-1).clamp(min=torch.finfo(torch.float32).tiny).log()
    bound = target.tail * ((least - log_tail).clamp(max=0) + inside.logsumexp(-1) - lowest)
    return torch.where(target.tail > 0, bound, torch.zeros_like(bound))
