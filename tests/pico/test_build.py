"""`harness pico build` in miniature, and the catalogue that guards what it made."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from harness.errors import CheckpointCorrupt, UsageError
from harness.pico import catalogue
from harness.pico.build import BuildSettings, build
from harness.progress import silent

SMALL = BuildSettings(
    steps=3, batch_size=2, window_tokens=160, vocabulary_size=400, vocabulary_items=50, layers=1, intermediate=16
)


class TestBuild:
    """`build`."""

    def test_same_seed_same_bytes(self, tmp_path):
        """Two builds give the same digests, and what they wrote loads as the stock classes in FP16."""
        from transformers import AutoModelForCausalLM

        names = ["pico-llama", "pico-phi"]
        first = build(names, tmp_path / "a", SMALL, jobs=2, progress=silent)
        assert build(names, tmp_path / "b", SMALL, jobs=1, progress=silent) == first
        assert json.loads((tmp_path / "a" / catalogue.DIGESTS).read_text()) == first
        for name in names:
            model = AutoModelForCausalLM.from_pretrained(tmp_path / "a" / name)
            assert str(model.dtype) == "torch.float16"
            assert model.generation_config.eos_token_id == 2


class TestCatalogue:
    """`catalogue`."""

    def test_importing_needs_no_torch(self):
        """The catalogue answers without torch."""
        code = "import sys, harness.pico.catalogue as c; c.names(); sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

    @pytest.mark.parametrize("name", catalogue.shipped_digests())
    def test_shipped_model_is_whole_and_small(self, name):
        """Every shipped file has its digest, and the weights fit six megabytes."""
        folder = catalogue.path(name)
        assert (folder / "model.safetensors").stat().st_size <= 6_000_000

    def test_unknown_name(self):
        """The message names what there is."""
        with pytest.raises(UsageError, match="pico-llama"):
            catalogue.path("pico-gpt")

    def test_changed_file_is_noticed(self, tmp_path, monkeypatch):
        """A changed byte is a corrupt checkpoint."""
        monkeypatch.setattr(catalogue, "models_folder", lambda: tmp_path)
        monkeypatch.setattr(catalogue, "shipped_digests", lambda: {"pico-llama": {"config.json": "0" * 64}})
        (tmp_path / "pico-llama").mkdir()
        (tmp_path / "pico-llama" / "config.json").write_text("{}")
        with pytest.raises(CheckpointCorrupt, match=r"config\.json"):
            catalogue.path("pico-llama")
