"""``config.json`` as MLC reads it: rotation in the fields of transformers 4, whatever generation wrote it.

    transformers 5    rope_parameters {rope_theta, rope_type, factor …, partial_rotary_factor}
    transformers 4    rope_theta, rope_scaling {rope_type, factor …}, partial_rotary_factor        <- what mlc_llm reads

mlc_llm overlooks ``rope_parameters`` without a word and turns Llama-3 by the base of Llama-2; so this is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from harness.errors import CheckpointCorrupt

if TYPE_CHECKING:
    from collections.abc import Mapping

PLAIN_ROTATION: Final = "default"
ROTATED_SHARE: Final = {"phi": 0.5}
"""Share of a head that an architecture rotates where its configuration is silent; of the others all of it."""
_ACTIVATIONS: Final = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "relu": "relu",
    "gelu_new": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
}
"""What transformers calls an activation, and the one that is meant."""


def flat_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of ``config`` with ``rope_theta``, ``rope_scaling`` and ``partial_rotary_factor`` beside the others.

    Raises:
        CheckpointCorrupt: what it says of the rotation is no object.
    """
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise CheckpointCorrupt(f"config.json: rope_parameters must be an object, found {rope!r:.100}")
    kind = rope.get("rope_type", rope.get("type", PLAIN_ROTATION))
    own = {"rope_theta", "partial_rotary_factor", "type", "rope_type"}
    scaling = {"rope_type": kind, **{name: value for name, value in rope.items() if name not in own}}
    share = ROTATED_SHARE.get(str(config.get("base_model_type") or config.get("model_type")), 1.0)
    fields = {name: value for name, value in config.items() if name != "rope_parameters"}
    return fields | {
        "rope_theta": rope.get("rope_theta", config.get("rope_theta")),
        "rope_scaling": None if kind == PLAIN_ROTATION else scaling,
        "partial_rotary_factor": rope.get("partial_rotary_factor", config.get("partial_rotary_factor")) or share,
    }


def conditions(flat: Mapping[str, Any]) -> dict[str, Any]:
    """``flat`` with names that the tables' arithmetic, which has no text, can ask for."""
    kind = (flat.get("rope_scaling") or {}).get("rope_type", PLAIN_ROTATION)
    return {
        **flat,
        **dict.fromkeys(set(_ACTIVATIONS.values()), False),
        str(activation(flat)): True,
        "plain_rotation": kind == PLAIN_ROTATION,
        "llama3_rotation": kind == "llama3",
        "whole_rotation": flat.get("partial_rotary_factor") == 1,
    }


def activation(flat: Mapping[str, Any]) -> str | None:
    """``silu``, ``gelu``, ``gelu_new`` or ``relu``; None for any other."""
    return _ACTIVATIONS.get(str(flat.get("hidden_act")))
