"""The package that is written: MLC's form, the checkpoint's bits, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import load_file, save_file

from harness.checkpoint.checkpoint import Checkpoint
from harness.deployment.manifest import MANIFEST_NAME
from harness.deployment.mlc.export import export_package
from harness.deployment.mlc.manifest import MlcManifest
from harness.deployment.mlc.options import MlcOptions
from harness.deployment.mlc.transposed import restore
from harness.errors import CheckpointCorrupt, UsageError
from harness.pico import catalogue
from tests.deployment.mlc.conftest import SMALL_SHARDS, cut


def index_of(package):
    return json.loads((package / "tensor-cache.json").read_text())


def config_of(package):
    return json.loads((package / "mlc-chat-config.json").read_text())


def tensors_of(package, dtype="<f2"):
    """Read as a stranger would: by the index alone."""
    found = {}
    for shard in index_of(package)["records"]:
        content = (package / shard["dataPath"]).read_bytes()
        for record in shard["records"]:
            part = content[record["byteOffset"] : record["byteOffset"] + record["nbytes"]]
            found[record["name"]] = np.frombuffer(part, dtype).reshape(record["shape"])
    return found


class TestIndex:
    def test_describes_the_files(self, packed):
        """Sizes, MD5, contiguous offsets, dtype, format word and totals are as mlc_llm writes them."""
        _, package = packed
        index = index_of(package)
        records = [record for shard in index["records"] for record in shard["records"]]
        for shard in index["records"]:
            content = (package / shard["dataPath"]).read_bytes()
            assert (shard["format"], shard["nbytes"]) == ("raw-shard", len(content))
            assert shard["md5sum"] == hashlib.md5(content, usedforsecurity=False).hexdigest()
            ends = [record["byteOffset"] + record["nbytes"] for record in shard["records"]]
            assert [record["byteOffset"] for record in shard["records"]] == [0, *ends[:-1]]
            assert ends[-1] == shard["nbytes"]
        assert {(record["dtype"], record["format"]) for record in records} == {("float16", "f32-to-bf16")}
        assert all(2 * np.prod(record["shape"]) == record["nbytes"] for record in records)
        total = sum(record["nbytes"] for record in records)
        assert index["metadata"] == {"ParamSize": len(records), "ParamBytes": total, "BitsPerParam": 16}
        assert len(index["records"]) >= 3

    def test_is_small_shards_or_one(self, tmp_path, tiny_checkpoints):
        """By MLC's limit of 32 MiB a tiny model is one shard."""
        export_package(tiny_checkpoints["llama"], tmp_path / "package")
        assert [shard["dataPath"] for shard in index_of(tmp_path / "package")["records"]] == ["params_shard_0.bin"]


class TestWeights:
    def test_fused_rows_are_the_checkpoints(self, tmp_path, tiny_checkpoints):
        """q, k, v and gate, up stand one after the other, bit for bit; the rest is as it was."""
        export_package(tiny_checkpoints["llama"], tmp_path / "package", SMALL_SHARDS)
        own, found = load_file(tiny_checkpoints["llama"] / "model.safetensors"), tensors_of(tmp_path / "package")
        attention = [own[f"model.layers.1.self_attn.{part}_proj.weight"] for part in "qkv"]
        gated = [own[f"model.layers.1.mlp.{part}_proj.weight"] for part in ("gate", "up")]
        assert np.array_equal(found["model.layers.1.self_attn.qkv_proj.weight"], np.concatenate(attention))
        assert np.array_equal(found["model.layers.1.mlp.gate_up_proj.weight"], np.concatenate(gated))
        assert np.array_equal(found["lm_head.weight"], own["lm_head.weight"])

    def test_fp32_keeps_every_bit(self, tmp_path, tiny_checkpoints):
        """``q0f32`` is stored raw: not in the bfloat16 that the format's own word would make of it."""
        source = shutil.copytree(tiny_checkpoints["llama"], tmp_path / "source")
        tensors = {name: part.astype("f4") / 3 for name, part in load_file(source / "model.safetensors").items()}
        save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
        export_package(source, tmp_path / "package", MlcOptions(quantization="q0f32"))
        found = tensors_of(tmp_path / "package", "<f4")
        assert np.array_equal(found["model.norm.weight"], tensors["model.norm.weight"])
        assert np.array_equal(found["lm_head.weight"], tensors["lm_head.weight"])
        record = index_of(tmp_path / "package")["records"][0]["records"][0]
        assert (record["dtype"], record["format"]) == ("float32", "raw")

    def test_transposed_is_the_same_restored(self, tmp_path, tiny_checkpoints):
        """Another order of the same numbers, in as many bytes."""
        export_package(tiny_checkpoints["phi"], tmp_path / "plain")
        options = MlcOptions(weight_layout="transposed")
        manifest = export_package(tiny_checkpoints["phi"], tmp_path / "other", options)
        plain, other = tensors_of(tmp_path / "plain"), tensors_of(tmp_path / "other")
        for name, weight in plain.items():
            found = other[name] if weight.ndim == 1 else restore(other[name])
            assert np.array_equal(found, weight)
        assert manifest.weights_bytes == sum(weight.nbytes for weight in plain.values())

    def test_no_transposed_weights_without_a_model_for_them(self, tmp_path):
        """The generated definition reads the plain layout, so the other one is refused beside it."""
        with pytest.raises(UsageError, match="reads the plain layout"):
            export_package(catalogue.path("pico-phi"), tmp_path / "package", MlcOptions(weight_layout="transposed"))
        assert not list(tmp_path.iterdir())

    def test_a_value_beyond_fp16(self, tmp_path, tiny_checkpoints):
        """An FP32 weight that FP16 cannot hold is named, and no package is made."""
        source = shutil.copytree(tiny_checkpoints["llama"], tmp_path / "source")
        tensors = {name: part.astype("f4") for name, part in load_file(source / "model.safetensors").items()}
        tensors["model.norm.weight"][3] = 70000.0
        save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(CheckpointCorrupt, match=r"'model\.norm\.weight'.*70000 does not fit F16"):
            export_package(source, tmp_path / "package")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


