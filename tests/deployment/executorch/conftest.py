"""Tiny checkpoints, dense and cut, and their packages: each is exported once, since lowering takes seconds."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from harness.checkpoint.checkpoint import read_described_config
from harness.deployment.executorch.export import export_package
from harness.deployment.executorch.options import ExecutorchOptions
from harness.surgery.anatomy import load
from harness.surgery.apply import apply
from harness.surgery.plan import plan_of
from harness.testing.tiny import tiny_config, write_tiny_checkpoint
from tests.surgery.plans import by_svd

CONTEXT_TOKENS = 120
CHUNK = 16

CUTS = {
    "dense": ({}, (), {}),
    "uniform and vocabulary": ({"intermediate": [range(80)] * 2, "vocab": [range(261)]}, (), {}),
    "per layer": ({"intermediate": [range(96), range(10, 70)], "kv_group": [range(1), range(2)]}, (), {}),
    "per layer, factorised and fused": (
        {"intermediate": [range(90), range(40)], "kv_group": [range(2), range(1, 2)]},
        ("self_attn.qkv_proj",),
        {"mlp.down_proj": (24, None), "self_attn.qkv_proj": (None, 16), "self_attn.o_proj": (8, 12)},
    ),
    "dropped layer, factorised": ({"layer": [range(1, 2)]}, (), {"mlp.fc1": (20, 20), "self_attn.dense": (None, 9)}),
}
"""Name to what stays of each axis, what is fused, and ranks."""


def write_cut(architecture, cut, folder):
    """A tiny checkpoint of ``architecture`` after ``cut``."""
    dense = write_tiny_checkpoint(architecture, folder / "dense")
    if "vocabulary" in cut:
        write_padded_model(architecture, dense)
    keep, fused, ranks = CUTS[cut]
    plan = plan_of(
        load(read_described_config(dense)),
        {axis: [list(units) for units in entries] for axis, entries in keep.items()},
        fused=fused,
        ranks=ranks,
    )
    return dense if cut == "dense" else apply(dense, plan, folder / "cut", factorise=by_svd)


def write_padded_model(architecture, folder):
    """The same model with rows of the vocabulary that no token has, as published models have them."""
    config = tiny_config(architecture)
    config.vocab_size = 320
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).half().save_pretrained(folder)


def options(**chosen):
    return ExecutorchOptions(**({"context_tokens": CONTEXT_TOKENS, "prefill_chunk": CHUNK} | chosen))


@pytest.fixture(scope="session")
def checkpoint_of(tmp_path_factory):
    """The tiny checkpoint of an architecture after a cut."""
    made = {}

    def get(architecture, cut="dense"):
        if (architecture, cut) not in made:
            made[architecture, cut] = write_cut(architecture, cut, tmp_path_factory.mktemp(architecture))
        return made[architecture, cut]

    return get


@pytest.fixture(scope="session")
def package_of(checkpoint_of, tmp_path_factory):
    """The package of a tiny checkpoint in a dtype."""
    pytest.importorskip("executorch")
    made = {}

    def get(architecture, cut="dense", dtype="float16"):
        key = architecture, cut, dtype
        if key not in made:
            made[key] = tmp_path_factory.mktemp("package") / "package"
            export_package(checkpoint_of(architecture, cut), made[key], options(dtype=dtype))
        return made[key]

    return get
