"""A model definition for mlc_llm where it has none of that shape: the "code for converting the model to MLC".

    config.json + structure.json ── description (JSON) ──> mlc_model.py.in with it in its place = mlc_model.py

The file registers the model with mlc_llm and then is mlc_llm's own command line. It was never run against mlc_llm; the
tests run its arithmetic on stand-ins written with torch and hold it against the checkpoint's logits.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from harness.checkpoint.structure import ONE_EXIT
from harness.deployment.mlc.settings import PLAIN_ROTATION, activation, flat_config
from harness.errors import UsageError
from harness.surgery.anatomy import load
from harness.surgery.plan import keep_all
from harness.surgery.shape import structure_after
from harness.surgery.table import broken_constraint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.checkpoint.structure import LayerStructure, Structure

DEFINITION_NAME: Final = "mlc_model.py"
TEMPLATE_NAME: Final = "mlc_model.py.in"
MARK: Final = "@DESCRIPTION@"
ROTATIONS: Final = (PLAIN_ROTATION, "llama3")
"""Kinds of rotation that MLC's cache computes."""


def definition_source(config: Mapping[str, Any]) -> str:
    """The Python source that makes mlc_llm know the model that ``config`` describes.

    Raises:
        UsageError: no definition of ours can have it: an activation or rotation that MLC lacks, a sliding window.
    """
    text = (resources.files("harness.deployment.mlc") / TEMPLATE_NAME).read_text(encoding="utf-8")
    return text.replace(MARK, json.dumps(describe(config), indent=1))


def describe(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the definition must know of the model, as JSON; raises as ``definition_source``."""
    anatomy, flat = load(config), flat_config(config)
    structure = anatomy.structure or structure_after(anatomy, keep_all(anatomy))
    _check(structure, flat)
    head_dim = anatomy.sizes["head_dim"]
    return {
        "model_type": structure.model_type,
        "vocab_size": flat["vocab_size"],
        "hidden_size": flat["hidden_size"],
        "head_dim": head_dim,
        "max_position_embeddings": flat["max_position_embeddings"],
        "tie_word_embeddings": bool(flat.get("tie_word_embeddings")),
        "rope_theta": flat["rope_theta"],
        "rope_scaling": flat["rope_scaling"],
        "rotary_dim": int(head_dim * flat["partial_rotary_factor"]),
        "norm_epsilon": flat[structure.block.norm_epsilon],
        "activation": activation(flat),
        "cache_kv_heads": max(layer.kv_group for layer in structure.layers),
        "cache_group": max(layer.head for layer in structure.layers),
        "block": structure.block.model_dump(mode="json"),
        "layers": [_layer(structure, layer, flat["hidden_size"], head_dim) for layer in structure.layers],
    }


def _check(structure: Structure, flat: Mapping[str, Any]) -> None:
    if structure.block.norm == "sphere":
        raise UsageError("structure.json: norm 'sphere' (nGPT): MLC definitions are generated for rms and layer norms")
    if structure.exits:
        raise UsageError(f"structure.json: exits {list(structure.exits)}: {ONE_EXIT}")
    kind = (flat["rope_scaling"] or {}).get("rope_type", PLAIN_ROTATION)
    if kind not in ROTATIONS:
        raise UsageError(f"config.json: rotation {kind!r}: MLC's cache computes {' and '.join(ROTATIONS)}")
    if activation(flat) is None:
        raise UsageError(f"config.json: hidden_act {flat.get('hidden_act')!r}: allowed silu, gelu, gelu_new, relu")
    broken = broken_constraint(load(flat).table.structured_constraints, flat)
    if broken is not None:
        raise UsageError(f"config.json of a {structure.model_type}: {broken.holds} does not hold: {broken.reason}")


def _layer(structure: Structure, layer: LayerStructure, hidden_size: int, head_dim: int) -> dict[str, Any]:
    return {
        "kv_group": layer.kv_group,
        "head": layer.head,
        "linears": _linears(structure, layer, hidden_size, head_dim),
    }


def _linears(structure: Structure, layer: LayerStructure, hidden_size: int, head_dim: int) -> list[dict[str, Any]]:
    """Every linear that is stored, with the ones of the architecture that it computes and their rows."""
    sizes = _sizes(structure, layer, hidden_size, head_dim)
    home = {part: (name, parts) for name, parts in structure.fused.items() for part in parts}
    stored = dict.fromkeys(home.get(part, (part, (part,))) for part in sizes)
    return [
        {
            "name": name,
            "parts": list(parts),
            "rows": [sizes[part][0] for part in parts],
            "inputs": sizes[parts[0]][1],
            "bias": name in structure.biases or all(part in structure.biases for part in parts),
            "rank": layer.ranks.get(name),
        }
        for name, parts in stored
    ]


def _sizes(structure: Structure, layer: LayerStructure, hidden_size: int, head_dim: int) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of each linear of the architecture."""
    block, kv_size = structure.block, layer.kv_group * head_dim
    inner = [name for name in (block.gate, block.up) if name is not None]
    return {
        block.query: (layer.head * kv_size, hidden_size),
        block.key: (kv_size, hidden_size),
        block.value: (kv_size, hidden_size),
        block.output: (hidden_size, layer.head * kv_size),
        **dict.fromkeys(inner, (layer.intermediate, hidden_size)),
        block.down: (hidden_size, layer.intermediate),
    }
