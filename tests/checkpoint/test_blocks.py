"""Every byte comes once, in order, with its neighbours; what is no plain file is never read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checkpoint.blocks import BORDER_BYTES, Chunk, blocks, chunks_of, new_buffer, open_plain, over_chunks
from harness.errors import CheckpointCorrupt
from harness.progress import silent


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("blocks") / "bytes"
    path.write_bytes(bytes(range(256)))
    return path


class TestBlocks:
    @given(chunk_bytes=st.integers(1, 300), block_bytes=st.integers(1, 300))
    def test_grid(self, file, chunk_bytes, block_bytes):
        """Put together, the blocks of all chunks are the file."""
        buffer, found = new_buffer(block_bytes), b""
        for chunk in chunks_of(file, 256, chunk_bytes):
            for start, stop in blocks(chunk, buffer):
                assert start == len(found)
                found += bytes(buffer[: stop - start])
        assert found == file.read_bytes()

    @given(block_bytes=st.integers(1, 300))
    def test_border(self, file, block_bytes):
        """Behind a block stand the bytes that follow it in the file, across chunks too."""
        buffer, content = new_buffer(block_bytes), file.read_bytes()
        for chunk in chunks_of(file, 256, 100):
            for start, stop in blocks(chunk, buffer):
                behind = content[stop : stop + BORDER_BYTES]
                assert bytes(buffer[stop - start :][: len(behind)]) == behind

    def test_empty_file(self, tmp_path):
        """No bytes, no chunks."""
        assert list(chunks_of(tmp_path / "empty", 0)) == []


class TestOpenPlain:
    def test_link(self, file, tmp_path):
        """A link is refused, wherever it leads."""
        (tmp_path / "link").symlink_to(file)
        with pytest.raises(CheckpointCorrupt, match="cannot be read"), open_plain(tmp_path / "link", 256):
            pass

    @pytest.mark.timeout(20)
    def test_pipe(self, tmp_path):
        """A pipe is refused at once, and not waited for."""
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(CheckpointCorrupt, match="must be a file"), open_plain(tmp_path / "pipe", 0):
            pass

    def test_other_size(self, file):
        """A file that grew or shrank since its layout was read is refused."""
        with (
            pytest.raises(CheckpointCorrupt, match="must be a file of 255 bytes, found 256 now"),
            open_plain(file, 255),
        ):
            pass

    def test_descriptors_are_closed(self, file):
        """After many files, none is open."""
        before = len(list(Path("/proc/self/fd").iterdir()))
        for chunk in chunks_of(file, 256, 1):
            list(blocks(chunk, new_buffer(1)))
        assert len(list(Path("/proc/self/fd").iterdir())) == before


class TestOverChunks:
    @pytest.mark.parametrize("workers", [1, 2, 5])
    def test_order(self, file, workers):
        """Results stand in the order of the chunks, however many threads there are."""
        chunks = list(chunks_of(file, 256, 1))
        found = over_chunks(self.first_byte, chunks, workers=workers, label="reading", progress=silent)
        assert list(found) == list(range(256))

    @pytest.mark.parametrize("workers", [1, 2])
    def test_errors_come_through(self, file, workers):
        """What a thread raises, the caller gets."""
        chunks = [Chunk(path=file, start=0, stop=1, file_bytes=256), Chunk(path=file, start=0, stop=1, file_bytes=9)]
        with pytest.raises(CheckpointCorrupt):
            list(over_chunks(self.first_byte, chunks, workers=workers, label="reading", progress=silent))

    def test_progress(self, file):
        """It is told of every chunk and of the end."""
        told = []
        chunks = list(chunks_of(file, 256, 100))
        list(over_chunks(self.first_byte, chunks, workers=1, label="reading", progress=lambda *call: told.append(call)))
        assert [done for _, done, _, *_ in told] == [0, 1, 2, 3]
        assert {(label, total) for label, _, total, *_ in told} == {("reading", 3)}

    def test_no_workers(self):
        """At least one thread has to do it."""
        with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
            list(over_chunks(self.first_byte, [], workers=0, label="reading", progress=silent))

    @staticmethod
    def first_byte(chunk, buffer):
        assert isinstance(buffer, np.ndarray)
        for _ in blocks(chunk, buffer):
            return int(buffer[0])
        return None
