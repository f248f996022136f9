"""Large files are read once."""

from __future__ import annotations

import os
import shutil

import pytest

from harness.checkpoint.checkpoint import Checkpoint, list_files
from harness.run import digests
from harness.run.digests import DigestMemory


@pytest.fixture
def folder(tmp_path, tiny_checkpoints):
    return shutil.copytree(tiny_checkpoints["llama"], tmp_path / "checkpoint")


class TestDigestMemory:
    def test_says_what_reading_says(self, workspace, folder):
        """Remembered or not, names, sizes and digests are those of the files."""
        for _ in range(2):
            memory = DigestMemory(workspace)
            assert memory.checkpoint(folder) == Checkpoint.of(folder)
            assert memory.checkpoint_files(folder) == list_files(folder)

    def test_an_unchanged_checkpoint_is_read_once(self, workspace, folder, monkeypatch):
        """Its digest and its files come from one reading, also in a later process."""
        DigestMemory(workspace).checkpoint(folder)
        monkeypatch.setattr(digests, "list_files", lambda path: pytest.fail(f"{path} is read again"))
        memory = DigestMemory(workspace)
        assert memory.checkpoint(folder) == Checkpoint.of(folder)
        assert len(memory.checkpoint_files(folder)) == len(list_files(folder))

    def test_a_touched_one_is_read_again(self, workspace, folder):
        """A file with another size or time is another file until it is read."""
        memory = DigestMemory(workspace)
        before = memory.checkpoint(folder)
        (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
        assert memory.checkpoint(folder) == Checkpoint.of(folder) != before

    def test_a_swap_in_place_is_seen_although_size_and_times_are_restored(self, workspace, folder):
        """Same path, same size, same inode, same modification time to the nanosecond: other bytes, another digest."""
        memory, weights = DigestMemory(workspace), folder / "model.safetensors"
        before, status = memory.checkpoint(folder), weights.stat()
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        with weights.open("r+b") as stream:
            stream.write(content)
        os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
        after = weights.stat()
        assert (after.st_size, after.st_mtime_ns, after.st_ino) == (status.st_size, status.st_mtime_ns, status.st_ino)
        assert memory.checkpoint(folder) == Checkpoint.of(folder) != before

    def test_a_file_put_in_its_place_is_seen(self, workspace, folder, tmp_path):
        """A renamed copy with the old times is another file."""
        memory, weights = DigestMemory(workspace), folder / "model.safetensors"
        before, status = memory.checkpoint(folder), weights.stat()
        other = tmp_path / "other"
        other.write_bytes(weights.read_bytes()[:-1] + b"x")
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        other.replace(weights)
        assert memory.checkpoint(folder) == Checkpoint.of(folder) != before

    def test_a_tree_and_a_checkpoint_are_remembered_apart(self, workspace, folder):
        """A folder that was digested as a tree still tells its files."""
        memory = DigestMemory(workspace)
        memory.tree(folder)
        assert memory.checkpoint_files(folder) == list_files(folder)
