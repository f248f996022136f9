"""A package that is not of the checkpoint is found, wherever the difference is."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.deployment.mlc.check import check_mlc
from harness.deployment.mlc.export import export_package
from harness.deployment.mlc.options import MlcOptions
from harness.rules.finding import Severity
from harness.validation.foreign.package import read_package
from harness.validation.listing import list_folder
from tests.deployment.mlc.conftest import SMALL_SHARDS, cut

QUIET = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def rules(findings):
    return {finding.rule for finding in findings}


def edit(path, change):
    """Change a JSON file by ``change(content)``."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def flip(package, place, *, with_digest=False):
    """Turn one bit of the shards, counted through all of them; optionally state the new MD5."""
    index = json.loads((package / "tensor-cache.json").read_text())
    for shard in index["records"]:
        if place < 8 * shard["nbytes"]:
            path = package / shard["dataPath"]
            content = bytearray(path.read_bytes())
            content[place // 8] ^= 1 << place % 8
            path.write_bytes(content)
            if with_digest:
                shard["md5sum"] = hashlib.md5(content, usedforsecurity=False).hexdigest()
                (package / "tensor-cache.json").write_text(json.dumps(index))
            return path.name, place // 8
        place -= 8 * shard["nbytes"]
    raise AssertionError("beyond the shards")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_checkpoints):
    """A package that is right, never to be written to, with its checkpoint."""
    out = tmp_path_factory.mktemp("whole") / "package"
    export_package(tiny_checkpoints["llama"], out, SMALL_SHARDS)
    return tiny_checkpoints["llama"], out


@pytest.fixture
def copied(tmp_path, whole):
    return whole[0], shutil.copytree(whole[1], tmp_path / "copy")


class TestRight:
    @pytest.mark.parametrize("layout", ["plain", "transposed"])
    @pytest.mark.parametrize("quantization", ["q0f16", "q0f32"])
    def test_has_no_finding(self, tmp_path, tiny_checkpoint, quantization, layout):
        """Every architecture, dtype and layout that we write passes."""
        options = MlcOptions(quantization=quantization, weight_layout=layout, max_shard_bytes=40_000)
        export_package(tiny_checkpoint, tmp_path / "package", options)
        assert check_mlc(tmp_path / "package", tiny_checkpoint) == ()

    @pytest.mark.parametrize("kind", ["widths", "ranks", "fused", "everything"])
    def test_of_a_structured_checkpoint(self, tmp_path, tiny_checkpoint, kind):
        """With a definition of our own as without."""
        source = cut(tiny_checkpoint, tmp_path / "cut", kind)
        export_package(source, tmp_path / "package", SMALL_SHARDS)
        assert check_mlc(tmp_path / "package", source) == ()

    def test_of_a_stranger(self, copied):
        """Another name of the index, another order of fields, fields more: what MLC reads decides."""
        checkpoint, package = copied
        edit(package / "tensor-cache.json", lambda index: index.update(extra=1))
        (package / "tensor-cache.json").rename(package / "ndarray-cache.json")
        (package / "package.json").unlink()
        assert check_mlc(package, checkpoint) == ()

    def test_the_validator_agrees(self, packed):
        """The organisers' reader, which knows the index alone and is other code, finds nothing either."""
        assert read_package(list_folder(packed[1], max_files=100, max_depth=2), "").findings == ()


class TestFlippedBit:
    @QUIET
    @given(data=st.data(), with_digest=st.booleans())
    def test_is_found_wherever_it_is(self, tmp_path_factory, whole, data, with_digest):
        """Any one bit of any shard, also with an MD5 that was made to fit: file, tensor and byte are named."""
        package = shutil.copytree(whole[1], tmp_path_factory.mktemp("flip") / "package")
        size = sum(path.stat().st_size for path in package.glob("params_shard_*.bin"))
        place = data.draw(st.integers(0, 8 * size - 1))
        name, offset = flip(package, place, with_digest=with_digest)
        found = check_mlc(package, whole[0])
        assert rules(found) == ({"mlc.values"} if with_digest else {"mlc.values", "mlc.files"})
        values = next(finding for finding in found if finding.rule == "mlc.values")
        assert (values.place.file, values.place.byte_offset) == (name, offset)
        assert values.severity is Severity.ERROR

    def test_in_the_transposed_layout(self, tmp_path, tiny_checkpoints):
        """As exactly as in the plain one."""
        options = MlcOptions(weight_layout="transposed", max_shard_bytes=40_000)
        export_package(tiny_checkpoints["qwen2"], tmp_path / "package", options)
        name, offset = flip(tmp_path / "package", 300_001, with_digest=True)
        (found,) = check_mlc(tmp_path / "package", tiny_checkpoints["qwen2"])
        assert (found.place.file, found.place.byte_offset) == (name, offset)


def first_record(index):
    return index["records"][0]["records"][1]


def swap_names(index):
    records = {record["name"]: record for shard in index["records"] for record in shard["records"]}
    one = records["model.layers.0.input_layernorm.weight"]
    other = records["model.layers.0.post_attention_layernorm.weight"]
    one["name"], other["name"] = other["name"], one["name"]


