"""Index and shards must agree, and an index leads nowhere else."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.checkpoint.shards import INDEX_NAME, read_layout
from harness.errors import CheckpointCorrupt


@pytest.fixture
def sharded(tmp_path):
    for number, name in enumerate("ab"):
        save_file({name: np.full(4, number, np.float16)}, tmp_path / f"{name}.safetensors")
    write_index(tmp_path, {"a": "a.safetensors", "b": "b.safetensors"})
    return tmp_path


def write_index(folder, weight_map):
    (folder / INDEX_NAME).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


class TestReadLayout:
    def test_single_file(self, tmp_path):
        """One file needs no index."""
        save_file({"a": np.zeros((2, 3), np.float16)}, tmp_path / "model.safetensors")
        assert read_layout(tmp_path).parameter_count == 6

    def test_shards(self, sharded):
        """All shards together hold all tensors."""
        assert [entry.name for entry in read_layout(sharded).tensors] == ["a", "b"]

    @pytest.mark.parametrize(
        "name",
        ["../a.safetensors", "/etc/a.safetensors", "x/../a.safetensors", "..\\a.safetensors", ".a.safetensors", "a", 7],
    )
    def test_refuses_other_folders(self, sharded, name):
        """An index that points outside of its folder, or at no safetensors file, is not followed."""
        write_index(sharded, {"a": name, "b": "b.safetensors"})
        with pytest.raises(CheckpointCorrupt, match="tensor 'a' must lie in"):
            read_layout(sharded)

    @pytest.mark.parametrize(
        ("weight_map", "message"),
        [
            ({"a": "a.safetensors"}, r"b\.safetensors: holds weights"),
            ({"a": "a.safetensors", "b": "c.safetensors"}, r"c\.safetensors: is missing"),
            ({"a": "b.safetensors", "b": "a.safetensors"}, "the index says b.safetensors, it lies in a.safetensors"),
            ({"a": "a.safetensors", "b": "b.safetensors", "c": "a.safetensors"}, "lies in nowhere"),
            ({"a": "a.safetensors", "x": "b.safetensors"}, "tensor 'b': the index says nowhere"),
            ({}, "no weight_map"),
        ],
    )
    def test_refuses_disagreement(self, sharded, weight_map, message):
        """A tensor that only the index or only the files know is named."""
        write_index(sharded, weight_map)
        with pytest.raises(CheckpointCorrupt, match=message):
            read_layout(sharded)

    def test_refuses_a_tensor_that_lies_twice(self, sharded):
        """Which of the two would count?"""
        save_file({"a": np.zeros(4, np.float16)}, sharded / "b.safetensors")
        with pytest.raises(CheckpointCorrupt, match="also lies in"):
            read_layout(sharded)

    def test_refuses_links(self, sharded):
        """A shard is the file itself."""
        (sharded / "a.safetensors").rename(sharded / "elsewhere")
        (sharded / "a.safetensors").symlink_to(sharded / "elsewhere")
        with pytest.raises(CheckpointCorrupt, match="plain file"):
            read_layout(sharded)

    @pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"[" * 100_000, b'{"weight_map":{"a":"x","a":"y"}}'])
    def test_refuses_what_is_no_index(self, sharded, content):
        """Nothing but ``CheckpointCorrupt`` comes out of a broken index."""
        (sharded / INDEX_NAME).write_bytes(content)
        with pytest.raises(CheckpointCorrupt):
            read_layout(sharded)

    def test_no_weights_at_all(self, tmp_path):
        """The message says what a checkpoint has."""
        with pytest.raises(CheckpointCorrupt, match=r"model\.safetensors: is missing"):
            read_layout(tmp_path)
