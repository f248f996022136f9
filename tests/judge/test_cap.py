"""A cap that holds: refused by the kernel, ended by the watchdog, and never passed by a result."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from harness.errors import MeasurementFailed
from harness.judge.cap import Watchdog
from harness.judge.memory import over_the_cap, peak_resident_bytes, require_within

MB = 10**6
HOLD = "import sys, time; block = bytearray({size}); print('held', flush=True); time.sleep({seconds})"
ROOMY = 400 * MB


def holding(size, seconds=60):
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", HOLD.format(size=size, seconds=seconds)], stdout=subprocess.PIPE
    )
    child.stdout.readline()
    return child


class TestWatchdog:
    def test_ends_a_process_that_is_above_its_cap(self):
        """It is killed, and what it had reached is known."""
        with holding(150 * MB) as child, Watchdog(100 * MB, print) as watchdog:
            watchdog.on_event({"event": "process", "pid": child.pid})
            assert child.wait(timeout=30) == -9
        assert watchdog.killed_at_bytes > 150 * MB

    def test_a_peak_that_is_over_is_not_missed(self):
        """The high-water mark stays: memory that was given back before the first look still counts."""
        code = "import time; block = bytearray(150_000_000); del block; print('freed', flush=True); time.sleep(60)"
        with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            with Watchdog(100 * MB, print) as watchdog:
                watchdog.on_event({"event": "process", "pid": child.pid})
                assert child.wait(timeout=30) == -9

    def test_leaves_one_that_is_below_alone(self):
        """It ends as it would have, and nothing was killed."""
        with holding(50 * MB, seconds=0.2) as child, Watchdog(ROOMY, print) as watchdog:
            watchdog.on_event({"event": "process", "pid": child.pid})
            assert child.wait(timeout=30) == 0
        assert watchdog.killed_at_bytes is None

    def test_hands_on_what_is_not_its_own(self):
        """Progress reaches who waits for it, and the process's own announcement does not."""
        heard = []
        with Watchdog(ROOMY, heard.append) as watchdog:
            for event in ({"event": "progress", "done": 1}, {"event": "process", "pid": 2**31 - 1}):
                watchdog.on_event(event)
        assert heard == [{"event": "progress", "done": 1}]


class TestLimitData:
    @pytest.mark.parametrize(("size", "ends"), [(50 * MB, 0), (900 * MB, 1)])
    def test_the_kernel_refuses_what_is_beyond(self, size, ends):
        """Within the cap an allocation succeeds, far beyond it fails in the process itself."""
        code = f"from harness.judge.memory import limit_data; limit_data({ROOMY}, 1); bytearray({size})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == ends
        assert ("MemoryError" in done.stderr) == bool(ends)

    def test_allows_the_stacks_of_threads(self):
        """Reserved stacks are no resident memory, so they do not count against the cap."""
        code = (
            "import resource; from harness.judge.memory import limit_data; limit_data(10**9, 3); "
            "print(resource.getrlimit(resource.RLIMIT_DATA)[0])"
        )
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        stack = resource.getrlimit(resource.RLIMIT_STACK)[0]
        assert int(said) >= 10**9 + 3 * (8 << 20 if stack == resource.RLIM_INFINITY else stack)


class TestRequireWithin:
    def test_a_result_above_the_cap_is_none(self):
        """Equal is allowed, one byte more is not, and without a cap everything is."""
        require_within(None, 10**12)
        require_within(700 * MB, 700 * MB)
        with pytest.raises(MeasurementFailed, match=r"needed 700\.1 MB of memory, allowed 700\.0 MB"):
            require_within(700 * MB, 700 * MB + 100_000)

    def test_says_both_numbers(self):
        """What was needed, what was allowed, and that nothing came out."""
        assert over_the_cap(2 * MB, MB) == "needed 2.0 MB of memory, allowed 1.0 MB; there is no result"


class TestPeakResidentBytes:
    def test_sees_what_was_touched(self):
        """A process that filled a block has been at least that large; one that did not, not."""
        with holding(200 * MB, seconds=5) as child:
            assert 200 * MB < peak_resident_bytes(str(child.pid)) < 300 * MB
            child.kill()
