"""Contained children: limits hold for the whole process tree, and events get through."""

from __future__ import annotations

import os
import sys
import time

import psutil
import pytest

from harness.containment import Limits, run_contained


@pytest.fixture
def contained(tmp_path):
    def run(code, *, time_s=20.0, memory_bytes=1 << 30):
        events = []
        report = run_contained(
            [sys.executable, "-c", code],
            limits=Limits(time_s=time_s, memory_bytes=memory_bytes),
            log=tmp_path / "log.txt",
            cwd=tmp_path,
            environment=dict(os.environ),
            on_event=events.append,
        )
        return report, events, (tmp_path / "log.txt").read_text()

    return run


class TestRunContained:
    def test_events_get_through_and_junk_does_not(self, contained):
        """A line that is a JSON object is an event; whatever else is printed is not."""
        report, events, _ = contained("print('hello'); print('[1]'); print('{\"event\": \"x\"}')")
        assert report.exit_code == 0
        assert report.stopped_for is None
        assert events == [{"event": "x"}]

    def test_standard_error_is_the_log(self, contained):
        """What a child says on standard error is kept."""
        _, _, log = contained("import sys; sys.stderr.write('said')")
        assert log == "said"

    def test_time_limit(self, contained):
        """A child that hangs is stopped, and soon."""
        report, _, _ = contained("import time; time.sleep(60)", time_s=0.5)
        assert report.stopped_for == "time"

    def test_memory_limit(self, contained):
        """A child that allocates without end is stopped at its limit."""
        storm = "held = []\nwhile True: held.append(bytearray(16 << 20))"
        report, _, _ = contained(storm, memory_bytes=300 << 20)
        assert report.stopped_for == "memory"

    def test_grandchildren_are_gone(self, contained, tmp_path):
        """Nothing that a child started outlives it."""
        code = (
            "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
            f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))"
        )
        contained(code)
        pid = int((tmp_path / "pid").read_text())
        for _ in range(50):
            if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return
            time.sleep(0.1)
        pytest.fail("a grandchild is still there")
