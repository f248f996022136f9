"""Packages of tiny checkpoints, stock and cut in every way."""

from __future__ import annotations

import pytest

from harness.checkpoint.checkpoint import read_config
from harness.deployment.mlc.export import export_package
from harness.deployment.mlc.options import MlcOptions
from harness.surgery.anatomy import load
from harness.surgery.apply import apply
from harness.surgery.plan import plan_of
from tests.surgery.plans import by_svd

SMALL_SHARDS = MlcOptions(max_shard_bytes=40_000)
"""Three or more shards of a tiny model, some with one tensor."""


def cut(source, out, name):
    """A structured checkpoint: layers of other widths and heads, some linears factorised, some fused."""
    anatomy = load(read_config(source))
    down = anatomy.table.block.down
    keep = {"intermediate": [range(0, 96, 2), range(80)]}
    fields = {}
    if name in {"heads", "everything"}:
        groups = anatomy.sizes["kv_group"]
        keep["kv_group"] = [range(groups - 1), range(groups)]
    if name in {"ranks", "everything"}:
        fields["ranks"] = {down: (24, None), "self_attn.q_proj": (None, 16)}
    if name == "fused":
        fields["fused"] = tuple(fusion.name for fusion in anatomy.table.fusions)
        fields["ranks"] = {"self_attn.qkv_proj": (20, None)}
    return apply(source, plan_of(anatomy, keep, **fields), out, factorise=by_svd)


@pytest.fixture
def packed(tmp_path, tiny_checkpoint):
    """A checkpoint of each architecture and its package in small shards: ``(checkpoint, package)``."""
    export_package(tiny_checkpoint, tmp_path / "package", SMALL_SHARDS)
    return tiny_checkpoint, tmp_path / "package"
