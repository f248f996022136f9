"""Attention of many queries at once, and of one query a row over a shared part and an own part.

    one query a row   weights = softmax([q . shared keys | q . own keys])
                      out = weights . [shared values | own values]

The shared products of all rows are one multiplication per KV head, so its keys are read once a step, not once a row.
Dimensions: B rows, T queries of a row, K KV heads, G query heads of each, d head size, P shared and S own columns.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def attend_once(
    queries: Tensor,
    own: tuple[Tensor, Tensor],
    shared: tuple[Tensor, Tensor] | None,
    hidden: Tensor | None,
    scaling: float,
) -> Tensor:
    """What the one query of every row takes from the values.

    Args:
        queries: ``[B, 1, K, G, d]``.
        own: Keys and values ``[K, B, S, d]``, any strides between columns and before.
        shared: Keys and values ``[K, P, d]``, or None.
        hidden: Own columns that are none of the row's, ``[B, S]``, bool; None: there are none.
        scaling: Of the products.

    Returns:
        ``[B, 1, K * G * d]``.
    """
    rows, _, heads, group, size = queries.shape
    # Scaled before the product, which may not fit FP16 otherwise.
    asked = (queries[:, 0].transpose(0, 1) * scaling).contiguous()  # [K, B, G, d]
    products = torch.matmul(asked, own[0].transpose(2, 3))  # [K, B, G, S]
    if hidden is not None:
        products.masked_fill_(hidden[:, None], -torch.inf)
    if shared is None:
        taken = torch.matmul(_weights(products), own[1])
    else:
        common = torch.matmul(asked.view(heads, rows * group, size), shared[0].transpose(1, 2))
        shared_width = common.shape[-1]
        joint = torch.cat([common.view(heads, rows, group, shared_width), products], dim=-1)
        weights = _weights(joint)
        of_shared = weights[..., :shared_width].reshape(heads, rows * group, shared_width)
        taken = torch.matmul(weights[..., shared_width:], own[1])
        taken += torch.matmul(of_shared, shared[1]).view_as(taken)
    return taken.transpose(0, 1).reshape(rows, 1, heads * group * size)


def attend(queries: Tensor, keys: Tensor, values: Tensor, seen: Tensor | None, scaling: float) -> Tensor:
    """What every query takes from the values; the products are never held.

    Args:
        queries: ``[B, T, K, G, d]``, of the last tokens of ``keys``.
        keys: ``[K, B, S, d]``.
        values: As ``keys``.
        seen: ``[B, T, S]``, bool; None: all that is not later, which needs ``T`` of ``S`` or of 1.
        scaling: Of the products.

    Returns:
        ``[B, T, K * G * d]``.
    """
    rows, count, heads, group, size = queries.shape
    asked = queries.reshape(rows, count, heads * group, size).transpose(1, 2)
    taken = functional.scaled_dot_product_attention(
        asked,
        keys.transpose(0, 1).repeat_interleave(group, dim=1),
        values.transpose(0, 1).repeat_interleave(group, dim=1),
        attn_mask=None if seen is None else seen[:, None],
        is_causal=seen is None and count > 1,
        scale=scaling,
    )
    return taken.transpose(1, 2).reshape(rows, count, -1)


def _weights(products: Tensor) -> Tensor:
    return functional.softmax(products, dim=-1, dtype=torch.float32).to(products.dtype)
