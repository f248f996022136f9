"""A package is made in a process of its own, and counts once it was held against the checkpoint."""

from __future__ import annotations

import json

import pytest

from harness.containment import Limits
from harness.deployment import packaging_worker
from harness.deployment.executorch import check_worker
from harness.deployment.executorch import export as export_module
from harness.deployment.mlc.options import MlcOptions
from harness.deployment.packaging import PackagingRequest, PackagingWork, check_stranger, make_package
from harness.errors import EngineFailed
from harness.options import NoOptions
from harness.progress import silent
from tests.deployment.executorch.test_check import FOUND

LIMITS = Limits(time_s=600, memory_bytes=4 << 30)


def work(checkpoint, out, **changes):
    settings = {"target": "mlc", "limits": LIMITS} | changes
    return PackagingWork(checkpoint=checkpoint, out=out, work_dir=out.with_name("work"), **settings)


class TestMakePackage:
    def test_reports_manifest_and_checks(self, tmp_path, tiny_checkpoints):
        """What was made, what was compared, and progress on the way."""
        events = []
        made = make_package(work(tiny_checkpoints["llama"], tmp_path / "package"), events.append)
        assert made.manifest == json.loads((tmp_path / "package" / "package.json").read_text())
        assert "bit for bit" in made.checks[0]
        assert {event["label"] for event in events} == {"packing for mlc", "comparing with the checkpoint"}

    @pytest.mark.slow
    def test_for_executorch(self, tmp_path, tiny_checkpoints):
        """The same way in and out for the other runtime, with its own check."""
        pytest.importorskip("executorch")
        made = make_package(work(tiny_checkpoints["llama"], tmp_path / "package", target="executorch"), print)
        assert made.manifest["format"] == "executorch"
        assert "greedy tokens" in made.checks[1]

    @pytest.mark.parametrize("difference", [0.01, 0.03])
    def test_an_executorch_package_has_its_name_once_it_was_checked(self, tmp_path, monkeypatch, difference):
        """One that computes something else leaves nothing behind; while it is checked it has another name."""
        checked = []

        def export(_checkpoint, out, _options, _progress):
            out.mkdir()
            return NoOptions()

        def compare(request, _progress):
            checked.append(request.package)
            return FOUND.model_copy(update={"largest_difference": difference})

        monkeypatch.setattr(export_module, "export_package", export)
        monkeypatch.setattr(check_worker, "compare", compare)
        request = PackagingRequest(result="", target="executorch", checkpoint="", package=str(tmp_path / "package"))
        if difference <= FOUND.bound:
            assert packaging_worker.answer(request, silent).executorch.largest_difference == difference
            assert [path.name for path in tmp_path.iterdir()] == ["package"]
        else:
            with pytest.raises(EngineFailed, match="package package: its logits differ"):
                packaging_worker.answer(request, silent)
            assert not list(tmp_path.iterdir())
        assert checked == [str(tmp_path / ".package.unchecked")]

    def test_a_fault_in_the_checkpoint_is_told(self, tmp_path, tiny_checkpoints):
        """The child's own words, and no half of a package."""
        options = MlcOptions(conversation="llama-3")
        with pytest.raises(EngineFailed, match=r"mlc package of llama: .*never stop"):
            make_package(work(tiny_checkpoints["llama"], tmp_path / "package", mlc=options), print)
        assert not (tmp_path / "package").exists()

    def test_stays_within_its_limits(self, tmp_path, tiny_checkpoints):
        """Too little memory ends it with a message, not with a dead machine."""
        small = Limits(time_s=120, memory_bytes=8 << 20)
        with pytest.raises(EngineFailed, match=r"stopped at \d+ bytes of memory, allowed 8388608"):
            make_package(work(tiny_checkpoints["llama"], tmp_path / "package", limits=small), print)
        assert not (tmp_path / "package").exists()


class TestCheckStranger:
    def test_finds_another_model(self, tmp_path, tiny_checkpoints):
        """A package of one model held against another one."""
        make_package(work(tiny_checkpoints["llama"], tmp_path / "package"), print)
        found = check_stranger(work(tiny_checkpoints["qwen2"], tmp_path / "package"), print)
        assert {"mlc.settings", "mlc.names"} <= {finding.rule for finding in found}
        assert check_stranger(work(tiny_checkpoints["llama"], tmp_path / "package"), print) == ()
