"""The files of a structured checkpoint are written and recognised without torch."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.checkpoint.structure import Structure, read_structure
from harness.errors import CheckpointCorrupt
from harness.structured import files
from harness.structured.loading import load


@pytest.fixture
def folder(llama, tmp_path):
    return llama.write(tmp_path / "s")


class TestModelingFile:
    def test_is_the_module_that_we_load_with(self):
        """What is shipped is what the harness itself runs."""
        from harness.structured import modeling_structured

        content = files.modeling_bytes()
        assert content == Path(modeling_structured.__file__).read_bytes()
        assert files.modeling_digest() == hashlib.sha256(content).hexdigest()

    def test_needs_nothing_of_ours(self):
        """It imports torch, transformers and the standard library."""
        imports = [line.split() for line in files.modeling_bytes().decode().splitlines() if is_import(line)]
        found = {words[1].partition(".")[0] for words in imports}
        assert found - set(sys.stdlib_module_names) == {"torch", "transformers"}

    def test_is_ours_to_the_byte(self, folder):
        """One byte more, one byte less, another byte or no file: not ours."""
        file, content = folder / "modeling_structured.py", files.modeling_bytes()
        assert files.is_ours(folder)
        for other in (content + b"\n", content[:-1], content.replace(b"Apache", b"apache", 1)):
            file.write_bytes(other)
            assert not files.is_ours(folder)
        file.unlink()
        assert not files.is_ours(folder)

    def test_recognised_without_torch(self, folder):
        """Who only looks imports no engine."""
        code = (
            f"import sys, pathlib; from harness.structured import files; folder = pathlib.Path({str(folder)!r});"
            "assert files.is_ours(folder); assert files.is_structured(folder);"
            "assert not {'torch', 'transformers'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def is_import(line):
    return line.startswith(("import ", "from "))


class TestIsStructured:
    def test_says_what_config_says(self, folder, tiny_checkpoints):
        """The type in ``config.json`` decides."""
        assert files.is_structured(folder)
        assert not files.is_structured(tiny_checkpoints["llama"])

    @pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"{}"])
    def test_what_cannot_be_read_is_not(self, folder, content):
        """Whoever loads it then says why."""
        (folder / "config.json").write_bytes(content)
        assert not files.is_structured(folder)


class TestConfigFields:
    def test_keeps_and_completes(self, llama):
        """Fields of the architecture stay; sizes are the largest of the layers; the head size is said."""
        record = json.loads(json.dumps(llama.record))
        record["layers"][1] |= {"intermediate": 120, "kv_group": 1, "head": 8}
        config = {name: value for name, value in llama.config.items() if name != "head_dim"}
        fields = files.config_fields(config | {"layer_types": ["full_attention"] * 9}, Structure.model_validate(record))
        assert (fields["intermediate_size"], fields["num_key_value_heads"], fields["num_attention_heads"]) == (
            120,
            2,
            8,
        )
        assert fields["head_dim"] == 16
        assert (fields["model_type"], fields["base_model_type"]) == ("edge_structured", "llama")
        assert fields["rope_parameters"] == llama.config["rope_parameters"]
        assert "layer_types" not in fields


class TestComplete:
    def test_takes_the_structure_out(self, llama, folder, tmp_path):
        """What ``save_pretrained`` wrote becomes what surgery writes, and loads as the same model."""
        model = load(folder)
        model.save_pretrained(tmp_path / "saved")
        files.complete(tmp_path / "saved")
        assert read_structure(tmp_path / "saved") == read_structure(folder)
        assert "structure" not in json.loads((tmp_path / "saved" / "config.json").read_text())
        assert files.is_ours(tmp_path / "saved")
        assert llama.logits(load(tmp_path / "saved")).equal(llama.logits(model))

    def test_twice_is_an_error(self, folder):
        """There is nothing left to take out."""
        with pytest.raises(CheckpointCorrupt, match="is no structure"):
            files.complete(folder)
