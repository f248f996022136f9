"""Tensors come out as they were written."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from harness.checkpoint.dtypes import to_float32
from harness.checkpoint.reader import open_checkpoint
from harness.errors import CheckpointCorrupt


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    tensors = {
        "half": torch.randn(7, 5, 3, dtype=torch.float16),
        "brain": torch.randn(6, 4, dtype=torch.bfloat16),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path


class TestCheckpointReader:
    def test_half_is_exact(self, folder):
        """FP16 in, the same FP16 out."""
        with open_checkpoint(folder) as reader:
            torch.manual_seed(0)
            assert np.array_equal(reader.read("half"), torch.randn(7, 5, 3, dtype=torch.float16).numpy())

    def test_brain_float_has_its_values(self, folder):
        """BF16 travels as bits and widens to the values that torch gives it."""
        from safetensors.torch import load_file

        with open_checkpoint(folder) as reader:
            bits = reader.read("brain")
        assert bits.dtype == np.uint16
        assert np.array_equal(
            to_float32(bits, "BF16"), load_file(folder / "model.safetensors")["brain"].float().numpy()
        )

    @pytest.mark.parametrize("name", ["half", "brain", "scalar", "empty"])
    @pytest.mark.parametrize("chunk_bytes", [1, 64, 1 << 20])
    def test_chunks_are_the_tensor(self, folder, name, chunk_bytes):
        """Chunks put together are what ``read`` gives."""
        with open_checkpoint(folder) as reader:
            whole = reader.read(name)
            chunks = list(reader.chunks(name, chunk_bytes=chunk_bytes))
        assert np.array_equal(np.concatenate(chunks) if whole.ndim else chunks[0], whole)

    @pytest.mark.parametrize("name", ["half", "brain", "scalar", "empty"])
    @pytest.mark.parametrize("buffer_bytes", [1, 64, 1 << 20])
    def test_chunks_in_a_buffer(self, folder, name, buffer_bytes):
        """The same elements, whether a row fits the buffer or not, and though each chunk is overwritten."""
        buffer, found = np.empty(buffer_bytes, np.uint8), []
        with open_checkpoint(folder) as reader:
            whole = reader.read(name)
            for chunk in reader.chunks_into(name, buffer):
                found.append(chunk.copy())
                chunk[...] = 1
        assert np.array_equal(np.concatenate(found) if whole.ndim else found[0], whole)

    def test_chunks_lie_in_the_buffer(self, folder):
        """No other memory is taken where a row fits."""
        buffer = np.empty(64, np.uint8)
        with open_checkpoint(folder) as reader:
            assert all(np.shares_memory(chunk, buffer) for chunk in reader.chunks_into("half", buffer))

    def test_rows(self, folder):
        """Some rows are those of the whole."""
        with open_checkpoint(folder) as reader:
            assert np.array_equal(reader.rows("half", 2, 5), reader.read("half")[2:5])

    def test_missing_tensor(self, folder):
        """A tensor that is not there is named."""
        with open_checkpoint(folder) as reader, pytest.raises(CheckpointCorrupt, match="'other' is missing"):
            reader.read("other")

    def test_a_file_cut_after_opening(self, folder):
        """A file that shrinks under the reader is an error, never zeros."""
        with open_checkpoint(folder) as reader:
            with (folder / "model.safetensors").open("r+b") as stream:
                stream.truncate(reader.entry("half").start + 10)
            with pytest.raises(CheckpointCorrupt, match="ends at byte"):
                reader.read("half")


@given(bits=st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=20))
def test_widening_agrees_with_torch(bits):
    """Every 16-bit pattern, as FP16 and as BF16, NaN included."""
    patterns = np.array(bits, np.uint16)
    brain = torch.from_numpy(patterns.view(np.int16)).view(torch.bfloat16).float().numpy()
    assert np.array_equal(to_float32(patterns, "BF16"), brain, equal_nan=True)
    half = torch.from_numpy(patterns.view(np.int16)).view(torch.float16).float().numpy()
    assert np.array_equal(to_float32(patterns.view(np.float16), "F16"), half, equal_nan=True)
