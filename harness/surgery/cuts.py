"""Cuts as one types them, for counting what they leave: how many units, not which.

    vocab=77209    kv_group=7    intermediate=11468@4-27    hidden=2560    layer=30    head=5
    rank(mlp.down_proj)=1024@4-27          fused=self_attn.qkv_proj

``@`` names layers; without it a cut is in all of them. The first units stay: no count depends on which.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from harness.errors import UsageError
from harness.surgery.plan import Plan, parse_ranges, plan_of
from harness.surgery.table import LAYER_AXIS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.surgery.anatomy import Anatomy

_CUT: Final = re.compile(r"(?P<axis>[a-z_]+)(?:\((?P<module>[\w.]+)\))?=(?P<value>[\w.]+)(?:@(?P<layers>[\d,-]+))?")
FORM: Final = "axis=count, axis=count@layers, rank(linear)=rank@layers or fused=linear"


def plan_of_cuts(anatomy: Anatomy, cuts: Sequence[str]) -> Plan:
    """The plan that leaves as many units as ``cuts`` say.

    Raises:
        UsageError: a cut is not of the form, or does not fit the model.
    """
    keep: dict[str, list[range]] = {}
    ranks: dict[str, list[int | None]] = {}
    fused: list[str] = list(anatomy.fused)
    for cut in cuts:
        found = _CUT.fullmatch(cut)
        if found is None:
            raise UsageError(f"cut {cut!r}: must be {FORM}")
        axis, module, value = found["axis"], found["module"], found["value"]
        layers = _layers(anatomy, found["layers"], cut)
        if axis == "fused":
            fused.append(value)
        elif axis == "rank" and module:
            _set(ranks.setdefault(module, [None] * anatomy.layer_count), layers, _count(value, cut))
        else:
            _keep(anatomy, keep, axis, layers, _count(value, cut))
    fields: dict[str, Any] = {"ranks": {module: tuple(each) for module, each in ranks.items()}, "fused": tuple(fused)}
    return plan_of(anatomy, keep, **fields)


def _keep(anatomy: Anatomy, keep: dict[str, list[range]], axis: str, layers: Sequence[int], count: int) -> None:
    """Note that ``count`` units of ``axis`` stay in ``layers``."""
    known = anatomy.table.axes.get(axis)
    if known is None or known.fixed is not None:
        cut = ", ".join(name for name, each in anatomy.table.axes.items() if each.fixed is None)
        raise UsageError(f"cut {axis}={count}: a {anatomy.table.model_type} can be cut along {cut}")
    every = anatomy.layer_sizes if known.scope == "layer" else (anatomy.sizes,)
    entries = keep.setdefault(axis, [range(sizes[axis]) for sizes in every])
    for place in layers if known.scope == "layer" else (0,):
        if not 1 <= count <= len(entries[place]):
            raise UsageError(f"cut {axis}={count}: must be in 1..{len(entries[place])}")
        entries[place] = range(count)


def _layers(anatomy: Anatomy, text: str | None, cut: str) -> Sequence[int]:
    if text is None:
        return range(anatomy.sizes[LAYER_AXIS])
    try:
        layers = parse_ranges(text)
    except ValueError as error:
        raise UsageError(f"cut {cut!r}: layers: {error}") from error
    if not isinstance(layers, tuple) or max(layers) >= anatomy.layer_count:
        raise UsageError(f"cut {cut!r}: layers must be in 0..{anatomy.layer_count - 1}")
    return layers


def _count(value: str, cut: str) -> int:
    if not value.isdecimal():
        raise UsageError(f"cut {cut!r}: {value!r} is no count; {FORM}")
    return int(value)


def _set(entries: list[int | None], layers: Sequence[int], value: int) -> None:
    for layer in layers:
        entries[layer] = value
