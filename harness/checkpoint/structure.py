"""The record of a shape that no stock class has: ``structure.json`` beside ``config.json``.

    {"format": 1, "model_type": "llama",
     "block":  {...}                                        how a layer is built, from the table of the architecture
     "biases": ["self_attn.q_proj", ...],                   linears that have a bias
     "fused":  {"self_attn.qkv_proj": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]},
     "layers": [{"intermediate": 384, "kv_group": 4, "head": 2, "ranks": {"self_attn.qkv_proj": 96}}, ...],
     "exits":  [1, 3], "vote": "max"}                       layers that vote on the next token; [] for the last

``config.json`` has what all layers share (hidden size, vocabulary, head size, rotation); here is what differs. A linear
with a rank ``r`` is stored as two: ``X.A.weight [out, r]`` (with the bias, ``X.A.bias``) and ``X.B.weight [r, in]``,
and computes ``A(B(x))``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from harness.document import Document
from harness.errors import CheckpointCorrupt

if TYPE_CHECKING:
    from pathlib import Path

STRUCTURE_NAME: Final = "structure.json"
MODELING_NAME: Final = "modeling_structured.py"
STRUCTURED_TYPE: Final = "edge_structured"
"""``model_type`` of a checkpoint with a structure; ``base_model_type`` has the architecture's."""
LAYER_STRUCTURE_AXES: Final = ("intermediate", "kv_group", "head")
"""Axes that each layer may have at a size of its own; fields of ``LayerStructure``."""
MAX_STRUCTURE_BYTES: Final = 4 << 20
MAX_LAYERS: Final = 4096
Vote = Literal["max", "mean"]
"""How exits agree on a next token: the largest probability, made to sum to 1, or the mean."""

ONE_EXIT: Final = "a package predicts by the last layer alone; make it of the checkpoint from before its exits voted"
"""Why a checkpoint with exits is not packaged."""


class Block(Document):
    """How one layer of an architecture is built; modules are named as its checkpoints name them."""

    norm: Literal["rms", "layer", "sphere"]
    """``sphere``: a part reads the hidden state as it is; its output goes on the unit sphere, and the hidden state
    moves towards it, dimension by dimension, and back onto the sphere (nGPT)."""
    norm_epsilon: str
    """Field of ``config.json`` that has it."""
    parallel: bool = False
    """Attention and MLP read the same norm and are added together (Phi)."""
    attention_norm: str
    """What the attention reads through; on the sphere, the module with the shares by which the hidden state moves
    towards the attention's output."""
    mlp_norm: str | None = None
    """The MLP's; None where the block is parallel."""
    query: str
    key: str
    value: str
    output: str
    query_norm: str | None = None
    """Norm over each query head's dimensions, before the rotation; None where there is none."""
    key_norm: str | None = None
    query_key_scale: str | None = None
    """On the sphere, where query and key heads are unit vectors after the rotation: what each dimension of a KV group's
    heads is multiplied with. None elsewhere."""
    gate: str | None = None
    """None where the MLP has no gate."""
    up: str
    down: str
    activation: str
    """Field of ``config.json`` that names it."""
    final_norm: str | None = None
    """Below ``model``; None on the sphere, where the hidden state is a unit vector already."""
    head_bias: bool = False
    """Whether ``lm_head`` has a bias."""

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        on_sphere = self.norm == "sphere"
        if on_sphere is not (self.final_norm is None) or on_sphere is not (self.query_key_scale is not None):
            raise ValueError("final_norm must be null and query_key_scale a name on the sphere, and only there")
        if on_sphere and (self.parallel or self.query_norm is not None or self.key_norm is not None):
            raise ValueError("a block on the sphere is sequential and has no query_norm or key_norm")
        return self


class LayerStructure(Document):
    """The shape of one layer."""

    intermediate: int = Field(gt=0)
    kv_group: int = Field(gt=0)
    """KV heads."""
    head: int = Field(gt=0)
    """Query heads of one KV group."""
    ranks: dict[str, int] = Field(default_factory=dict)
    """Factorised linears of this layer, by module name, with their rank."""


class Structure(Document):
    """Every shape of a model, beside what its ``config.json`` says."""

    format: Literal[1] = 1
    model_type: str
    """Of the architecture it was made from."""
    block: Block
    biases: tuple[str, ...] = ()
    fused: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Concatenated linears, the same in all layers: name to the parts, in the order of their rows."""
    layers: tuple[LayerStructure, ...] = Field(min_length=1, max_length=MAX_LAYERS)
    exits: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Layers whose outputs go through final norm and head too, ascending, the last layer among them: the prediction is
    the exits' vote. Empty: the last layer alone, and no vote."""
    vote: Vote = "max"

    @model_validator(mode="after")
    def _exits_ascend(self) -> Self:
        is_legal = not self.exits or (self.exits == tuple(sorted(set(self.exits))))
        if not is_legal or (self.exits and self.exits[-1] != len(self.layers) - 1):
            raise ValueError(f"exits must ascend and end with the last layer, {len(self.layers) - 1}")
        return self

    @model_validator(mode="after")
    def _parts_are_fused_once(self) -> Self:
        parts = [part for names in self.fused.values() for part in names]
        if len(parts) != len(set(parts)):
            raise ValueError("a linear is part of two fused ones")
        return self


def read_structure(folder: Path) -> Structure | None:
    """The structure of the checkpoint ``folder``; None where a stock class has its shape.

    Raises:
        CheckpointCorrupt: it is too large, or not what a structure is.
    """
    file = folder / STRUCTURE_NAME
    if not file.exists():
        return None
    if file.is_symlink() or not file.is_file():
        raise CheckpointCorrupt(f"{file}: must be a plain file, no link and no device")
    try:
        if file.stat().st_size > MAX_STRUCTURE_BYTES:
            raise CheckpointCorrupt(f"{file}: {file.stat().st_size} bytes, at most {MAX_STRUCTURE_BYTES} are read")
        return Structure.read(file)
    except (OSError, ValidationError) as error:
        raise CheckpointCorrupt(f"{file}: is no record of a structure: {error}") from error
