"""Tiny models in FP64 with biases that are not zero, batches with padding, and slow scorers to compare with."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, LlamaConfig, PhiConfig, Qwen2Config

from harness.methods import models
from harness.methods.taylor import TaylorSettings, taylor
from harness.surgery.anatomy import Anatomy, load
from harness.surgery.apply import apply
from harness.surgery.plan import plan_of

KINDS = {"llama": LlamaConfig, "qwen2": Qwen2Config, "phi": PhiConfig}
CASES = ("llama", "qwen2", "phi")
AXES = ("intermediate", "kv_group", "head")
ORDERS = ("first", "vectorized", "unit", "second", "mixed")
VOCABULARY = 40
WAYS_OUT = ("o_proj", "dense", "down_proj", "fc2")


class Tiny(NamedTuple):
    """A model and its anatomy."""

    model: torch.nn.Module
    anatomy: Anatomy


def make_tiny(case, *, layers=2):
    """Two KV groups of three heads (Phi: three KV groups of two), 10 channels."""
    config = KINDS[case](
        vocab_size=VOCABULARY,
        hidden_size=24,
        intermediate_size=10,
        num_hidden_layers=layers,
        num_attention_heads=6,
        num_key_value_heads=3 if case == "phi" else 2,
        max_position_embeddings=32,
        initializer_range=0.3,
        tie_word_embeddings=False,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float64, attn_implementation="sdpa")
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.data.normal_(std=0.2)
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = partial(exact_norm, module)
    return Tiny(model.eval(), load(config.to_dict()))


def exact_norm(module, hidden):
    """As RMSNorm, which transformers computes in FP32: too coarse for finite differences."""
    return module.weight * hidden * torch.rsqrt(hidden.square().mean(-1, keepdim=True) + module.variance_epsilon)


def make_batches(count=3, *, texts=2, tokens=7, seed=0):
    """Token ids ``[texts, tokens]``, ``count`` times."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(1, VOCABULARY, (texts, tokens), generator=generator) for _ in range(count)]


def next_token_loss(model, token_ids):
    """Mean over all predicted tokens, in the model's own precision."""
    logits = model(input_ids=token_ids, use_cache=False).logits[:, :-1]
    return functional.cross_entropy(logits.flatten(0, 1), token_ids[:, 1:].flatten())


def mean_loss(model, batches):
    """Mean of the batches' losses, a number."""
    with torch.no_grad():
        return sum(float(next_token_loss(model, batch)) for batch in batches) / len(batches)


def unit_slices(anatomy, axis, layer):
    """By unit of ``axis``, every part of a parameter that goes with it: (name, index), written down by hand."""
    sizes = anatomy.sizes_in(layer)
    groups, heads, size = sizes["kv_group"], sizes["head"], sizes["head_dim"]

    def rows(unit, module):
        if axis == "intermediate":
            return [unit]
        if axis == "kv_group":
            width = heads * size if module in {"q_proj", "o_proj", "dense"} else size
            return list(range(unit * width, (unit + 1) * width))
        return [(group * heads + unit) * size + place for group in range(groups) for place in range(size)]

    inward = {
        "intermediate": ("gate_proj", "up_proj", "fc1"),
        "kv_group": ("q_proj", "k_proj", "v_proj"),
        "head": ("q_proj",),
    }[axis]
    outward = {"intermediate": ("down_proj", "fc2")}.get(axis, ("o_proj", "dense"))
    found = []
    for unit in range(sizes[axis]):
        parts = []
        for name in (name for name in anatomy.tensors if f".layers.{layer}." in name):
            module, leaf = name.split(".")[-2:]
            if module in inward:
                parts.append((name, rows(unit, module)))
            elif module in outward and leaf == "weight":
                parts.append((name, (slice(None), rows(unit, module))))
        found.append(parts)
    return found


def set_unit(tiny, axis, layer, unit, value, *, only=None):
    """Multiply all that goes with a unit by ``value``; ``only`` names the modules to touch."""
    parameters = dict(tiny.model.named_parameters())
    with torch.no_grad():
        for name, index in unit_slices(tiny.anatomy, axis, layer)[unit]:
            if only is None or any(f".{module}." in name for module in only):
                parameters[name][index] *= value


def structured(tiny, folder):
    """The same function, its linears fused where the architecture can and one of them factorised at full rank."""
    fused = tuple(fusion.name for fusion in tiny.anatomy.table.fusions)
    tiny.model.save_pretrained(folder / "plain")
    down = tiny.anatomy.table.block.down
    plan = plan_of(tiny.anatomy, {}, fused=fused, ranks={down: (10, None)})

    def whole(module, weight, rank):
        return weight.astype(np.float32), np.eye(rank, dtype=np.float32)

    made = models.load(apply(folder / "plain", plan, folder / "made", factorise=whole), dtype=torch.float64)
    return Tiny(made, load(made.config.to_dict()))


def taylor_scores(tiny, axes=AXES, batches=None, loss=next_token_loss, **fields):
    """Taylor scores with these settings, of three batches unless others are given."""
    chosen = TaylorSettings(**fields)
    return taylor(tiny.model, tiny.anatomy, axes, batches or make_batches(), loss, settings=chosen)
