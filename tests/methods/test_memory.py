"""Memory is counted from configurations, and what does not fit is refused in words."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from harness.errors import LimitExceeded
from harness.methods import memory
from harness.surgery.anatomy import load

LLAMA = json.loads(
    (resources.files("harness.rules") / "configurations" / "meta-llama--Meta-Llama-3.1-8B-Instruct.json").read_text()
)
BATCH = memory.BatchSize(texts=1, tokens=256)


class TestBytes:
    def test_weights_of_llama(self):
        """Four bytes for each of 8,030,261,248 parameters."""
        assert memory.model_bytes(load(LLAMA)) == 4 * 8_030_261_248

    def test_backward_keeps_gradients_of_what_is_scored(self):
        """A number or two for each weight of the layers that are scored at once; the rest is small beside it."""
        anatomy = load(LLAMA)
        whole, few, twice = (
            memory.backward_bytes(anatomy, BATCH, **fields)
            for fields in ({}, {"layers_at_once": 2}, {"kept_per_weight": 2})
        )
        layer = 4 * 218_112_000
        assert whole - few == 30 * layer
        assert twice - whole == 32 * layer
        assert few > memory.forward_bytes(anatomy, BATCH) > memory.model_bytes(anatomy)

    def test_moments(self):
        """Eight bytes for each pair of inputs of each linear."""
        assert memory.moments_bytes([14_336]) == 8 * 14_336**2
        assert memory.moments_bytes([2, 3]) == 8 * (4 + 9)


class TestRequireMemory:
    def test_refuses_in_words(self):
        """How much, where, and what to do instead."""
        with pytest.raises(
            LimitExceeded, match=r"Taylor scores needs about 1000000.0 GiB of memory on cpu, found .* score fewer"
        ):
            memory.require_memory(10**6 * 2**30, "Taylor scores", "score fewer")

    def test_passes(self):
        """A byte is always there."""
        memory.require_memory(1, "a byte", "")
