"""The prediction of memory: parts that add up and move with what they are made of."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis.strategies import integers, sampled_from

from harness.judge.prediction import (
    EAGER_FIRST_BYTES,
    EDGE_LOAD_BYTES,
    EDGE_RUN_BYTES,
    STORED,
    Load,
    MemoryPrediction,
    predict,
)
from harness.surgery.count import weigh
from harness.testing.tiny import tiny_config

FLOOR = 10**8
CONFIGS = {name: tiny_config(name).to_dict() for name in ("llama", "qwen2", "phi")}
RUNTIMES = ("transformers", "executorch")
LOAD = Load(runtime="transformers", dtype="float16", stored_dtype="float16", context_tokens=256, chunk_tokens=64)

names, runtimes, dtypes = sampled_from(sorted(CONFIGS)), sampled_from(RUNTIMES), sampled_from(("float16", "float32"))


class TestPredict:
    @given(name=names, runtime=runtimes, dtype=dtypes, context=integers(1, 4096), chunk=integers(1, 512))
    def test_the_total_is_the_sum_of_its_parts(self, name, runtime, dtype, context, chunk):
        """Nothing is hidden in the total, and weights and cache are those that surgery counts."""
        load = replace(LOAD, runtime=runtime, dtype=dtype, context_tokens=context, chunk_tokens=chunk)
        found = predict(CONFIGS[name], load, runtime_bytes=FLOOR)
        parts = [value for field, value in found.model_dump().items() if field.endswith("_bytes")]
        assert sum(parts) == 2 * found.total_bytes
        assert found.weights_bytes == weigh(CONFIGS[name]).weights_bytes(STORED[dtype])
        assert found.cache_bytes == context * weigh(CONFIGS[name]).kv_bytes_per_token(STORED[dtype])

    @given(name=names, runtime=runtimes, context=integers(1, 4096), more=integers(1, 4096))
    def test_more_context_never_takes_less(self, name, runtime, context, more):
        """The cache grows with it."""
        load = replace(LOAD, runtime=runtime, context_tokens=context)
        first = predict(CONFIGS[name], load, runtime_bytes=FLOOR)
        second = predict(CONFIGS[name], replace(load, context_tokens=context + more), runtime_bytes=FLOOR)
        assert second.cache_bytes > first.cache_bytes
        assert second.total_bytes >= first.total_bytes

    @pytest.mark.parametrize("runtime", RUNTIMES)
    def test_twice_the_width_is_twice_the_weights(self, runtime):
        """FP32 weights and cache take twice what FP16 ones do."""
        load = replace(LOAD, runtime=runtime)
        half = predict(CONFIGS["llama"], load, runtime_bytes=FLOOR)
        full = predict(CONFIGS["llama"], replace(load, dtype="float32"), runtime_bytes=FLOOR)
        assert (full.weights_bytes, full.cache_bytes) == (2 * half.weights_bytes, 2 * half.cache_bytes)

    def test_conversion_keeps_the_file_beside_the_copy(self):
        """Weights that are stored in another precision are there twice under transformers."""
        found = predict(CONFIGS["llama"], replace(LOAD, dtype="float32"), runtime_bytes=FLOOR)
        assert found.staging_bytes == EAGER_FIRST_BYTES["float32"] + weigh(CONFIGS["llama"]).weights_bytes("F16")

    def test_a_tied_head_is_packed_beside_the_embedding(self):
        """The edge runtime holds a tied matrix as a table and as a product's matrix."""
        edge = replace(LOAD, runtime="executorch")
        tied = predict(CONFIGS["qwen2"], edge, runtime_bytes=FLOOR)
        untied = predict({**CONFIGS["qwen2"], "tie_word_embeddings": False}, edge, runtime_bytes=FLOOR)
        assert tied.total_bytes == untied.total_bytes

    def test_packing_counts_where_it_is_the_peak(self):
        """A large vocabulary is read beside what is packed of it, long before anything runs."""
        edge = replace(LOAD, runtime="executorch")
        config = {**CONFIGS["llama"], "vocab_size": 10**6}
        found = predict(config, edge, runtime_bytes=FLOOR)
        used = found.activation_bytes + found.logits_bytes
        table = 10**6 * config["hidden_size"] * 2
        assert found.staging_bytes == EDGE_LOAD_BYTES + found.cache_bytes + table - used
        small = predict(CONFIGS["llama"], edge, runtime_bytes=FLOOR)
        assert small.staging_bytes == EDGE_LOAD_BYTES + small.cache_bytes + EDGE_RUN_BYTES

    def test_goes_through_a_file(self):
        """Written and read it is the same."""
        found = predict(CONFIGS["phi"], LOAD, runtime_bytes=FLOOR)
        assert MemoryPrediction.model_validate_json(found.model_dump_json()) == found
