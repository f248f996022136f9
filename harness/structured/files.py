"""The files of a structured checkpoint beside its weights, written and recognised without torch.

config.json              what the layers share, model_type edge_structured, auto_map to the modeling file
structure.json           the shape of every layer
modeling_structured.py   our modeling file, byte for byte, so that a stranger's transformers can load the folder
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from harness.checkpoint.checkpoint import read_config
from harness.checkpoint.structure import MODELING_NAME, STRUCTURE_NAME, STRUCTURED_TYPE, Structure
from harness.document import write_atomically
from harness.errors import CheckpointCorrupt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONFIG_NAME: Final = "config.json"
ARCHITECTURE: Final = "StructuredForCausalLM"
AUTO_MAP: Final = {
    "AutoConfig": "modeling_structured.StructuredConfig",
    "AutoModelForCausalLM": f"modeling_structured.{ARCHITECTURE}",
}
EMBEDDED_FIELD: Final = "structure"
"""Where ``save_pretrained`` puts the structure; in a checkpoint of ours it has a file of its own."""


def modeling_bytes() -> bytes:
    """The modeling file, the same for all structured checkpoints."""
    return (resources.files("harness.structured") / MODELING_NAME).read_bytes()


@cache
def modeling_digest() -> str:
    """SHA-256 of the modeling file, as hexadecimal."""
    return hashlib.sha256(modeling_bytes()).hexdigest()


def is_ours(folder: Path) -> bool:
    """Whether the modeling file of ``folder`` is exactly ours, so that running it runs nothing else."""
    file, ours = folder / MODELING_NAME, modeling_bytes()
    if not file.is_file() or file.stat().st_size != len(ours):
        return False
    return hashlib.sha256(file.read_bytes()).hexdigest() == modeling_digest()


def is_structured(folder: Path) -> bool:
    """Whether ``config.json`` says that the checkpoint has a structure; False also where it cannot be read."""
    try:
        return bool(read_config(folder).get("model_type") == STRUCTURED_TYPE)
    except CheckpointCorrupt:
        return False


def config_fields(config: Mapping[str, Any], structure: Structure) -> dict[str, Any]:
    """The fields of ``config.json`` for ``structure``, from those of the architecture in ``config``.

    Fields that each layer has a value of get the largest. ``config`` must be complete: what it leaves to the defaults
    of the architecture's own class is not known here, except the head size.
    """
    layers = structure.layers
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    kept = {name: value for name, value in config.items() if name not in {EMBEDDED_FIELD, "layer_types"}}
    return kept | {
        "model_type": STRUCTURED_TYPE,
        "base_model_type": structure.model_type,
        "architectures": [ARCHITECTURE],
        "auto_map": dict(AUTO_MAP),
        "head_dim": head_dim,
        "num_hidden_layers": len(layers),
        "intermediate_size": max(layer.intermediate for layer in layers),
        "num_key_value_heads": max(layer.kv_group for layer in layers),
        "num_attention_heads": max(layer.kv_group * layer.head for layer in layers),
    }


def config_bytes(fields: Mapping[str, Any]) -> bytes:
    """``config.json`` as transformers writes it: sorted, indented by two."""
    return (json.dumps(fields, indent=2, sort_keys=True) + "\n").encode()


def write_beside(folder: Path, structure: Structure) -> None:
    """Write ``structure.json`` and the modeling file into ``folder``."""
    structure.write(folder / STRUCTURE_NAME)
    write_atomically(folder / MODELING_NAME, modeling_bytes())


def complete(folder: Path) -> None:
    """Make what ``save_pretrained`` wrote a structured checkpoint: the structure moves into a file of its own.

    Raises:
        CheckpointCorrupt: ``config.json`` has no structure in it.
    """
    config = read_config(folder)
    try:
        structure = Structure.model_validate(config.pop(EMBEDDED_FIELD, None))
    except ValidationError as error:
        raise CheckpointCorrupt(f"{folder / CONFIG_NAME}: its field structure is no structure: {error}") from error
    write_beside(folder, structure)
    write_atomically(folder / CONFIG_NAME, config_bytes(config_fields(config, structure)))
