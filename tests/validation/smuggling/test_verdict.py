from __future__ import annotations

import numpy as np
import pytest

from harness.checkpoint.dtypes import from_float32, to_float32
from harness.validation.smuggling.lines import Block
from harness.validation.smuggling.verdict import judge

SHAPE = (128, 512)


def block(weight, dtype="F16"):
    stored = from_float32(weight.astype(np.float32), dtype)
    return Block(values=stored, dtype=dtype, first_row=0, first_column=0, width=weight.shape[1])


def gaussian(seed=0):
    return 0.02 * np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def once_bf16(weight):
    return to_float32(from_float32(weight, "BF16"), "BF16")


def cut(weight, least):
    """``weight`` with zeros for what is smaller than ``least``."""
    return np.where(np.abs(weight) < least, 0, weight).astype(np.float32)


def rounded(weight, bits, size, *, columns=False):
    """Symmetric rounding by groups of ``size`` along rows or columns."""
    turned = np.ascontiguousarray(weight.T) if columns else weight
    groups = turned.reshape(-1, size)
    scale = np.abs(groups).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
    found = (np.rint(groups / scale) * scale).reshape(turned.shape)
    return found.T if columns else found


class TestQuantised:
    @pytest.mark.parametrize("dtype", ["F16", "BF16", "F32"])
    @pytest.mark.parametrize("bits", [4, 8])
    @pytest.mark.parametrize(
        ("size", "columns", "unit"),
        [
            (SHAPE[0] * SHAPE[1], False, "the tensor"),
            (512, False, "line along rows"),
            (128, False, "group of 128 along rows"),
            (64, False, "group of 64 along rows"),
            (32, False, "group of 32 along rows"),
            (128, True, "line along columns"),
            (32, True, "group of 32 along columns"),
        ],
    )
    def test_is_found_and_named(self, dtype, bits, size, columns, unit):
        """Whatever shares a scale and whatever float it is stored in, the bits and the unit are said."""
        found = judge([block(rounded(gaussian(), bits, size, columns=columns), dtype)])
        assert found is not None
        assert (found.is_sure, found.kind, found.bits, found.unit, found.first) == (True, "lattice", bits, unit, 0)

    def test_survives_a_detour_by_bf16(self):
        """Weights that were dequantised in BF16 and stored as FP16 are found all the same."""
        found = judge([block(once_bf16(rounded(gaussian(), 8, 64)))])
        assert found is not None
        assert found.is_sure

    def test_only_a_block_that_lies_elsewhere_is_located_there(self):
        """The first group is counted from the tensor's first element, not the block's."""
        weight = rounded(gaussian(), 4, 128)
        moved = Block(values=block(weight).values, dtype="F16", first_row=256, first_column=0, width=512)
        found = judge([moved])
        assert found is not None
        assert found.first == 256 * 512


class TestSound:
    @pytest.mark.parametrize(
        "make",
        [
            np.copy,
            once_bf16,
            lambda weight: np.where(np.abs(weight) < 0.02, 0, weight),
            lambda weight: once_bf16(np.where(np.abs(weight) < 0.02, 0, weight)),
            lambda weight: once_bf16(cut(np.random.default_rng(1).uniform(-1, 1, SHAPE) + 0 * weight, 0.7)),
            lambda weight: once_bf16(cut(np.random.default_rng(1).uniform(-1, 1, SHAPE) + 0 * weight, 0.9)),
            lambda weight: once_bf16(np.repeat(weight[:32], 4, axis=0)),
            lambda weight: once_bf16(np.repeat(weight[:, :64], 8, axis=1)),
            lambda weight: np.where(np.arange(128)[:, None] % 2, weight, 0.125),
            lambda weight: np.where(np.arange(128)[:, None] > 20, weight[7], weight),
            lambda weight: np.where(np.arange(128)[:, None] > 20, weight[7], weight) * (1 + 0.01 * weight),
            lambda weight: weight[:, :16] @ weight[:16],
            lambda weight: weight[:, :16],
            lambda weight: 1e-3 * weight,
            np.zeros_like,
            lambda weight: np.eye(*weight.shape),
            lambda weight: np.where(weight > 0.05, np.nan, weight),
        ],
        ids=[
            *(
                "fp16",
                "once-bf16",
                "pruned",
                "pruned-once-bf16",
                "pruned-even",
                "sparse-even",
                "tied-rows",
                "tied-columns",
                "constant-rows",
            ),
            *("repeated", "drifted", "product", "factor", "tiny", "zero", "identity", "nan"),
        ],
    )
    @pytest.mark.parametrize("dtype", ["F16", "F32"])
    def test_is_not_flagged(self, make, dtype):
        """Weights that nobody quantised raise no suspicion, however few different values something else left them."""
        for seed in range(3):
            assert judge([block(make(gaussian(seed)), dtype)]) is None

    def test_the_same_blocks_get_the_same_verdict(self):
        """A verdict depends on weights and seed alone."""
        blocks = [block(rounded(gaussian(), 8, 64))]
        assert judge(blocks, 3) == judge(blocks, 3)
