"""Hostile programs harm nothing and never pass, whichever layers are there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from harness.sandbox.layers import Layer
from harness.sandbox.limits import Limits
from harness.sandbox.request import Request, read_outcomes, request_record
from harness.sandbox.run import JAIL, SandboxUnavailable, run_programs
from tests.sandbox.hostile_programs import EXHAUSTION, FORGERY, HARM

NAMESPACES = frozenset({Layer.USER, Layer.MOUNT, Layer.NET, Layer.IPC, Layer.PID})
LIMITS = Limits(wall_s=0.4, cpu_s=1, memory_bytes=256 << 20, output_bytes=1 << 16)
WORKERS = 6
"""Many only wait for their end."""
SYSTEM_PYTHON = Path("/usr/bin/python3")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - looked at only
ANOTHER = 54_321
"""A user without a name, to be when root runs the tests."""

PROGRAMS = HARM | EXHAUSTION | FORGERY


def written(folder):
    """The programs, told where the canary is."""
    places = {"CANARY": repr(str(folder / "canary")), "FOLDER": repr(str(folder))}
    return [re.sub("CANARY|FOLDER", lambda name: places[name.group()], text) for text in PROGRAMS.values()]


def harm_of(path):
    return sorted((entry.name, entry.stat().st_mtime_ns) for entry in path.iterdir())


def as_root_or_user(programs, without):
    return run_programs(programs, LIMITS, without=without, workers=WORKERS)


def as_another_user(programs, without):
    """By the system's interpreter, as a user who owns nothing."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user; as this one, the other cases run")
    if not SYSTEM_PYTHON.exists():
        pytest.skip(f"{SYSTEM_PYTHON} is not here, and no other interpreter is sure to be readable for every user")
    look = f"import ctypes, sys; open({str(JAIL)!r}); assert sys.version_info >= (3, 11)"
    if subprocess.run([SYSTEM_PYTHON, "-c", look], user=ANOTHER, capture_output=True, check=False).returncode:
        pytest.skip(
            "the system's interpreter is older than 3.11 or has no ctypes, or the jail is not readable for others"
        )
    request = Request(programs=tuple(programs), limits=LIMITS, without=frozenset(without), workers=WORKERS)
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, ANOTHER, ANOTHER)
        asked, answered = Path(folder, "request.json"), Path(folder, "answer.json")
        asked.write_text(json.dumps(request_record(request)))
        command = [SYSTEM_PYTHON, "-I", "-S", "-B", JAIL, asked, answered]
        subprocess.run(command, user=ANOTHER, group=ANOTHER, extra_groups=[], env={}, cwd="/", check=True, timeout=300)
        answer = json.loads(answered.read_text())
    if "refused" in answer:
        raise SandboxUnavailable(answer["refused"])
    return read_outcomes(answer)


WAYS = {
    "all layers": (as_root_or_user, frozenset()),
    "no namespaces": (as_root_or_user, NAMESPACES),
    "no user namespace": (as_root_or_user, frozenset({Layer.USER})),
    "no landlock": (as_root_or_user, frozenset({Layer.LANDLOCK})),
    "another user": (as_another_user, frozenset()),
    "another user, no namespaces": (as_another_user, NAMESPACES),
}


@pytest.fixture(scope="module", params=WAYS)
def harmed(request, tmp_path_factory):
    """Everything run once, with what could have been harmed before and after it."""
    way, without = WAYS[request.param]
    folder = tmp_path_factory.mktemp("outside")
    (folder / "canary").write_text("alive")
    before = (harm_of(folder), shared_memory())
    known = processes()
    try:
        outcomes = way(written(folder), without)
    except SandboxUnavailable as missing:
        pytest.skip(str(missing))
    assert (folder / "canary").read_text() == "alive"
    assert survivors(processes() - known) == set()
    return dict(zip(PROGRAMS, outcomes, strict=True)), before, (harm_of(folder), shared_memory())


def shared_memory():
    return [file.name for file in SHARED_MEMORY.iterdir() if "sandbox" in file.name]


def processes():
    """Numbers of the processes that run the jail, or were forked from one that does."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                # It ended meanwhile.
                continue
            if os.fsencode(JAIL) in command:
                found.add(entry.name)
    return found


def survivors(found):
    """Those still there after a while: another run of these tests beside this one has jails too, which end."""
    deadline = time.monotonic() + 20
    while found and time.monotonic() < deadline:
        time.sleep(0.05)
        found &= processes()
    return found


class TestHostile:
    def test_none_passes(self, harmed):
        """Whatever it tries, however it ends."""
        outcomes, _, _ = harmed
        passed = {name: outcome for name, outcome in outcomes.items() if outcome.passed}
        assert not passed

    def test_nothing_is_left(self, harmed):
        """No file outside is changed, made or removed; that no process is left is seen where the programs are run."""
        _, before, after = harmed
        assert before == after

    def test_output_is_cut(self, harmed):
        """Endless printing ends at its limit, and only a tail is kept."""
        outcomes, _, _ = harmed
        for name in ("endless output", "endless output without a line"):
            assert outcomes[name].verdict == "output"
            assert len(outcomes[name].stdout + outcomes[name].stderr) < 1 << 14

    def test_time_is_cut(self, harmed):
        """Loops, sleep and deaf programs end soon after their time."""
        outcomes, _, _ = harmed
        for name in ("infinite loop", "sleep", "catching all signals", "ignoring the end of its time"):
            assert outcomes[name].verdict == "timed out"
            assert outcomes[name].duration_s < LIMITS.wall_s + 2

    @pytest.mark.parametrize("name", [name for name in EXHAUSTION if name.startswith("memory")])
    def test_memory_is_bounded(self, harmed, name):
        """Whichever way it is taken."""
        outcomes, _, _ = harmed
        assert outcomes[name].verdict in {"memory", "timed out", "failed"}
        assert outcomes[name].peak_memory_bytes < LIMITS.memory_bytes + (128 << 20)
