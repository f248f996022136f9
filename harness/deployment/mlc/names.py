"""Which tensor of an MLC package is made of which tensors of the checkpoint.

    stock    self_attn.qkv_proj.weight = rows of q_proj, k_proj, v_proj      by the table of the architecture
    custom   self_attn.q_proj.A.weight = self_attn.q_proj.A.weight           the checkpoint's own names, one to one

Custom is what no model of MLC can express: widths per layer, factorised linears, heads that do not make up the hidden
size. Such a package needs the definition that ``definition`` writes.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from harness.checkpoint.structure import STRUCTURED_TYPE
from harness.deployment.mlc.settings import conditions, flat_config
from harness.document import Document
from harness.errors import CheckpointCorrupt
from harness.surgery.anatomy import load
from harness.surgery.expression import evaluate
from harness.surgery.table import ConstraintTable, table_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.checkpoint.shards import Layout
    from harness.surgery.anatomy import Anatomy

SHOWN_NAMES = 5


class MlcTable(Document):
    """One architecture of MLC, as its file has it."""

    model_type: str
    names: dict[str, tuple[str, ...]]
    """Module of the package to the modules of the checkpoint whose rows it has; ``{layer}`` is the layer's number."""
    fields: dict[str, str]
    """Keys of ``model_config`` as expressions of a flat configuration."""
    constraints: tuple[ConstraintTable, ...]
    """What MLC's model asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MlcTensor:
    """One tensor of a package."""

    name: str
    sources: tuple[str, ...]
    """Tensors of the checkpoint; their rows stand one after the other."""
    shape: tuple[int, ...]
    """As MLC's plain layout has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """The tensors of a package, and the model of MLC that has them."""

    model_type: str
    """As MLC registers it; ``edge_structured`` where a definition of our own is needed."""
    custom: tuple[str, ...]
    """Why no model of MLC's own has this shape; empty where one has."""
    tensors: tuple[MlcTensor, ...]


def mlc_types() -> tuple[str, ...]:
    """The architectures whose names in MLC are known, sorted."""
    folder = resources.files("harness.deployment.mlc") / "tables"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


@cache
def mlc_table(model_type: str) -> MlcTable:
    """The table of ``model_type``, one of ``mlc_types``."""
    file = resources.files("harness.deployment.mlc") / "tables" / f"{model_type}.toml"
    return MlcTable.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))


def naming(config: Mapping[str, Any], layout: Layout) -> Naming:
    """How the checkpoint with ``config`` and ``layout`` is called in MLC.

    Args:
        config: as ``Checkpoint.config`` gives it, the structure within.
        layout: the headers of its shards.

    Raises:
        UsageError: there is no anatomy for its architecture.
        CheckpointCorrupt: its tensors are not those of its configuration.
    """
    anatomy = load(config)
    stored = _stored(anatomy, layout)
    custom = why_custom(config)
    if custom:
        tensors = tuple(MlcTensor(name=name, sources=(name,), shape=shape) for name, shape in stored.items())
        return Naming(model_type=STRUCTURED_TYPE, custom=custom, tensors=tensors)
    table = mlc_table(anatomy.table.model_type)
    return Naming(model_type=table.model_type, custom=(), tensors=_stock(table, stored, anatomy))


def why_custom(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Why MLC has no model of this shape; empty where it has.

    Raises:
        UsageError: there is no anatomy for ``config``.
    """
    model_type = table_of(config).model_type
    if model_type not in mlc_types():
        return (f"what MLC calls the tensors of a {model_type} is not known here",)
    if "structure" in config:
        return ("its layers have shapes of their own, and a model of MLC has one width and one head count for all",)
    known = conditions(flat_config(config))
    return tuple(item.reason for item in mlc_table(model_type).constraints if not evaluate(item.holds, known))


def _stored(anatomy: Anatomy, layout: Layout) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor, in the order of the anatomy, held against what is stored.

    An output embedding that is stored although the configuration ties it is left out, as MLC leaves it out.
    """
    asked = {name: tensor.shape(anatomy.sizes_in(tensor.layer)) for name, tensor in anatomy.tensors.items()}
    found = {entry.name: entry.shape for entry in layout.tensors}
    if anatomy.config.get("tie_word_embeddings"):
        found.pop("lm_head.weight", None)
    wrong = sorted(name for name in asked.keys() | found.keys() if asked.get(name) != found.get(name))
    if wrong:
        shown = ", ".join(f"{name} {asked.get(name)} -> {found.get(name)}" for name in wrong[:SHOWN_NAMES])
        raise CheckpointCorrupt(f"{layout.path}: {len(wrong)} tensors are not as config.json asks: {shown}")
    return asked


def _stock(table: MlcTable, stored: Mapping[str, tuple[int, ...]], anatomy: Anatomy) -> tuple[MlcTensor, ...]:
    home = {part: (name, parts) for name, parts in table.names.items() for part in parts}
    tensors: list[MlcTensor] = []
    for name in stored:
        layer = anatomy.tensors[name].layer
        module, _, leaf = name.rpartition(".")
        mark = module if layer is None else module.replace(f".layers.{layer}.", ".layers.{layer}.")
        target, parts = home.get(mark, (mark, (mark,)))
        if mark != parts[0]:
            continue  # its rows stand behind those of the first part
        sources = tuple(f"{part.replace('{layer}', str(layer))}.{leaf}" for part in parts)
        rows = sum(stored[source][0] for source in sources)
        named = f"{target.replace('{layer}', str(layer))}.{leaf}"
        tensors.append(MlcTensor(name=named, sources=sources, shape=(rows, *stored[name][1:])))
    return tuple(tensors)
