"""Environments stand whole, are repaired, or are not there."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from dataclasses import replace

import pytest

from harness.errors import ToolchainFailed, UsageError
from harness.toolchains import provision
from harness.toolchains.catalogue import toolchain
from harness.toolchains.environment import RECORD, damaged_files, default_root, site_packages
from harness.toolchains.making import CommandFailed, Making, remark_on


def ignore(_event):
    """A receiver of events that does not care."""


def rewrite_unseen(path, text):
    """Other code that looks like the old to Python, which compares the size and the time to the second."""
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture
def made(small, root):
    return provision.install(small, root=root, on_event=ignore)


class TestInstall:
    def test_makes_what_the_constraints_say(self, made):
        """The pinned version, from the place that only pip was told about, usable and recorded."""
        answer = subprocess.run(
            [made.python, "-c", "import smallengine; print(smallengine.VALUE)"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert answer.stdout == "1\n"
        assert made.record.packages == {"smallengine": "1.0"}
        assert made.record.made_by == "uv"

    def test_says_what_it_does(self, small, root):
        """The sizes first, then what the installer says, at last that it is ready."""
        events = []
        provision.install(small, root=root, on_event=events.append)
        details = [event["detail"] for event in events]
        assert "1 MB" in details[0]
        assert str(root) in details[0]
        assert "ready" in details[-1]
        assert (events[-1]["done"], events[-1]["label"]) == (events[-1]["total"], "toolchain small")

    def test_keeps_one_that_is_whole(self, made, small, root):
        """A second install makes nothing."""
        before = (made.folder / RECORD).stat().st_mtime_ns
        assert provision.install(small, root=root, on_event=ignore) == made
        assert (made.folder / RECORD).stat().st_mtime_ns == before

    @pytest.mark.parametrize(
        "damage",
        [
            pytest.param(lambda folder: (folder / RECORD).unlink(), id="half made"),
            pytest.param(lambda folder: (folder / RECORD).write_text("{"), id="record torn"),
            pytest.param(lambda folder: (folder / "bin" / "python").unlink(), id="no interpreter"),
            pytest.param(lambda folder: shutil.rmtree(site_packages(folder) / "smallengine-1.0.dist-info"), id="torn"),
            pytest.param(lambda folder: (site_packages(folder) / "smallengine.py").write_text(""), id="file emptied"),
            pytest.param(
                lambda folder: (site_packages(folder) / "smallengine.py").write_text("VALUE = 3\n"), id="wrong code"
            ),
            pytest.param(
                lambda folder: rewrite_unseen(site_packages(folder) / "smallengine.py", "VALUE = 3\n"),
                id="wrong code behind its compiled copy",
            ),
        ],
    )
    def test_repairs_a_broken_one(self, small, root, monkeypatch, damage):
        """Whatever happened to it, afterwards it does what it should."""
        monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        made = provision.install(small, root=root, on_event=ignore)
        damage(made.folder)
        repaired = provision.install(small, root=root, on_event=ignore)
        assert (site_packages(repaired.folder) / "smallengine.py").read_text() == "VALUE = 1\n"
        assert provision.locate(small, root) == repaired

    def test_two_at_once_make_one(self, small, root):
        """The second waits for the first and finds it made."""
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(provision.ensure(small, root=root, on_event=ignore)))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 3
        assert len(set(map(repr, found))) == 1
        log = found[0].folder.with_name(f"{found[0].folder.name}.log").read_text()
        assert sum(" venv " in line for line in log.splitlines()) == 1

    def test_falls_back_to_pip(self, small, root, monkeypatch):
        """Without uv it takes longer and ends the same."""

        def no_uv(self):
            raise CommandFailed("no uv here")

        monkeypatch.setattr(Making, "_with_uv", no_uv)
        environment = provision.install(small, root=root, on_event=ignore)
        assert environment.record.made_by == "pip"
        assert damaged_files(environment) == []
        assert environment.record.packages["smallengine"] == "1.0"

    def test_a_missing_package_is_told_with_the_way_out(self, small, root):
        """The command to run, and what uv and pip said last."""
        small.requirements.write_text("no-such-engine==7\n")
        with pytest.raises(ToolchainFailed, match="harness toolchain install small") as raised:
            provision.install(small, root=root, on_event=ignore)
        assert str(raised.value).count("no-such-engine") >= 2
        assert provision.locate(small, root) is None

    def test_an_import_that_fails_is_told(self, small, root):
        """An environment that installs and does not import is never taken for whole."""
        broken = replace(small, check=("-c", "import absent_library"))
        with pytest.raises(ToolchainFailed, match="absent_library"):
            provision.install(broken, root=root, on_event=ignore)
        assert provision.locate(broken, root) is None

    def test_a_full_disk_is_told_before_anything_is_fetched(self, small, root):
        """With the variable that names another folder."""
        with pytest.raises(ToolchainFailed, match="HARNESS_TOOLCHAINS"):
            provision.install(replace(small, disk_bytes=1 << 60), root=root, on_event=ignore)


class TestLocate:
    def test_other_pins_are_another_environment(self, made, small, root):
        """An environment of yesterday's pins is not today's."""
        (small.folder / "constraints.txt").write_text("smallengine==2.0\n")
        assert provision.locate(small, root) is None
        assert made.folder.is_dir()

    def test_nothing_is_made(self, small, root):
        """Looking leaves no trace."""
        assert provision.locate(small, root) is None
        assert not root.exists()

    def test_a_relative_root_will_do(self, made, small, root, monkeypatch):
        """Workers run in another folder than whoever asked."""
        monkeypatch.chdir(root.parent)
        monkeypatch.setenv("HARNESS_TOOLCHAINS", root.name)
        found = provision.locate(small)
        assert found is not None
        assert found.python == made.python


class TestRemove:
    def test_removes_and_says_so(self, made, small, root):
        """Once; the second time there is nothing."""
        assert provision.remove(small, root)
        assert not made.folder.exists()
        assert not provision.remove(small, root)


class TestListing:
    def test_says_how_each_stands(self, small, root, monkeypatch):
        """Absent, ready, broken."""
        monkeypatch.setattr(provision, "toolchains", lambda: (small,))
        assert [one.state for one in provision.listing(root)] == ["absent"]
        made = provision.install(small, root=root, on_event=ignore)
        (ready,) = provision.listing(root)
        assert (ready.state, ready.environment) == ("ready", made)
        assert ready.size_bytes > 0
        (made.folder / RECORD).unlink()
        assert [one.state for one in provision.listing(root)] == ["broken"]


class TestCatalogue:
    def test_opencompass_is_there_with_its_pins(self):
        """The pins are package data, and every one of them is in the lock."""
        opencompass = toolchain("opencompass")
        asked = [line for line in opencompass.requirements.read_text().splitlines() if "==" in line]
        held = (opencompass.folder / "constraints.txt").read_text().splitlines()
        assert asked
        assert set(asked) <= set(held)

    def test_an_unknown_name_is_told_with_the_known_ones(self):
        """So that a slip of the finger needs no manual."""
        with pytest.raises(UsageError, match="opencompass"):
            toolchain("opencompas")


class TestDefaultRoot:
    def test_the_variable_names_it(self, monkeypatch, tmp_path):
        """Otherwise it is in the user's cache."""
        monkeypatch.setenv("HARNESS_TOOLCHAINS", str(tmp_path))
        assert default_root() == tmp_path
        monkeypatch.delenv("HARNESS_TOOLCHAINS")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        assert default_root().is_relative_to(tmp_path / "cache")


class TestRemarkOn:
    @pytest.mark.parametrize(
        ("line", "remark"),
        [
            ("Downloading torch (183.4MiB)\n", "downloading torch (183.4MiB)"),
            ("  Downloading numpy-1.26.4-cp311.whl (18.3 MB)\n", "downloading numpy-1.26.4-cp311.whl (18.3 MB)"),
            ("Resolved 126 packages in 5.72s\n", "resolved 126 packages in 5.72s"),
            (" Downloaded torch\n", None),
            ("  Downloading small.whl.metadata\n", None),
        ],
    )
    def test_downloads_are_announced_with_their_size(self, line, remark):
        """In uv's words and in pip's."""
        assert remark_on(line) == remark


def test_the_environment_of_the_caller_does_not_leak(made):
    """The toolchain's Python sees its own packages only."""
    answer = subprocess.run(
        [made.python, "-c", "import harness"], capture_output=True, check=False, env={"PATH": os.defpath}
    )
    assert b"ModuleNotFoundError" in answer.stderr
