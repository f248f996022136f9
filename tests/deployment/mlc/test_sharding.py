"""Shards are cut where MLC cuts them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.deployment.mlc.names import MlcTensor
from harness.deployment.mlc.sharding import plan_shards

SIZES = st.lists(st.integers(1, 200), min_size=1, max_size=40)


def planned(sizes, limit):
    tensors = [(MlcTensor(name=str(place), sources=(), shape=()), size) for place, size in enumerate(sizes)]
    return plan_shards(tensors, limit)


def as_mlc_does(sizes, limit):
    """The rule in its plainest form: a pending list of places, and what is written out when."""
    written, pending = [], []
    for place, size in enumerate(sizes):
        held = sum(sizes[other] for other in pending)
        if held + size < limit:
            pending.append(place)
        elif size * 2 >= limit:
            written.append([place])
        else:
            written.append(pending)
            pending = [place]
    return [group for group in [*written, pending] if group]


class TestPlanShards:
    @given(sizes=SIZES, limit=st.integers(1, 400))
    def test_is_mlcs_rule(self, sizes, limit):
        """Every tensor is in the shard that MLC's writer would put it in, in the same order."""
        found = [[int(record.tensor.name) for record in shard.records] for shard in planned(sizes, limit)]
        assert found == as_mlc_does(sizes, limit)

    @given(sizes=SIZES, limit=st.integers(1, 400))
    def test_no_gap_and_nothing_lost(self, sizes, limit):
        """Offsets are contiguous from 0; every tensor is there once; only a single tensor reaches the limit."""
        shards = planned(sizes, limit)
        for number, shard in enumerate(shards):
            ends = [record.offset + record.size_bytes for record in shard.records]
            assert [record.offset for record in shard.records] == [0, *ends[:-1]]
            assert shard.size_bytes == ends[-1]
            assert shard.size_bytes < limit or len(shard.records) == 1
            assert shard.name == f"params_shard_{number}.bin"
        names = sorted(int(record.tensor.name) for shard in shards for record in shard.records)
        assert names == list(range(len(sizes)))

    def test_a_limit_of_nothing(self):
        """Says what is allowed."""
        with pytest.raises(ValueError, match="at least 1, got 0"):
            planned([1], 0)
