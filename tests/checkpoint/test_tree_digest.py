"""A changed byte is traced to its chunk and tensor; a record that does not hold together is refused."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.checkpoint.header import read_header
from harness.checkpoint.tree_digest import TreeDigest, compare, touched_tensors, tree_digest, verify
from harness.errors import CheckpointCorrupt
from tests.checkpoint.make import write_checkpoint

CHUNK = 64


@pytest.fixture
def folder(tmp_path):
    """Two shards, a configuration and an empty file."""
    half = np.arange(200, dtype=np.float16)
    path = write_checkpoint(tmp_path / "c", [{"a": ("F16", half), "b": ("F16", half)}, {"c": ("F16", half)}])
    (path / "empty.txt").write_bytes(b"")
    return path


def digest(path, **options):
    return tree_digest(path, chunk_bytes=CHUNK, **options)


class TestTreeDigest:
    def test_chunks_are_sha256(self, folder):
        """Anyone can recompute a chunk."""
        for file in digest(folder).files:
            content = (folder / file.name).read_bytes()
            pieces = [content[start : start + CHUNK] for start in range(0, len(content), CHUNK)]
            assert file.chunks == tuple(hashlib.sha256(piece).hexdigest() for piece in pieces)

    def test_files(self, folder):
        """All but hidden files are part of it, by name; an empty one has no chunks."""
        (folder / ".hidden").write_text("x")
        names = [file.name for file in digest(folder).files]
        assert names == sorted(entry.name for entry in folder.iterdir() if entry.name != ".hidden")
        assert digest(folder).files[names.index("empty.txt")].chunks == ()

    @pytest.mark.parametrize("workers", [1, 2, 7])
    def test_threads_do_not_matter(self, folder, workers):
        """The same bytes have the same root."""
        assert digest(folder, workers=workers) == digest(folder)

    def test_name_is_part_of_the_root(self, folder):
        """A renamed file makes another root."""
        before = digest(folder)
        (folder / "empty.txt").rename(folder / "empty2.txt")
        assert digest(folder).root != before.root

    def test_link(self, folder, tmp_path):
        """A link is refused, wherever it leads."""
        (tmp_path / "outside").write_text("x")
        (folder / "link").symlink_to(tmp_path / "outside")
        with pytest.raises(CheckpointCorrupt, match="no folders and no links"):
            digest(folder)

    def test_folder(self, folder):
        """A folder inside is refused."""
        (folder / "inner").mkdir()
        with pytest.raises(CheckpointCorrupt, match="no folders and no links"):
            digest(folder)

    def test_no_checkpoint(self, tmp_path):
        """A folder without a configuration is none."""
        with pytest.raises(CheckpointCorrupt, match=r"no config\.json"):
            digest(tmp_path)

    def test_chunks_without_bytes(self, folder):
        """A chunk has at least one byte."""
        with pytest.raises(ValueError, match="chunk_bytes must be at least 1, got 0"):
            tree_digest(folder, chunk_bytes=0)

    def test_round_trip(self, folder, tmp_path):
        """Written and read, it is the same."""
        digest(folder).write(tmp_path / "tree.json")
        assert TreeDigest.read(tmp_path / "tree.json") == digest(folder)

    @pytest.mark.parametrize(
        "change",
        [
            lambda tree: tree["files"][0]["chunks"].reverse(),
            lambda tree: tree["files"].reverse(),
            lambda tree: tree["files"].append(tree["files"][-1]),
            lambda tree: tree["files"][0].update(size_bytes=10**6),
            lambda tree: tree["files"][0].update(name="../outside"),
            lambda tree: tree["files"][0].update(name="plain\n"),
            lambda tree: tree.update(chunk_bytes=0),
            lambda tree: tree.update(root="0" * 64),
        ],
        ids=["chunks", "order", "twice", "size", "name", "newline", "chunk size", "root"],
    )
    def test_a_record_that_was_edited(self, folder, tmp_path, change):
        """A record whose root is not that of its files is not read."""
        (folder / "a.txt").write_bytes(b"x" * CHUNK + b"y")
        tree = digest(folder).model_dump(mode="json")
        change(tree)
        (tmp_path / "tree.json").write_text(json.dumps(tree))
        with pytest.raises(ValidationError):
            TreeDigest.read(tmp_path / "tree.json")


class TestCompare:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
    @given(data=st.data())
    def test_a_flipped_bit(self, folder, data):
        """Any one bit of any file is found in its chunk, and in no other."""
        file = data.draw(st.sampled_from(sorted(entry.name for entry in folder.iterdir() if entry.stat().st_size)))
        original = (folder / file).read_bytes()
        place = data.draw(st.integers(0, len(original) - 1))
        before, changed = digest(folder, workers=1), bytearray(original)
        changed[place] ^= 1 << data.draw(st.integers(0, 7))
        (folder / file).write_bytes(changed)
        try:
            (difference,) = verify(folder, before, workers=1)
        finally:
            (folder / file).write_bytes(original)
        first = place - place % CHUNK
        assert (difference.name, difference.change) == (file, "changed")
        assert difference.spans == ((first, min(first + CHUNK, len(original))),)

    def test_its_tensor_is_named(self, folder):
        """The tensors in the changed chunk, and no others."""
        shard, before = read_header(folder / "part-0.safetensors"), digest(folder)
        with shard.path.open("r+b") as stream:
            stream.seek(shard.tensors[1].stop - 1)
            stream.write(b"\xff")
        (difference,) = verify(folder, before)
        assert touched_tensors(shard, difference) == ("b",)

    def test_same(self, folder):
        """Nothing changed, nothing is said."""
        assert verify(folder, digest(folder)) == ()

    def test_added_and_missing(self, folder):
        """Files on one side only are told apart."""
        before = digest(folder)
        (folder / "empty.txt").rename(folder / "new.txt")
        assert [(found.name, found.change) for found in verify(folder, before)] == [
            ("empty.txt", "missing"),
            ("new.txt", "added"),
        ]

    def test_neighbours_are_one_span(self, folder):
        """Chunks that lie side by side are reported as one stretch, to the end of the longer file."""
        (folder / "text").write_bytes(b"x" * (3 * CHUNK))
        before = digest(folder)
        (folder / "text").write_bytes(b"x" * CHUNK + b"y" * (2 * CHUNK) + b"z")
        (difference,) = verify(folder, before)
        assert difference.spans == ((CHUNK, 3 * CHUNK + 1),)

    def test_other_chunk_size(self, folder):
        """Digests of different grids cannot be compared."""
        with pytest.raises(ValueError, match="got 64 and 4194304 bytes"):
            compare(digest(folder), tree_digest(folder))
