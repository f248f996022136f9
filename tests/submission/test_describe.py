from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.checkpoint.checkpoint import Checkpoint, list_files
from harness.errors import CheckpointCorrupt
from harness.submission.describe import checkpoint_parameters, describe_checkpoint
from tests.validation.make import write_checkpoint


class TestDescribeCheckpoint:
    def test_is_named_by_the_digest_of_the_checkpoint(self, tmp_path):
        """The record and ``Checkpoint.of`` give one name to the same bytes."""
        path = write_checkpoint(tmp_path / "model", seed=1, hidden=8)
        record = describe_checkpoint(path, location="llama/final")
        assert record.checkpoint_digest == Checkpoint.of(path).digest
        assert (record.parameter_count, record.weights_bytes, record.dtypes) == (320, 640, ("F16",))
        assert [file.name for file in record.files] == ["config.json", "model.safetensors"]
        assert str(tmp_path) not in record.model_dump_json()

    def test_known_files_are_not_read_again(self, tmp_path, monkeypatch):
        """With the files' digests at hand, the record is the same without a look at the weights."""
        path = write_checkpoint(tmp_path / "model", seed=1, hidden=8)
        read, files = describe_checkpoint(path), list_files(path)
        monkeypatch.setattr("harness.submission.describe.list_files", lambda path: pytest.fail(f"{path} is read again"))
        assert describe_checkpoint(path, files=files) == read
        assert checkpoint_parameters(path) == read.parameter_count

    @pytest.mark.parametrize(("tied", "expected"), [(True, 320), (False, 320 + 256)])
    def test_a_tied_output_embedding_counts_once(self, tmp_path, tied, expected):
        """A stored ``lm_head.weight`` is a parameter of its own only where the config does not tie it."""
        path = write_checkpoint(tmp_path / "model", seed=1, hidden=8)
        tensors = {
            "model.embed_tokens.weight": np.zeros((32, 8), np.float16),
            "model.layers.0.mlp.up_proj.weight": np.zeros((8, 8), np.float16),
            "lm_head.weight": np.zeros((32, 8), np.float16),
        }
        save_file(tensors, path / "model.safetensors")
        (path / "config.json").write_text(json.dumps({"tie_word_embeddings": tied}))
        assert describe_checkpoint(path).parameter_count == expected

    def test_dtypes_are_sorted_and_named_once(self, tmp_path):
        """Mixed precision is visible in the record."""
        path = write_checkpoint(tmp_path / "model", seed=1, hidden=8)
        save_file(
            {"a": np.zeros(2, np.float32), "b": np.zeros(2, np.float16), "c": np.zeros(2, np.float16)},
            path / "model.safetensors",
        )
        assert describe_checkpoint(path).dtypes == ("F16", "F32")

    def test_a_broken_checkpoint_has_no_record(self, tmp_path):
        """What cannot be read is not described."""
        path = write_checkpoint(tmp_path / "model", seed=1, hidden=8)
        (path / "model.safetensors").write_bytes(b"\xff" * 20)
        with pytest.raises(CheckpointCorrupt):
            describe_checkpoint(path)
