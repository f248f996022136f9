"""A package counts when it computes what the final checkpoint computes, whoever made it."""

from __future__ import annotations

import pytest

from harness.deployment.manifest import MANIFEST_NAME
from harness.deployment.transformers_package import read_package
from harness.errors import ContractBroken, EngineFailed
from harness.judge import edge
from harness.judge.edge import edge_options
from harness.options import Packaging
from harness.run import finishing
from harness.run.finishing import package_of, packaging_of
from harness.run.measuring import Measuring, Subject

DEPLOY = """
@hookimpl
def deploy(request: DeployRequest):
    folder = copied(request, "packed")
    {damage}
    return Package(path=folder, format="{format}", notes={{"by": "hand"}})
"""
CHOOSE = """
@hookimpl
def deploy(request: DeployRequest):
    from harness import Packaging
    return Packaging(context_tokens=768, prefill_chunk=16)
"""
OTHER_WEIGHTS = """
    from safetensors.numpy import load_file, save_file
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"] + 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
"""


class TestPackageOf:
    def test_the_harness_packages_where_the_plugin_is_silent(self, carried_out, observer):
        """What is recorded was loaded in a fresh process and had the checkpoint's logits; a second time it stands."""
        prepared, strategy = carried_out()
        record = package_of(prepared, strategy, observer)
        assert (record.format, record.checkpoint_digest) == ("transformers", strategy.final.digest)
        assert record.notes["check"]["largest_difference"] == 0
        assert record.notes["check"]["same_choices"]
        assert record.size_bytes == sum(file.size_bytes for file in record.files)
        assert package_of(prepared, strategy, observer) == record
        assert observer.finished_labels[-1] == ("deploy   llama final", True)

    def test_a_plugins_package_is_checked_alike(self, carried_out, observer, workspace):
        """The harness writes its manifest, and the plugin's notes stay."""
        prepared, strategy = carried_out(DEPLOY.format(damage="", format="transformers"))
        record = package_of(prepared, strategy, observer)
        assert record.notes["by"] == "hand"
        assert record.notes["check"]["largest_difference"] == 0
        (manifest,) = workspace.root.glob(f"steps/*/output/{MANIFEST_NAME}")
        assert read_package(manifest.parent).checkpoint_digest == strategy.final.digest

    @pytest.mark.parametrize(
        ("damage", "cause"),
        [
            pytest.param(OTHER_WEIGHTS, "its logits differ", id="another model"),
            pytest.param('(folder / "tokenizer.json").unlink()', r"no tokenizer\.json", id="not whole"),
        ],
    )
    def test_a_plugins_package_of_something_else_is_refused(self, carried_out, observer, damage, cause):
        """With the plugin, the hook and what was found; nothing is recorded."""
        prepared, strategy = carried_out(DEPLOY.format(damage=damage, format="transformers"))
        with pytest.raises(ContractBroken, match=rf"(?s)plugin 'copying': hook 'deploy' .*{cause}"):
            package_of(prepared, strategy, observer)
        assert "deploy   llama final" not in dict(observer.finished_labels)

    def test_a_format_without_a_runtime_here_is_not_run(self, carried_out, observer):
        """It is recorded, and says nothing of a check."""
        prepared, strategy = carried_out(DEPLOY.format(damage="", format="mlc"))
        record = package_of(prepared, strategy, observer)
        assert (record.format, record.notes) == ("mlc", {"by": "hand"})

    def test_settings_of_the_plugin(self, carried_out, observer, demo):
        """They are taken as said, within what the model knows and the protocol needs; silence is the harness's own."""
        prepared, strategy = carried_out(CHOOSE)
        chosen = packaging_of(prepared, strategy, observer)
        assert chosen == Packaging(context_tokens=768, prefill_chunk=16)
        made = edge_options({"max_position_embeddings": 512, "dtype": "float16"}, demo.measurement, chosen)
        assert (made.context_tokens, made.prefill_chunk, made.dtype) == (512, 16, "float16")
        assert package_of(prepared, strategy, observer).format == "transformers"

    @pytest.mark.slow
    def test_the_measured_package_is_filed(self, carried_out, observer, workspace, monkeypatch):
        """With the edge runtime: that very folder, by its own manifest, with what the check found; not a second one."""
        pytest.importorskip("executorch", reason="the extra `edge` is not installed")
        monkeypatch.setattr(edge, "edge_absence", lambda: None)
        prepared, strategy = carried_out(CHOOSE.replace("768", "192"))
        subject = Subject(
            label="llama final",
            checkpoint=strategy.final,
            kind="chat",
            with_performance=True,
            packaging=packaging_of(prepared, strategy, observer),
        )
        Measuring(prepared, observer)._performance(subject)
        (folder,) = (path for path in workspace.packages.iterdir() if path.is_dir())
        before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
        record = package_of(prepared, strategy, observer)
        assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir()}
        assert (record.format, record.checkpoint_digest) == ("executorch", strategy.final.digest)
        assert {file.name for file in record.files} == {path.name for path in folder.iterdir()}
        assert (record.notes["context_tokens"], record.notes["prefill_chunk"]) == (192, 16)
        assert record.notes["check"]["largest_difference"] <= record.notes["check"]["bound"]

    def test_a_fault_of_the_harness_is_not_the_plugins(self, carried_out, observer, monkeypatch):
        """Where the harness packaged, its own failure keeps its own words."""

        def fail(*_arguments, **_named):
            raise EngineFailed("package output: stopped after 1 s")

        monkeypatch.setattr(finishing, "check_package", fail)
        prepared, strategy = carried_out()
        with pytest.raises(EngineFailed, match=r"^package output") as raised:
            package_of(prepared, strategy, observer)
        assert not isinstance(raised.value, ContractBroken)
