"""A written checkpoint is whole or absent, and its bytes depend on its content alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from harness.checkpoint.reader import open_checkpoint
from harness.checkpoint.shards import INDEX_NAME, read_layout
from harness.checkpoint.writer import CheckpointWriter, TensorSpec, split_shards

ARRAYS = {name: np.random.default_rng(seed).normal(size=(5, 4)).astype(np.float16) for seed, name in enumerate("abc")}
SPECS = [TensorSpec(name=name, dtype="F16", shape=(5, 4)) for name in ARRAYS]


def write(output, **options):
    with CheckpointWriter(output, SPECS, **options) as writer:
        for name, array in ARRAYS.items():
            writer.append(name, np.array_split(array, 2))
        writer.write_file("config.json", b"{}")
    return output


class TestCheckpointWriter:
    def test_safetensors_reads_it(self, tmp_path):
        """The reference implementation reads what was written."""
        loaded = load_file(write(tmp_path / "out") / "model.safetensors")
        assert all(np.array_equal(loaded[name], array) for name, array in ARRAYS.items())

    def test_same_bytes_as_safetensors(self, tmp_path):
        """For one dtype and names in order, the file is bit for bit the one of the reference implementation."""
        save_file(ARRAYS, tmp_path / "theirs.safetensors", metadata={"format": "pt"})
        assert (write(tmp_path / "out") / "model.safetensors").read_bytes() == (
            tmp_path / "theirs.safetensors"
        ).read_bytes()

    def test_shards(self, tmp_path):
        """Shards under an index hold the same tensors as one file."""
        out = write(tmp_path / "out", max_shard_bytes=80)
        assert min(path.name for path in out.glob("*.safetensors")) == "model-00001-of-00002.safetensors"
        assert json.loads((out / INDEX_NAME).read_text())["metadata"] == {"total_size": 120}
        with open_checkpoint(out) as reader:
            assert all(np.array_equal(reader.read(name), array) for name, array in ARRAYS.items())

    def test_an_error_leaves_nothing(self, tmp_path):
        """What goes wrong in the middle leaves neither a result nor remains, and what stood before stands."""
        before = (write(tmp_path / "out") / "model.safetensors").read_bytes()
        with pytest.raises(ValueError, match="must be float16"), CheckpointWriter(tmp_path / "out", SPECS) as writer:
            writer.append("a", [ARRAYS["a"], ARRAYS["a"].astype(np.float32)])
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        assert (tmp_path / "out" / "model.safetensors").read_bytes() == before

    def test_a_tensor_that_never_came(self, tmp_path):
        """A checkpoint with a hole is not committed."""
        with pytest.raises(ValueError, match="'b' was announced"), CheckpointWriter(tmp_path / "out", SPECS) as writer:
            writer.append("a", [ARRAYS["a"]])
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("name", "chunks", "message"),
        [
            ("b", [ARRAYS["b"]], "next tensor must be 'a'"),
            ("a", [ARRAYS["a"][:4]], "must have 40 bytes, got 32"),
            ("a", [ARRAYS["a"].astype(np.float32)], "must be float16"),
        ],
    )
    def test_refuses_what_was_not_announced(self, tmp_path, name, chunks, message):
        """Order, size and dtype are the announced ones."""
        with pytest.raises(ValueError, match=message), CheckpointWriter(tmp_path / "out", SPECS) as writer:
            writer.append(name, chunks)

    def test_remains_of_a_killed_run_do_no_harm(self, tmp_path):
        """Whatever a killed run left behind, the next one makes the same folder."""
        (tmp_path / ".out.partial").mkdir()
        (tmp_path / ".out.partial" / "stray").write_text("half")
        assert sorted(path.name for path in write(tmp_path / "out").iterdir()) == ["config.json", "model.safetensors"]
        assert [path.name for path in tmp_path.iterdir()] == ["out"]


@given(sizes=st.lists(st.integers(0, 50), min_size=1, max_size=20), limit=st.integers(1, 100))
def test_shards_keep_order_and_limit(sizes, limit):
    """No tensor is lost or moved; a shard exceeds the limit only where a single tensor does."""
    specs = [TensorSpec(name=str(place), dtype="U8", shape=(size,)) for place, size in enumerate(sizes)]
    shards = split_shards(specs, limit)
    assert [spec for shard in shards for spec in shard] == specs
    assert all(
        sum(spec.size_bytes for spec in shard) <= limit or len([s for s in shard if s.size_bytes]) == 1
        for shard in shards
    )


def test_layout_of_what_was_written(tmp_path):
    """The reader's own checks pass on every shard."""
    assert read_layout(write(tmp_path / "out", max_shard_bytes=40)).parameter_count == 60
