"""The examination of a machine: every line is fine, or says the way out."""

from __future__ import annotations

import sys
import types

import pytest

from harness.judge import doctor
from harness.judge.doctor import examine


@pytest.fixture
def lines(tmp_path):
    return {line.name: line for line in examine(tmp_path / "workspace")}


class TestExamine:
    def test_what_is_missing_has_a_way_out(self, lines):
        """And what is fine has none."""
        assert all(bool(line.way_out) == (line.state == "missing") for line in lines.values())
        assert all(line.found for line in lines.values())

    def test_looks_at_everything(self, lines):
        """Interpreter, packages, machine, engines, devices: a line each."""
        expected = {"python", "torch", "transformers", "threads", "memory", "disk", "edge", "mlc_llm", "opencompass"}
        assert expected | {"gpu", "phone"} <= lines.keys()

    def test_this_interpreter_is_fine(self, lines):
        """Tests run on what the harness needs."""
        assert {lines[name].state for name in ("python", "torch", "transformers")} == {"ok"}

    def test_makes_nothing(self, tmp_path):
        """Looking at a workspace that is not there does not make it."""
        examine(tmp_path / "workspace")
        assert list(tmp_path.iterdir()) == []

    def test_a_package_that_is_not_installed(self, monkeypatch):
        """It is named, with the command that installs it."""
        monkeypatch.setattr(doctor, "NEEDED", ("no-such-distribution",))
        (line,) = doctor._packages()
        assert (line.state, line.needed, line.way_out) == ("missing", True, "pip install edge-llm-harness")

    @pytest.mark.parametrize(("free", "state"), [(10**9, "missing"), (10**12, "ok")])
    def test_little_memory_is_missing_memory(self, monkeypatch, free, state):
        """What the demo wants decides."""
        monkeypatch.setattr(doctor, "_available_bytes", lambda: free)
        assert {line.name: line.state for line in doctor._machine()}["memory"] == state

    def test_the_sandboxs_own_probe_is_asked(self, monkeypatch):
        """Each property that it looks at is a line."""
        fine = types.SimpleNamespace(name="files", holds=True, by=("landlock",), lacking=(), way_out="", required=True)
        open_ = types.SimpleNamespace(
            name="network", holds=False, by=(), lacking=("no namespaces",), way_out="a newer kernel", required=False
        )
        module = types.ModuleType(doctor.SANDBOX)
        module.probe = lambda: [fine, open_]
        monkeypatch.setitem(sys.modules, doctor.SANDBOX, module)
        monkeypatch.setattr(doctor, "find_spec", lambda name: name)
        first, second = doctor._sandbox()
        assert (first.name, first.state, first.found) == ("sandbox: files", "ok", "by landlock")
        assert (second.state, second.found, second.way_out) == ("missing", "no namespaces", "a newer kernel")

    def test_a_sandbox_that_cannot_start_is_said(self, monkeypatch):
        """Its error is the line, and nothing else of the examination is lost."""
        module = types.ModuleType(doctor.SANDBOX)

        def refuse():
            raise RuntimeError("no interpreter")

        module.probe = refuse
        monkeypatch.setitem(sys.modules, doctor.SANDBOX, module)
        monkeypatch.setattr(doctor, "find_spec", lambda name: name)
        (line,) = doctor._sandbox()
        assert (line.state, line.found) == ("missing", "cannot start: no interpreter")
