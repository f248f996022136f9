"""The transposed layout holds the same numbers and gives the same sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.deployment.mlc.transposed import (
    matmul,
    matmul_transposed,
    restore,
    transpose,
    transposed_chunks,
    transposed_shape,
    vectorised_share,
)

ROWS = st.sampled_from([1, 64, 127, 128, 129, 256, 384])
COLUMNS = st.integers(1, 40)


def weights(rows, columns, dtype=np.float32):
    return np.random.default_rng(rows * 1000 + columns).standard_normal((rows, columns)).astype(dtype)


class TestTranspose:
    @given(rows=ROWS, columns=COLUMNS)
    def test_places_every_number(self, rows, columns):
        """``P[g, k, c]`` is ``W[128 g + c, k]`` where 128 divides the rows, and ``W`` transposed elsewhere."""
        weight = weights(rows, columns)
        packed = transpose(weight)
        assert packed.shape == transposed_shape(weight.shape)
        if rows % 128:
            assert np.array_equal(packed, weight.T)
        else:
            g, c, k = rows // 128 - 1, 77, columns - 1
            assert packed[g, k, c] == weight[128 * g + c, k]

    @given(rows=ROWS, columns=COLUMNS)
    def test_loses_and_pads_nothing(self, rows, columns):
        """Back again it is the same matrix, and in between it has as many elements: no padding."""
        weight = weights(rows, columns, np.float16)
        assert transpose(weight).size == weight.size
        assert np.array_equal(restore(transpose(weight)), weight)

    @pytest.mark.parametrize("shape", [(7,), (2, 3, 4)])
    def test_only_matrices_change(self, shape):
        """A norm's weight or a bias keeps its shape."""
        assert transposed_shape(shape) == shape


class TestMatmul:
    @given(rows=ROWS, columns=COLUMNS, tokens=st.integers(1, 3))
    def test_same_sums_in_the_same_order(self, rows, columns, tokens):
        """The product from the transposed layout is that of ``x W^T`` bit for bit, summed in the same order in FP32."""
        weight, inputs = weights(rows, columns), weights(tokens, columns)
        assert np.array_equal(matmul_transposed(inputs, transpose(weight)), matmul(inputs, weight))

    @given(rows=ROWS, columns=COLUMNS)
    def test_is_the_product(self, rows, columns):
        """And it is numpy's product within rounding: ``k`` additions of one part in 2^24 each."""
        weight, inputs = weights(rows, columns), weights(2, columns)
        exact = inputs.astype(np.float64) @ weight.T.astype(np.float64)
        bound = columns * 2.0**-23 * (np.abs(inputs) @ np.abs(weight.T)) + 1e-30
        assert (np.abs(matmul_transposed(inputs, transpose(weight)) - exact) <= bound).all()


class TestChunks:
    @given(rows=ROWS, columns=COLUMNS, cut=st.integers(1, 200))
    def test_streamed_is_whole(self, rows, columns, cut):
        """Chunk by chunk the bytes are those of the matrix transposed at once."""
        weight = weights(rows, columns, np.float16)
        chunks = [weight[start : start + cut] for start in range(0, rows, cut)]
        found = b"".join(chunk.tobytes() for chunk in transposed_chunks(chunks, rows))
        assert found == transpose(weight).tobytes()


class TestVectorisedShare:
    def test_counts_elements(self):
        """Of two equal matrices one of which has rows that 128 divides, half; vectors do not count."""
        assert vectorised_share([(128, 6), (6, 128), (128,)]) == 0.5
        assert vectorised_share([(128,)]) == 0