class TestSettings:
    def test_say_what_the_runtime_reads(self, packed):
        """Model type, q0f16, the winner's system settings, and stop ids that the tokenizer has."""
        checkpoint, package = packed
        config = config_of(package)
        assert (config["quantization"], config["version"]) == ("q0f16", "0.1.0")
        assert (config["context_window_size"], config["prefill_chunk_size"]) == (512, 16)
        assert config["model_config"]["max_batch_size"] == 1
        assert config["model_config"]["context_window_size"] == config["context_window_size"]
        assert config["conv_template"]["stop_token_ids"] == [2]
        assert config["active_vocab_size"] == config["vocab_size"] == 261
        for name in config["tokenizer_files"]:
            assert (package / name).read_bytes() == (checkpoint / name).read_bytes()
        assert {"tokenizer.json", "tokenizer_config.json"} <= set(config["tokenizer_files"])

    @pytest.mark.parametrize("options", [{"context_window_size": 513}, {"prefill_chunk_size": 600}])
    def test_a_context_that_does_not_fit(self, tmp_path, tiny_checkpoints, options):
        """Longer than the model knows, or shorter than a chunk: refused before anything is written."""
        with pytest.raises(UsageError, match="to the 512 positions that the model knows"):
            export_package(tiny_checkpoints["llama"], tmp_path / "package", MlcOptions(**options))
        assert not list(tmp_path.iterdir())

    def test_a_chunk_longer_than_the_context(self):
        """Said where it is typed, with both numbers."""
        with pytest.raises(ValidationError, match="at most context_window_size 8, got 16"):
            MlcOptions(context_window_size=8)

    def test_a_stop_id_beyond_the_vocabulary(self, tmp_path, tiny_checkpoints):
        """What mlc_llm writes without complaint is refused here."""
        source = shutil.copytree(tiny_checkpoints["llama"], tmp_path / "source")
        (source / "generation_config.json").write_text('{"eos_token_id": [2, 128001]}')
        with pytest.raises(CheckpointCorrupt, match=r"stop ids \[128001\] lie outside the vocabulary of 261"):
            export_package(source, tmp_path / "package")


class TestManifest:
    def test_names_checkpoint_and_files(self, packed):
        """Digest of the checkpoint, every file by digest, and plainly that mlc_llm has not read it."""
        checkpoint, package = packed
        manifest = MlcManifest.read(package / MANIFEST_NAME)
        assert manifest.checkpoint_digest == Checkpoint.of(checkpoint).digest
        assert "has not read it" in manifest.state
        listed = {file.name: file.sha256 for file in manifest.files}
        on_disk = {path.name for path in package.iterdir()} - {MANIFEST_NAME}
        assert listed.keys() == on_disk
        assert all(hashlib.sha256((package / name).read_bytes()).hexdigest() == sha for name, sha in listed.items())

    def test_says_that_a_definition_is_needed(self, tmp_path, tiny_checkpoints):
        """A model that MLC cannot express comes with its definition, and the reason."""
        manifest = export_package(cut(tiny_checkpoints["llama"], tmp_path / "cut", "ranks"), tmp_path / "package")
        assert manifest.mlc_model_type == config_of(tmp_path / "package")["model_type"] == "edge_structured"
        assert manifest.custom
        assert manifest.definition == "mlc_model.py"
        assert (tmp_path / "package" / "mlc_model.py").is_file()


class TestWhole:
    def test_made_twice_is_the_same(self, tmp_path, tiny_checkpoint):
        """The same checkpoint and options, the same bytes; what stood there is replaced."""
        first = export_package(tiny_checkpoint, tmp_path / "package", SMALL_SHARDS)
        assert export_package(tiny_checkpoint, tmp_path / "package", SMALL_SHARDS) == first
        assert [path.name for path in tmp_path.iterdir()] == ["package"]

    def test_of_a_package(self, tmp_path, packed):
        """A package is not packaged again."""
        with pytest.raises(CheckpointCorrupt, match="a package already"):
            export_package(packed[1], tmp_path / "again")

    def test_without_a_tokenizer(self, tmp_path, tiny_checkpoints):
        """Weights alone are no package."""
        source = shutil.copytree(tiny_checkpoints["llama"], tmp_path / "source")
        (source / "tokenizer.json").unlink()
        with pytest.raises(CheckpointCorrupt, match=r"no tokenizer\.json"):
            export_package(source, tmp_path / "package")
