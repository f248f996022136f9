"""The plain package: the checkpoint's own bytes, whole, with what a runtime must know."""

from __future__ import annotations

import json
import shutil

import pytest

from harness.checkpoint.checkpoint import Checkpoint
from harness.containment import Limits
from harness.deployment.check import check_package
from harness.deployment.manifest import MANIFEST_NAME
from harness.deployment.transformers_package import package, read_package
from harness.errors import CheckpointCorrupt, EngineFailed


@pytest.fixture
def copied(tmp_path, tiny_checkpoints):
    return shutil.copytree(tiny_checkpoints["llama"], tmp_path / "checkpoint")


def ignore(event):
    """Nobody watches."""


def set_field(file, **fields):
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


class TestPackage:
    def test_says_what_a_runtime_must_know(self, tmp_path, tiny_checkpoint):
        """The manifest states dtype, parameters, context and stop ids of the checkpoint, and names it by digest."""
        manifest = package(tiny_checkpoint, tmp_path / "package")
        assert manifest == read_package(tmp_path / "package")
        assert manifest.checkpoint_digest == Checkpoint.of(tiny_checkpoint).digest
        assert (manifest.dtypes, manifest.context_tokens, manifest.stop_ids) == (("F16",), 512, (2,))
        assert manifest.weights_bytes == 2 * manifest.parameter_count
        assert manifest.chat_template

    def test_made_twice_is_the_same(self, tmp_path, tiny_checkpoints):
        """A package replaces what stood there, with the same bytes for the same checkpoint."""
        package(tiny_checkpoints["phi"], tmp_path / "package")
        before = Checkpoint.of(tmp_path / "package").digest
        package(tiny_checkpoints["phi"], tmp_path / "package")
        assert Checkpoint.of(tmp_path / "package").digest == before

    def test_several_stop_ids(self, tmp_path, copied):
        """Generation settings come before the configuration, and their stop ids are sorted and unique."""
        set_field(copied / "generation_config.json", eos_token_id=[4, 2, 4])
        assert package(copied, tmp_path / "package").stop_ids == (2, 4)

    @pytest.mark.parametrize("ids", [None, [], 261, -1, "2", [2, 999]])
    def test_a_stop_id_outside_the_vocabulary(self, tmp_path, copied, ids):
        """A package that could never stop is not made, and no half of it stays."""
        set_field(copied / "generation_config.json", eos_token_id=ids)
        with pytest.raises(CheckpointCorrupt, match="eos_token_id must be ids within the vocabulary of 261"):
            package(copied, tmp_path / "package")
        assert not (tmp_path / "package").exists()

    def test_without_a_tokenizer(self, tmp_path, copied):
        """Weights alone are no package."""
        (copied / "tokenizer.json").unlink()
        with pytest.raises(CheckpointCorrupt, match=r"no tokenizer\.json"):
            package(copied, tmp_path / "package")

    def test_of_a_package(self, tmp_path, tiny_checkpoints):
        """A package is not packaged again: its manifest would be taken for a file of the model."""
        package(tiny_checkpoints["llama"], tmp_path / "package")
        with pytest.raises(CheckpointCorrupt, match="a package already"):
            package(tmp_path / "package", tmp_path / "again")


class TestReadPackage:
    @pytest.mark.parametrize("fault", ["changed", "missing", "foreign", "manifest"])
    def test_what_is_not_as_packaged_is_found(self, tmp_path, copied, fault):
        """One changed byte, one file too few or too many, or a broken manifest: the package is refused."""
        folder = tmp_path / "package"
        package(copied, folder)
        weights = folder / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.unlink()
        if fault != "missing":
            weights.write_bytes(content if fault == "changed" else (copied / weights.name).read_bytes())
        if fault == "foreign":
            (folder / "modeling.py").write_text("")
        if fault == "manifest":
            (folder / MANIFEST_NAME).write_text("{}")
        with pytest.raises(CheckpointCorrupt):
            read_package(folder)


class TestCheckPackage:
    def check(self, tmp_path, checkpoint, folder):
        limits = Limits(time_s=120, memory_bytes=4 << 30)
        return check_package(checkpoint, folder, work_dir=tmp_path / "work", limits=limits, on_event=ignore)

    def test_computes_what_the_checkpoint_computes(self, tmp_path, tiny_checkpoint):
        """In a fresh process the package's logits are the checkpoint's, bit for bit."""
        package(tiny_checkpoint, tmp_path / "package")
        found = self.check(tmp_path, tiny_checkpoint, tmp_path / "package")
        assert (found.largest_difference, found.same_choices, found.token_count) == (0, True, 64)
        assert found.largest_logit > 0

    def test_a_package_of_another_model(self, tmp_path, tiny_checkpoints, copied):
        """A package of other weights, however well formed, is found by what it computes."""
        from safetensors.torch import load_file, save_file

        tensors = load_file(copied / "model.safetensors")
        tensors["model.norm.weight"][0] += 1
        save_file(tensors, copied / "model.safetensors", metadata={"format": "pt"})
        package(copied, tmp_path / "package")
        with pytest.raises(EngineFailed, match="its logits differ"):
            self.check(tmp_path, tiny_checkpoints["llama"], tmp_path / "package")
