"""The list of devices: what is there, and of what is not, why."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis.strategies import lists, text

from harness.judge import devices
from harness.judge.adb import Adb
from harness.judge.devices import attached, gpus, parse_gpus, phones


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """A stand-in for the driver's tool, on the search path."""

    def make(said, code=0):
        file = tmp_path / "nvidia-smi"
        file.write_text(f"#!{sys.executable}\nimport sys\nprint({said!r})\nsys.exit({code})\n")
        file.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return make


class TestGpus:
    def test_reads_what_the_driver_lists(self, tool):
        """Index, name and memory; a part of a device, whose memory the tool does not know, is listed without."""
        tool("0, NVIDIA H100, 81559, 550.1\n1, MIG part, [N/A], 550.1")
        first, second = gpus()
        assert (first.name, first.memory_bytes, first.usable) == ("cuda:0", 81559 << 20, True)
        assert (second.name, second.memory_bytes) == ("cuda:1", None)

    @pytest.mark.parametrize(("said", "code", "why"), [("driver mismatch", 9, "ended with 9: driver"), ("", 0, "none")])
    def test_says_why_there_is_none(self, tool, said, code, why):
        """A tool that fails, or lists nothing, is one entry that says so."""
        tool(said, code)
        (entry,) = gpus()
        assert not entry.usable
        assert why in entry.detail

    def test_without_a_driver(self, monkeypatch, tmp_path):
        """No tool, no GPU: an entry, no error."""
        monkeypatch.setenv("PATH", str(tmp_path))
        assert [entry.usable for entry in gpus()] == [False]

    @given(lists(text()))
    def test_never_stumbles(self, lines):
        """Whatever the tool prints, it is a list."""
        assert all(entry.kind == "gpu" for entry in parse_gpus(lines))


class TestPhones:
    def test_every_state_is_shown(self, tmp_path):
        """A phone that waits for its owner's yes is listed, and not usable."""
        script = tmp_path / "adb"
        script.write_text("#!/bin/sh\nprintf 'List of devices attached\\nA\\tdevice model:X\\nB\\tunauthorized\\n'\n")
        script.chmod(0o755)
        found = [(entry.name, entry.usable) for entry in phones(Adb(executable=str(script)))]
        assert found == [("A", True), ("B", False)]

    def test_without_adb(self, monkeypatch, tmp_path):
        """What is missing, and where it comes from."""
        monkeypatch.setenv("PATH", str(tmp_path))
        (entry,) = phones()
        assert (entry.usable, entry.detail) == (False, devices.NO_ADB)


def test_the_list_begins_with_this_machine():
    """A host is always there and always usable."""
    first, *others = attached()
    assert (first.kind, first.usable) == ("host", True)
    assert {entry.kind for entry in others} == {"gpu", "phone"}


def test_looking_imports_no_engine():
    """Neither the list nor the examination costs an import of torch, transformers or executorch."""
    code = (
        "import sys, pathlib; from harness.judge.devices import attached; from harness.judge.doctor import examine; "
        "attached(); examine(pathlib.Path('.')); "
        "sys.exit(bool({'torch', 'transformers', 'executorch'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
