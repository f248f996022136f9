"""The configuration that a plan leads to: the stock class's where it can have the shape, else a structured one.

config.json + plan --reduced_config--> {..., model_type: llama}                             stock
                                   or  {..., model_type: edge_structured, structure: {...}}  layers of their own
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from harness.checkpoint.structure import LAYER_STRUCTURE_AXES, LayerStructure, Structure, Vote
from harness.errors import UsageError
from harness.structured.files import EMBEDDED_FIELD, config_fields
from harness.surgery.anatomy import load
from harness.surgery.expression import evaluate
from harness.surgery.plan import keep_all
from harness.surgery.table import axis_sizes, broken_constraint, table_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.surgery.anatomy import Anatomy
    from harness.surgery.plan import Plan
    from harness.surgery.table import AnatomyTable

STRUCTURED_FIELDS: Final = ("base_model_type", "auto_map", EMBEDDED_FIELD)
"""Fields of a configuration that only a structured checkpoint has."""


def reduced_config(config: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """The ``config.json`` after ``plan``; that of a structured model has its structure under ``structure``.

    Raises:
        UsageError: the plan does not fit, or neither a stock class nor a structured model can have the shape.
    """
    anatomy = load(config)
    plan.check(anatomy)
    return _described(anatomy, plan, structure_after(anatomy, plan))


def config_with_exits(config: Mapping[str, Any], exits: Sequence[int], vote: Vote = "max") -> dict[str, Any]:
    """The ``config.json`` of the same weights when the layers ``exits`` vote; of the last layer alone where none does.

    Exits share final norm and head, so no tensor is added. The result has its structure under ``structure``.

    Raises:
        UsageError: exits do not ascend up to the last layer.
    """
    anatomy = load(config)
    plan = keep_all(anatomy)
    content = structure_after(anatomy, plan).model_dump(mode="json")
    try:
        structure = Structure.model_validate_json(json.dumps({**content, "exits": list(exits), "vote": vote}))
    except ValidationError as error:
        raise UsageError(f"exits {list(exits)}, vote {vote!r}: {error.errors()[0]['msg']}") from error
    return _described(anatomy, plan, structure)


def _described(anatomy: Anatomy, plan: Plan, structure: Structure) -> dict[str, Any]:
    fields = _fields(anatomy, plan, structure)
    if _is_uniform(structure) and broken_constraint(anatomy.table.constraints, fields) is None:
        return fields
    return _structured(anatomy.table, fields, structure)


def structure_after(anatomy: Anatomy, plan: Plan) -> Structure:
    """The shape of every layer after ``plan``; raises ``UsageError`` where fusing and ranks contradict each other."""
    fused = _fused(anatomy, plan)
    layers = [_layer(anatomy, plan, layer, fused) for layer in plan.kept_layers(anatomy)]
    return Structure(
        model_type=anatomy.table.model_type,
        block=anatomy.table.block,
        biases=_biases(anatomy),
        fused=fused,
        layers=tuple(layers),
        **_exits(anatomy, plan),
    )


def _exits(anatomy: Anatomy, plan: Plan) -> dict[str, Any]:
    """Exits by their numbers after ``plan``, what is then the last layer among them; none where it is left alone."""
    if anatomy.structure is None or not anatomy.structure.exits:
        return {}
    kept = plan.kept_layers(anatomy)
    exits = {number for number, layer in enumerate(kept) if layer in anatomy.structure.exits} | {len(kept) - 1}
    return {"exits": tuple(sorted(exits)), "vote": anatomy.structure.vote} if len(exits) > 1 else {}


def resized_config(config: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any]:
    """``config`` with the axes in ``sizes`` at other sizes, the same in every layer; ``head_dim`` becomes explicit.

    Raises:
        UsageError: there is no anatomy for ``config``.
    """
    table = table_of(config)
    remaining = {**axis_sizes(table, config), **sizes}
    return {**config, **{field: evaluate(text, remaining) for field, text in table.config.items()}}


def is_stock(config: Mapping[str, Any]) -> bool:
    """Whether the stock class of the architecture takes ``config``; raises ``UsageError`` without an anatomy."""
    return "structure" not in config and broken_constraint(table_of(config).constraints, config) is None


def _fields(anatomy: Anatomy, plan: Plan, structure: Structure) -> dict[str, Any]:
    """The fields as the stock class would have them, layer axes at their largest."""
    largest = {axis: max(getattr(layer, axis) for layer in structure.layers) for axis in LAYER_STRUCTURE_AXES}
    plain = {field: value for field, value in anatomy.config.items() if field not in STRUCTURED_FIELDS}
    if anatomy.structure is not None:
        plain |= {"model_type": anatomy.table.model_type, "architectures": [anatomy.table.architecture]}
    fields = resized_config(plain, {**plan.sizes(anatomy, None), **largest})
    return {**fields, **_layer_lists(anatomy, plan)}


def _layer_lists(anatomy: Anatomy, plan: Plan) -> dict[str, list[Any]]:
    """Per-layer lists of the configuration without the layers that go."""
    found = {field: anatomy.config.get(field) for field in anatomy.table.layer_lists}
    kept = plan.kept_layers(anatomy)
    return {
        field: [values[layer] for layer in kept]
        for field, values in found.items()
        if isinstance(values, list) and len(values) == anatomy.layer_count
    }


def _structured(table: AnatomyTable, fields: Mapping[str, Any], structure: Structure) -> dict[str, Any]:
    broken = broken_constraint(table.structured_constraints, fields)
    if broken is not None:
        raise UsageError(f"plan: {broken.holds} does not hold: {broken.reason}")
    return {**config_fields(fields, structure), EMBEDDED_FIELD: structure.model_dump(mode="json")}


def _is_uniform(structure: Structure) -> bool:
    first = structure.layers[0]
    return (
        not structure.exits
        and not structure.fused
        and not first.ranks
        and all(layer == first for layer in structure.layers)
    )


def _fused(anatomy: Anatomy, plan: Plan) -> dict[str, tuple[str, ...]]:
    if plan.fused is None:
        return anatomy.fused
    return {name: anatomy.table.fusion(name).parts for name in plan.fused}


def _layer(anatomy: Anatomy, plan: Plan, layer: int, fused: Mapping[str, tuple[str, ...]]) -> LayerStructure:
    sizes = plan.sizes(anatomy, layer)
    return LayerStructure(
        **{axis: sizes[axis] for axis in LAYER_STRUCTURE_AXES}, ranks=_ranks(anatomy, plan, layer, fused)
    )


def _ranks(anatomy: Anatomy, plan: Plan, layer: int, fused: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """Ranks after the plan; a linear that is factorised already can keep its rank or become dense."""
    before = anatomy.ranks(layer)
    asked = {module: rank for module, ranks in plan.ranks.items() if (rank := ranks[layer]) is not None}
    for module, rank in asked.items():
        if rank and before.get(module, rank) != rank:
            raise UsageError(
                f"plan: {module} of layer {layer} is factorised at rank {before[module]}; make it dense first (rank 0)"
            )
    after = {module: rank for module, rank in {**before, **asked}.items() if rank}
    _check_linears(anatomy, {*before, *after}, layer, fused)
    return after


def _check_linears(anatomy: Anatomy, modules: set[str], layer: int, fused: Mapping[str, tuple[str, ...]]) -> None:
    """Linears that are or become factorised are not fused or parted by the same plan, and exist after it."""
    changed = {*fused} ^ {*anatomy.fused}
    touched = {part for name in changed for part in (name, *anatomy.table.fusion(name).parts)}
    for module in sorted(modules & set(anatomy.ranks(layer)) & touched):
        raise UsageError(f"plan: {module} of layer {layer} is factorised; make it dense before it is fused or parted")
    parts = {part for names in fused.values() for part in names}
    linears = {tensor.module for tensor in anatomy.tensors.values() if tensor.layer == layer} | {*fused}
    linears |= {part for name in anatomy.fused for part in anatomy.fused[name]}
    for module in sorted(modules):
        if module not in linears or module in parts:
            raise UsageError(f"plan: there is no linear {module!r} to factorise in layer {layer}")


def _biases(anatomy: Anatomy) -> tuple[str, ...]:
    """Linears of a layer that have a bias; parts of fused ones by their own names."""
    from_table = [
        entry.name.rpartition(".")[0].partition("{layer}.")[2]
        for entry in anatomy.table.tensors
        if entry.name.endswith(".bias") and "{layer}" in entry.name and evaluate(entry.when, anatomy.config)
    ]
    norms = {anatomy.table.block.attention_norm, anatomy.table.block.mlp_norm}
    return tuple(module for module in from_table if module not in norms)
