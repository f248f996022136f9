"""Values are read in the background, once for as long as the files look the same."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.errors import CheckpointCorrupt
from harness.validation import value_scan


@pytest.fixture
def folder(tmp_path):
    save_file({"weight": np.ones((4, 4), np.float16)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return tmp_path


@pytest.fixture
def reads(monkeypatch):
    """Folders that were read."""
    seen = []
    for name in ("scan", "scan_and_list"):
        work = getattr(value_scan, name)

        def counted(path, _work=work, **settings):
            seen.append(path)
            return _work(path, **settings)

        monkeypatch.setattr(value_scan, name, counted)
    return seen


@pytest.mark.parametrize("with_digests", [True, False])
def test_what_was_begun_is_not_read_again(folder, reads, with_digests):
    value_scan.begin(folder, with_digests=with_digests)
    found, files = value_scan.scanned(folder, with_digests=with_digests)
    assert [tensor.largest_magnitude for tensor in found.tensors] == [1.0]
    assert [file.name for file in files] == (["config.json", "model.safetensors"] if with_digests else [])
    assert reads == [folder]


def test_a_file_that_changed_is_read_again(folder, reads):
    before, _ = value_scan.scanned(folder, with_digests=False)
    save_file({"weight": np.full((4, 4), np.nan, np.float16)}, folder / "model.safetensors")
    after, _ = value_scan.scanned(folder, with_digests=False)
    assert (before.is_finite, after.is_finite) == (True, False)
    assert reads == [folder, folder]


def test_what_cannot_be_read_is_said_to_who_asks(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    value_scan.begin(folder, with_digests=False)
    with pytest.raises(CheckpointCorrupt, match=r"model\.safetensors"):
        value_scan.scanned(folder, with_digests=False)


def test_few_results_are_kept(folder):
    value_scan.scanned(folder, with_digests=False)
    for number in range(value_scan.KEPT):
        save_file({f"weight.{number}": np.ones(2, np.float16)}, folder / "model.safetensors")
        value_scan.scanned(folder, with_digests=False)
    assert len(value_scan._begun) == value_scan.KEPT
