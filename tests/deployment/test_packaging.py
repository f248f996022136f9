"""A package is made in a process of its own, and counts once it was held against the checkpoint."""

from __future__ import annotations

import json

import pytest

from harness.containment import Limits
from harness.deployment.mlc.options import MlcOptions
from harness.deployment.packaging import PackagingWork, check_stranger, make_package
from harness.errors import EngineFailed

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
