"""The table of an architecture (``harness/surgery/tables/<model_type>.toml``): tensors, axes, how a layer is built.

Adding an architecture is adding a table. ``anatomy.load`` puts a configuration into it.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, Literal

from harness.checkpoint.structure import Block
from harness.document import Document
from harness.errors import UsageError
from harness.surgery.expression import evaluate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LAYER_AXIS: Final = "layer"
VOCABULARY_AXIS: Final = "vocab"
HIDDEN_AXIS: Final = "hidden"
LAYER_PREFIX: Final = "model.layers.{layer}."
"""Every tensor of a layer begins so."""


class AxisTable(Document):
    """How many units an axis has, and whether each layer may keep other ones."""

    size: str
    scope: Literal["layer", "model"]
    fixed: str | None = None
    """Why it cannot be cut; absent where it can."""


class TensorTable(Document):
    """One tensor, or the same tensor of every layer."""

    name: str
    """``{layer}`` stands for the layer's number."""
    shape: tuple[str, ...]
    when: str = "True"
    """Condition on the configuration under which the tensor is stored."""


class FusionTable(Document):
    """Linears that read the same input and may be concatenated."""

    name: str
    parts: tuple[str, ...]
    """In the order of their rows."""


class ConstraintTable(Document):
    """What must hold of a configuration beyond fitting shapes."""

    holds: str
    reason: str


class AnatomyTable(Document):
    """One architecture, as its file has it."""

    model_type: str
    architecture: str
    axes: dict[str, AxisTable]
    config: dict[str, str]
    """Fields of the reduced ``config.json`` as expressions of the axes that remain."""
    layer_lists: tuple[str, ...] = ()
    """Fields of ``config.json`` that have one entry per layer."""
    block: Block
    tensors: tuple[TensorTable, ...]
    fusions: tuple[FusionTable, ...] = ()
    constraints: tuple[ConstraintTable, ...] = ()
    """What the stock classes ask for."""
    structured_constraints: tuple[ConstraintTable, ...] = ()
    """What the class of structured checkpoints asks for."""

    def fusion(self, name: str) -> FusionTable:
        """The fusion of that name; raises ``UsageError``."""
        found = next((fusion for fusion in self.fusions if fusion.name == name), None)
        if found is None:
            names = ", ".join(fusion.name for fusion in self.fusions) or "none"
            raise UsageError(f"no fused linear {name!r} in a {self.model_type}; there are: {names}")
        return found


def model_types() -> tuple[str, ...]:
    """The architectures that have a table, sorted."""
    folder = resources.files("harness.surgery") / "tables"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


@cache
def load_table(model_type: str) -> AnatomyTable:
    """The table of ``model_type``; raises ``UsageError`` where there is none."""
    if model_type not in model_types():
        raise UsageError(f"no anatomy for model_type {model_type!r}; there are tables for {', '.join(model_types())}")
    text = (resources.files("harness.surgery") / "tables" / f"{model_type}.toml").read_text()
    return AnatomyTable.model_validate(tomllib.loads(text))


def table_of(config: Mapping[str, Any]) -> AnatomyTable:
    """The table for a parsed ``config.json``, stock or structured; raises ``UsageError`` where there is none."""
    return load_table(str(config.get("base_model_type") or config.get("model_type")))


def axis_sizes(table: AnatomyTable, config: Mapping[str, Any]) -> dict[str, int]:
    """Units of every axis; raises ``UsageError`` where the fields of ``config`` make none."""
    return {name: _size(table, name, axis.size, config) for name, axis in table.axes.items()}


def broken_constraint(constraints: Iterable[ConstraintTable], config: Mapping[str, Any]) -> ConstraintTable | None:
    """The first of ``constraints`` that ``config`` breaks."""
    return next((item for item in constraints if not evaluate(item.holds, config)), None)


def _size(table: AnatomyTable, axis: str, text: str, config: Mapping[str, Any]) -> int:
    try:
        size = evaluate(text, config)
    except ValueError as error:
        raise UsageError(f"config.json of a {table.model_type}: axis {axis}: {error}") from error
    if not isinstance(size, int) or size < 1:
        raise UsageError(f"config.json of a {table.model_type}: axis {axis} must be at least 1, found {size!r}")
    return size
