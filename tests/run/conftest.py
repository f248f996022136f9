"""A whole run in seconds: an installed plugin that copies its student, on a tiny base, watched by a list."""

from __future__ import annotations

import importlib

import pytest

from harness.judge import edge
from harness.rules.edition import load_edition
from harness.run.preparation import prepare
from harness.run.settings import SubmitSettings
from harness.run.strategy import carry_out
from harness.run.workspace import Workspace

COPYING = """
import shutil
from typing import ClassVar, Literal
from harness import DeployRequest, Options, Package, Step, StepResult, hookimpl

class Copy(Step):
    stage: Literal["compress"] = "compress"
    method: Literal["copy"] = "copy"
    reads_data: ClassVar[bool] = False

class Copies(Options):
    steps: tuple[Copy, ...] = ()

@hookimpl
def options_model():
    return Copies

def copied(request, name):
    return shutil.copytree(request.student.path, request.workdir / name, dirs_exist_ok=True)

@hookimpl
def compress(request):
    return StepResult(checkpoint=copied(request, "made"))
"""
RECIPE = '[[step]]\nstage = "compress"\nmethod = "copy"\n'
ENTRY_POINTS = "[harness]\ncopying = copying_plugin\n[harness.interface]\ncopying = v1\n"


@pytest.fixture(autouse=True)
def without_the_edge(monkeypatch):
    """As without the extra: lowering takes half a minute, and most of a run's life has nothing to do with it."""
    monkeypatch.setattr(edge, "edge_absence", lambda: "not in this test")


class Noticed:
    """An observer that remembers what was finished."""

    def __init__(self):
        self.finished_labels = []
        self.results = {}

    def section(self, title, detail=""):
        pass

    def started(self, label):
        pass

    def event(self, event):
        pass

    def finished(self, label, result, duration_s, *, reused):
        self.finished_labels.append((label, reused))
        self.results[label] = (result, duration_s)


@pytest.fixture
def observer():
    return Noticed()


@pytest.fixture
def install_copying(tmp_path, monkeypatch):
    """Install the plugin, with more hooks at its end."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))

    def install(more=""):
        package, info = site / "copying_plugin", site / "dist_copying-1.0.dist-info"
        (package / "recipes").mkdir(parents=True)
        info.mkdir()
        (package / "__init__.py").write_text(COPYING + more)
        (package / "recipes" / "demo.toml").write_text(RECIPE)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dist-copying\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(ENTRY_POINTS)
        importlib.invalidate_caches()

    return install


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def settings(tmp_path, tiny_checkpoints):
    return SubmitSettings(
        plugin="copying",
        bases={"llama": str(tiny_checkpoints["llama"])},
        budget=1.0,
        control=False,
        out=str(tmp_path / "submissions"),
        time_limit_s=120,
        memory_limit_bytes=4 << 30,
    )


@pytest.fixture
def demo():
    return load_edition("demo")


@pytest.fixture
def carried_out(install_copying, settings, workspace, observer):
    """A plugin with the given hooks, prepared, its one step done."""

    def carry(more=""):
        install_copying(more)
        prepared = prepare(settings, workspace)
        return prepared, carry_out(prepared, prepared.models[0], observer)

    return carry
