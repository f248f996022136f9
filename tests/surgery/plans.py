"""Random plans for tests: any mixture of cuts that a model allows."""

from __future__ import annotations

from hypothesis import strategies as st

from harness.surgery.plan import plan_of

MAX_RANK = 8
SPECIAL_IDS = (0, 1, 2)


def some_units(count, *, at_least=1):
    return st.sets(st.integers(0, count - 1), min_size=at_least).map(sorted)


@st.composite
def plans(draw, anatomy):
    """Axes cut or not, layers of different widths, layers dropped, linears fused, some factorised."""
    axes = draw(st.sets(st.sampled_from(("vocab", "hidden", "layer", "intermediate", "kv_group", "head"))))
    keep = {}
    for axis in sorted(axes):
        size = anatomy.sizes[axis]
        entries = anatomy.layer_count if anatomy.table.axes[axis].scope == "layer" else 1
        # No rank may exceed the narrower side of its linear.
        least = MAX_RANK if axis in {"hidden", "intermediate"} else 1
        keep[axis] = [draw(some_units(size, at_least=least)) for _ in range(entries)]
    if "vocab" in keep:
        keep["vocab"] = [sorted({*keep["vocab"][0], *SPECIAL_IDS})]
    names = [fusion.name for fusion in anatomy.table.fusions]
    fused = draw(st.lists(st.sampled_from(names), unique=True))
    ranks = {}
    for module in draw(st.lists(st.sampled_from(linears_after(anatomy, fused)), unique=True, max_size=3)):
        ranks[module] = tuple(draw(st.none() | st.integers(1, MAX_RANK)) for _ in range(anatomy.layer_count))
    return plan_of(anatomy, keep, fused=tuple(fused), ranks=ranks)


def linears_after(anatomy, fused):
    """Linears of a layer once those of ``fused`` are concatenated."""
    gone = {part for name in fused for part in anatomy.table.fusion(name).parts}
    return [tensor.module for tensor in anatomy.linears(0) if tensor.module not in gone] + list(fused)


def by_svd(module, weight, rank):
    """The plain truncated factorisation, for tests."""
    import numpy as np

    left, values, right = np.linalg.svd(weight, full_matrices=False)
    shape = (len(weight), rank), (rank, weight.shape[1])
    a, b = np.zeros(shape[0], np.float32), np.zeros(shape[1], np.float32)
    held = min(rank, len(values))
    a[:, :held], b[:held] = left[:, :held] * values[:held], right[:held]
    return a, b
