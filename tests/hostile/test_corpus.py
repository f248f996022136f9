"""Every entry of the corpus is reported as expected, and did nothing to whoever looked at it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hostile.corpus import CANARY, CORPUS

MAX_PEAK_KIB = 300 << 10
PROBE = Path(__file__).with_name("probe.py")


@dataclass(frozen=True)
class Looked:
    """An entry, and what looking at it did."""

    root: Path
    before: dict[str, int]
    answer: dict


def tree(root: Path) -> dict[str, int]:
    """Every name under ``root`` with its size, links and pipes unopened."""
    return {
        os.path.join(folder, name): os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - any bytes
        for folder, folders, names in os.walk(root)
        for name in (*folders, *names)
    }


@pytest.fixture(scope="module", params=CORPUS)
def looked(request, tmp_path_factory):
    """The entry, validated in a process of its own that may write into one temporary folder."""
    root = tmp_path_factory.mktemp("looked")
    folder, private = root / "in" / "entry", root / "private"
    folder.mkdir(parents=True)
    private.mkdir()
    path = CORPUS[request.param].write(folder) or folder
    before = tree(root)
    environment = os.environ | {"TMPDIR": str(private), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, PROBE, path]
    run = subprocess.run(command, check=False, capture_output=True, timeout=60, cwd=folder, env=environment, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    answer = json.loads(run.stdout)
    print(f"{request.param}: {answer['duration_s']:.3f} s, {answer['peak_kib'] >> 10} MiB")  # noqa: T201
    return Looked(root=root, before=before, answer=answer | {"name": request.param})


class TestCorpus:
    def test_is_reported_as_expected(self, looked):
        """The rule that the corpus names speaks, and no check crashes."""
        rules = {finding["rule"] for finding in looked.answer["report"]["findings"]}
        assert CORPUS[looked.answer["name"]].rule in rules
        assert "validation.check_crashed" not in rules

    def test_writes_nowhere_but_into_a_temporary_folder_that_goes(self, looked):
        """What was there is there unchanged, nothing else is, and no file was opened for writing elsewhere."""
        assert tree(looked.root) == looked.before
        private = str(looked.root / "private")
        written = [path for what, path in looked.answer["events"] if what in {"wrote", "changed"}]
        assert [path for path in written if os.path.isabs(path) and not path.startswith(private)] == []  # noqa: PTH117

    def test_runs_nothing(self, looked):
        """No process was started, no pickle opened, no module of the entry imported, no canary hatched."""
        assert [what for kind, what in looked.answer["events"] if kind == "ran"] == []
        assert looked.answer["imported"] == []
        assert not list(looked.root.rglob(CANARY))

    def test_stays_small(self, looked):
        """The process that looked stays below 300 MiB and imports no engine."""
        assert looked.answer["peak_kib"] < MAX_PEAK_KIB
        assert looked.answer["engines"] == []

    def test_is_shown_without_harm(self, looked):
        """No text of the entry reaches the report as anything but printable characters."""
        texts = [text for finding in looked.answer["report"]["findings"] for text in _texts(finding)]
        assert all(text.isprintable() for text in texts)


def _texts(value):
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _texts(inner)]
    return [value] if isinstance(value, str) else []


class TestTheProbe:
    def test_sees_what_it_watches_for(self, tmp_path):
        """A probe that sees nothing proves nothing: it sees a call, a file and a change."""
        code = (
            "import sys, os; sys.argv = ['x', '']; import runpy;"
            f"probe = runpy.run_path({str(PROBE)!r});"
            "sys.addaudithook(probe['watch']); probe['watch'].__globals__['watching'] = True;"
            f"os.system('true'); open({str(tmp_path / 'a')!r}, 'w').close(); os.remove({str(tmp_path / 'a')!r});"
            "print({kind for kind, _ in probe['watch'].__globals__['events']})"
        )
        run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert all(kind in run.stdout for kind in ("ran", "wrote", "changed"))
