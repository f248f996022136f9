"""The definition for MLC computes what the checkpoint computes, from the weights of the package."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from harness.checkpoint.checkpoint import read_config, read_described_config
from harness.deployment.mlc.definition import definition_source
from harness.deployment.mlc.export import export_package
from harness.errors import UsageError
from harness.methods.models import load
from harness.pico import catalogue
from harness.surgery.shape import config_with_exits
from tests.deployment.mlc.conftest import cut
from tests.deployment.mlc.stand_ins import logits, run_definition
from tests.deployment.mlc.test_export import tensors_of
from tests.surgery.conftest import write_checkpoint

TOKENS = torch.arange(3, 43)


def expected(path):
    with torch.no_grad():
        return load(path)(input_ids=TOKENS[None], use_cache=False).logits


def found(path, folder, monkeypatch):
    """Logits of the package of ``path`` by the definition in it."""
    export_package(path, folder)
    source = (folder / "mlc_model.py").read_text()
    weights = {name: np.array(part) for name, part in tensors_of(folder).items()}
    return logits(run_definition(source, monkeypatch), weights, TOKENS)


class TestDefinition:
    @pytest.mark.parametrize("kind", ["widths", "ranks", "fused", "heads", "everything"])
    def test_computes_what_the_checkpoint_computes(self, tmp_path, tiny_checkpoint, monkeypatch, kind):
        """Widths, head counts, factors and fused linears of every architecture: the logits are the checkpoint's."""
        path = cut(tiny_checkpoint, tmp_path / "cut", kind)
        torch.testing.assert_close(found(path, tmp_path / "package", monkeypatch), expected(path), atol=2e-5, rtol=2e-4)

    @pytest.mark.parametrize("name", ["pico-qwen2", "pico-phi"])
    def test_of_heads_that_do_not_make_up_the_hidden_size(self, tmp_path, monkeypatch, name):
        """A uniform model that MLC's own class would refuse is described by the same definition."""
        path = catalogue.path(name)
        torch.testing.assert_close(found(path, tmp_path / "package", monkeypatch), expected(path), atol=5e-4, rtol=1e-3)

    @pytest.mark.parametrize("case", ["qwen3", "mistral", "llama-biased", "phi"])
    def test_of_architectures_and_options_that_mlc_calls_otherwise(self, tmp_path, tiny_checkpoints, monkeypatch, case):
        """Norms of queries and keys, biases, Phi with fewer KV heads: whatever has an anatomy has a definition."""
        path = write_checkpoint(case, tmp_path / "checkpoint", dtype=torch.float16)
        shutil.copyfile(tiny_checkpoints["llama"] / "tokenizer.json", path / "tokenizer.json")
        weights = {name: np.array(part) for name, part in load_file(path / "model.safetensors").items()}
        registered = run_definition(definition_source(read_config(path)), monkeypatch)
        torch.testing.assert_close(logits(registered, weights, TOKENS), expected(path), atol=2e-4, rtol=1e-3)

    def test_holds_only_for_its_checkpoint(self, tmp_path, tiny_checkpoints, monkeypatch):
        """A configuration with another vocabulary, or a split over devices, is refused by the definition itself."""
        config = read_described_config(cut(tiny_checkpoints["llama"], tmp_path / "cut", "widths"))
        registered = run_definition(definition_source(config), monkeypatch)
        with pytest.raises(ValueError, match="vocab_size must be 261, found 300"):
            registered.config.from_dict({"vocab_size": 300})
        with pytest.raises(ValueError, match="not split"):
            registered.config.from_dict({"tensor_parallel_shards": 2})

    def test_is_data_and_one_text(self, tmp_path, tiny_checkpoints):
        """Nothing but the description differs between two models."""
        texts = []
        for kind in ("widths", "ranks"):
            path = cut(tiny_checkpoints["qwen2"], tmp_path / kind, kind)
            source = definition_source(read_described_config(path))
            before, _, rest = source.partition('json.loads(r"""')
            description, _, after = rest.partition('"""')
            assert json.loads(description)["model_type"] == "qwen2"
            texts.append(before + after)
        assert texts[0] == texts[1]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"hidden_act": "relu2"}, "hidden_act 'relu2'"),
            ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1.0}}, "rotation 'yarn'"),
        ],
    )
    def test_what_mlc_cannot_compute(self, tiny_checkpoints, change, message):
        """An activation or a rotation that MLC's operators lack is refused, not written and left to fail."""
        with pytest.raises(UsageError, match=message):
            definition_source(read_config(tiny_checkpoints["llama"]) | change)

    def test_a_vote_of_exits(self, tiny_checkpoints):
        """A definition computes the last exit alone, so a model whose exits vote gets none."""
        voting = config_with_exits(read_config(tiny_checkpoints["llama"]), (0, 1))
        with pytest.raises(UsageError, match="before its exits voted"):
            definition_source(voting)