INDEX_FAULTS = {
    "mlc.names": [
        lambda index: first_record(index).update(name="model.layers.9.self_attn.qkv_proj.weight"),
        lambda index: first_record(index).update(shape=[*first_record(index)["shape"], 1]),
    ],
    "mlc.records": [
        lambda index: first_record(index).update(byteOffset=first_record(index)["byteOffset"] + 2),
        lambda index: index["metadata"].update(ParamBytes=1),
        lambda index: index["records"].append(index["records"][-1]),
    ],
    "mlc.precision": [lambda index: first_record(index).update(dtype="uint32")],
    "mlc.files": [
        lambda index: index["records"][0].update(md5sum="0" * 32),
        lambda index: index["records"][0].pop("md5sum"),
        lambda index: index["records"][0].update(dataPath="../package/params_shard_0.bin"),
        lambda index: index["records"][0].update(dataPath="params_shard_99.bin"),
    ],
    "mlc.form": [lambda index: index.pop("records"), lambda index: index["records"][0].update(format="zip")],
}
CONFIG_FAULTS = {
    "mlc.tokens": [
        lambda config: config["conv_template"].update(stop_token_ids=[128001]),
        lambda config: config["conv_template"].update(stop_token_ids=[]),
        lambda config: config.update(eos_token_id=261),
    ],
    "mlc.settings": [
        lambda config: config.update(vocab_size=262),
        lambda config: config.update(model_type="qwen2"),
        lambda config: config["model_config"].update(position_embedding_base=500000),
        lambda config: config["model_config"].pop("num_key_value_heads"),
    ],
    "mlc.precision": [lambda config: config.update(quantization="q4f16_1")],
    "mlc.files": [lambda config: config["tokenizer_files"].append("tokenizer.model")],
}


def cases(faults):
    return [(rule, change) for rule, changes in faults.items() for change in changes]


def leaves(value, path=()):
    """Paths of everything within a JSON value."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))


NONSENSE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


class TestNonsense:
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data(), name=st.sampled_from(["tensor-cache.json", "mlc-chat-config.json"]), value=NONSENSE)
    def test_never_raises(self, tmp_path_factory, whole, data, name, value):
        """Whatever stands in whichever field: findings or none, and every finding can be printed."""
        package = shutil.copytree(whole[1], tmp_path_factory.mktemp("nonsense") / "package")
        content = json.loads((package / name).read_text())
        path = data.draw(st.sampled_from([path for path in leaves(content) if path]))
        place = content
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        (package / name).write_text(json.dumps(content))
        for finding in check_mlc(package, whole[0]):
            assert finding.message.isprintable()
            assert finding.found.isprintable()


class TestFaults:
    @pytest.mark.parametrize(("rule", "change"), cases(INDEX_FAULTS))
    def test_of_the_index(self, copied, rule, change):
        """Whatever the index says that is not so."""
        edit(copied[1] / "tensor-cache.json", change)
        assert rule in rules(check_mlc(copied[1], copied[0]))

    @pytest.mark.parametrize(("rule", "change"), cases(CONFIG_FAULTS))
    def test_of_the_settings(self, copied, rule, change):
        """Whatever the settings say that is not the checkpoint's."""
        edit(copied[1] / "mlc-chat-config.json", change)
        assert rule in rules(check_mlc(copied[1], copied[0]))

    def test_weights_in_each_others_place(self, tmp_path, tiny_checkpoints):
        """Two tensors of one shape under each other's name: only the values tell."""
        from safetensors.numpy import load_file, save_file

        source = shutil.copytree(tiny_checkpoints["llama"], tmp_path / "source")
        tensors = load_file(source / "model.safetensors")
        tensors["model.layers.0.input_layernorm.weight"][5] = 0.25
        save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
        export_package(source, tmp_path / "package")
        edit(tmp_path / "package" / "tensor-cache.json", swap_names)
        found = check_mlc(tmp_path / "package", source)
        assert rules(found) == {"mlc.values"}
        assert len(found) == 2

    def test_another_tokenizer(self, copied):
        """One byte of it."""
        path = copied[1] / "tokenizer.json"
        path.write_bytes(path.read_bytes() + b" ")
        (found,) = check_mlc(copied[1], copied[0])
        assert (found.rule, found.place.file) == ("mlc.tokenizer", "tokenizer.json")

    @pytest.mark.parametrize("name", ["tensor-cache.json", "mlc-chat-config.json", "params_shard_1.bin"])
    @pytest.mark.parametrize("fault", ["missing", "link", "short", "nonsense"])
    def test_a_file_that_is_none(self, copied, name, fault):
        """Missing, a link out of the package, cut short or no JSON: a finding, never an exception."""
        path = copied[1] / name
        content = path.read_bytes()
        path.unlink()
        if fault == "link":
            path.symlink_to("/etc/hostname")
        elif fault != "missing":
            path.write_bytes(content[:-3] if fault == "short" else b"\xff{" + content[2:])
        assert any(finding.severity is Severity.ERROR for finding in check_mlc(copied[1], copied[0]))

    def test_float32_in_half_of_its_bits(self, tmp_path, tiny_checkpoints):
        """What mlc_llm makes of ``q0f32``: a package whose weights are bfloat16, and it says so."""
        export_package(tiny_checkpoints["llama"], tmp_path / "package", MlcOptions(quantization="q0f32"))
        package, offset = tmp_path / "package", 0
        index = json.loads((package / "tensor-cache.json").read_text())
        (shard,) = index["records"]
        values = np.frombuffer((package / shard["dataPath"]).read_bytes(), "<u4")
        rounded = (values + 0x7FFF + ((values >> 16) & 1) >> 16).astype("<u2").tobytes()
        for record in shard["records"]:
            record.update(format="f32-to-bf16", nbytes=record["nbytes"] // 2, byteOffset=offset)
            offset += record["nbytes"]
        shard.update(nbytes=len(rounded), md5sum=hashlib.md5(rounded, usedforsecurity=False).hexdigest())
        (package / shard["dataPath"]).write_bytes(rounded)
        (package / "tensor-cache.json").write_text(json.dumps(index))
        found = check_mlc(package, tiny_checkpoints["llama"])
        assert {(finding.rule, finding.severity) for finding in found} == {("mlc.precision", Severity.WARNING)}
