"""Programs run in order, apart from each other; what cannot be had is refused; nothing outlives the jail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.sandbox import run
from harness.sandbox.layers import PROMISES, Layer, properties, refusal
from harness.sandbox.limits import Limits
from harness.sandbox.request import Request, request_record
from harness.sandbox.run import JAIL, SandboxUnavailable, probe, run_programs

BENIGN = {
    "nothing": "",
    "arithmetic": "assert sum(range(10)) == 45",
    "imports": "import re, json, hashlib, decimal, unittest, typing, csv, zlib, uuid, asyncio, sqlite3",
    "collection": "import gc\nx = []\nx.append(x)\ndel x\nassert gc.collect() >= 0",
    "thread": """
import threading
seen = []
thread = threading.Thread(target=seen.append, args=(1,))
thread.start()
thread.join()
assert seen
""",
    "folder": "open('/tmp/x', 'w').write('1'); assert open('/tmp/x').read() == '1'",
    "module name": "assert __name__ == 'builtins'",
    "no variables": "import os; assert {name[:3] for name in os.environ} <= {'LC_', 'OMP', 'OPE'}",
    "no descriptors": """
import os
for number in range(5, 300):
    try:
        os.fstat(number)
    except OSError:
        continue
    raise ValueError(number)
""",
    "input": "try: input()\nexcept OSError: pass",
    "random": "import random, secrets; random.random(); secrets.token_bytes(8)",
    "dataclass": "from dataclasses import dataclass\n@dataclass\nclass A:\n  x: int = 1\nassert A() == A(1)",
    "recursion": "def f(n): return n and 1 + f(n - 1)\nassert f(900) == 900",
    "text": "print('größer'); assert 'ß'.upper() == 'SS'",
}


@pytest.fixture(scope="module")
def here():
    """What holds here; skips where programs would be refused."""
    found = probe()
    reason = refusal(found)
    if reason:
        pytest.skip(reason)
    return {held.name: held for held in found}


class TestRunPrograms:
    def test_benign_programs_pass(self, here):
        """With what a usual solution needs: the library, a thread, a folder, output."""
        wanted = {
            name: text
            for name, text in BENIGN.items()
            if (name != "folder" or here["private folder"].holds)
            and (name != "thread" or Layer.USER.value in here["threads"].by)
        }
        outcomes = dict(zip(wanted, run_programs(list(wanted.values())), strict=True))
        assert {name: outcome for name, outcome in outcomes.items() if not outcome.passed} == {}
        assert outcomes["text"].stdout == "größer\n"

    @pytest.mark.usefixtures("here")
    def test_outcomes_are_in_order(self):
        """Whatever ends first."""
        texts = [f"import time; time.sleep({(7 - i) / 50}); print({i})" for i in range(8)]
        assert [outcome.stdout for outcome in run_programs(texts, workers=4)] == [f"{i}\n" for i in range(8)]

    @pytest.mark.usefixtures("here")
    def test_many_at_a_time(self):
        """More cells than the first descriptors have room for."""
        assert [outcome.stdout for outcome in run_programs([f"print({i})" for i in range(40)], workers=40)] == [
            f"{i}\n" for i in range(40)
        ]

    @pytest.mark.usefixtures("here")
    def test_a_failure_is_told(self):
        """The type of the exception, its message, what was printed before."""
        (outcome,) = run_programs(["print('before')\nassert 1 == 2, 'not equal'"])
        assert (outcome.verdict, outcome.exception, outcome.message) == ("failed", "AssertionError", "not equal")
        assert outcome.stdout == "before\n"
        assert outcome.duration_s > 0
        assert outcome.peak_memory_bytes > 1 << 20

    def test_neighbours_are_not_disturbed(self, here):
        """A program that breaks its cell, fills its folder or its pipe does nothing to the next one in it."""
        evil = [
            "import os; os.umask(0o777); os.mkdir('/tmp/x'); os.mkdir('/tmp/y')",
            "open('/tmp/left', 'w').write('x')",
            "import os; os.write(1, b'x' * 50_000); os.kill(os.getpid(), 9)",
            "import builtins; builtins.len = None",
            "import os; os.write(3, b'x' * 60_000)",
            "while True: print(1)",
        ]
        good = (
            "import os; assert len(os.listdir('/tmp')) == 0" if here["private folder"].holds else "assert len('x') == 1"
        )
        programs = [program for one in evil for program in (one, good)]
        outcomes = run_programs(programs, Limits(wall_s=1.0, output_bytes=1 << 17), workers=1)
        assert all(outcome.passed and not outcome.stdout for outcome in outcomes[1::2])

    @pytest.mark.usefixtures("here")
    def test_programs_do_not_see_each_other(self):
        """What one leaves in a module is not there for the next."""
        outcomes = run_programs(
            ["import math; math.mark = 1", "import math; assert not hasattr(math, 'mark')"], workers=1
        )
        assert all(outcome.passed for outcome in outcomes)

    @pytest.mark.usefixtures("here")
    def test_packages(self, tmp_path):
        """Folders that are named can be imported from, preloaded or not; others cannot."""
        tmp_path.chmod(0o755)
        (tmp_path / "given.py").write_text("VALUE = 7\n")
        program = "import given; assert given.VALUE == 7"
        (named,) = run_programs([program], packages=[str(tmp_path)])
        (preloaded,) = run_programs([program], packages=[str(tmp_path)], preload=["given"])
        (unnamed,) = run_programs([program])
        assert named.passed
        assert preloaded.passed
        assert unnamed.exception == "ModuleNotFoundError"

    @pytest.mark.usefixtures("here")
    def test_odd_sources(self):
        """Null bytes, lone surrogates and a large text are a failure or a pass, never an error of ours."""
        null, surrogate, large, syntax = run_programs(["x = 1\0", "x = '\ud800'", "x = 1\n" * 20_000, "def"])
        assert not null.passed
        assert not surrogate.passed
        assert large.passed
        assert syntax.exception == "SyntaxError"

    def test_nothing_to_run(self):
        """No programs, no outcomes."""
        assert run_programs([]) == ()

    def test_a_jail_that_fails_is_no_outcome(self, tmp_path, monkeypatch):
        """Nothing is believed to have run; its words are in the error."""
        broken = tmp_path / "jail.py"
        broken.write_text("raise ValueError('no jail')")
        monkeypatch.setattr(run, "JAIL", broken)
        with pytest.raises(SandboxUnavailable, match="no jail"):
            run_programs(["x = 1"])


class TestNativeCode:
    """Without the native ending programs have ctypes, which shows what the layers below do alone."""

    PRELUDE = "import ctypes\ncall = ctypes.CDLL(None, use_errno=True).syscall\n"

    def ask(self, programs):
        return run_programs([self.PRELUDE + text for text in programs], weak=True, without={Layer.ENDING})

    @pytest.fixture
    def numbers(self, here):  # noqa: ARG002 - for what it skips
        from harness.sandbox.calls import FATAL, this_machine

        return this_machine().numbers(FATAL)

    def test_fatal_calls_end_the_process(self, numbers):
        """Every one of them, made raw."""
        for name, outcome in zip(
            numbers, self.ask([f"call({number}, 0, 0, 0, 0, 0)" for number in numbers.values()]), strict=True
        ):
            assert outcome.verdict == "killed", name

    @pytest.mark.usefixtures("here")
    def test_another_abi_ends_the_process(self):
        """x32's own numbers, where the machine has it."""
        if os.uname().machine != "x86_64":
            pytest.skip("only x86_64 has such numbers")
        (outcome,) = self.ask(["call(0x40000000 + 39)"])
        assert outcome.verdict == "killed"

    @pytest.mark.usefixtures("here")
    def test_raw_calls_are_refused(self):
        """fork, socket and kill by number get an error, and no process."""
        raw = {"x86_64": (57, 41, 62), "aarch64": (220, 198, 129)}[os.uname().machine]
        outcomes = self.ask(
            [f"assert call({number}, 17, 9, 0, 0) == -1; assert ctypes.get_errno() == 1" for number in raw]
        )
        assert [outcome.verdict for outcome in outcomes] == ["passed"] * 3

    @pytest.mark.usefixtures("here")
    def test_a_crash_is_a_failure(self):
        """By the signal's name."""
        (outcome,) = self.ask(["ctypes.string_at(0)"])
        assert (outcome.verdict, outcome.message) == ("failed", "it died of SIGSEGV")


class TestRefusal:
    def test_a_missing_property_is_refused(self):
        """The error names it, says why it is missing and what would help."""
        with pytest.raises(SandboxUnavailable, match=r"reads .* landlock: not wanted.*what helps: "):
            run_programs(["x = 1"], without=[Layer.MOUNT, Layer.LANDLOCK])

    def test_weak_runs_nevertheless(self):
        """Only where it is asked for."""
        (outcome,) = run_programs(["x = 1"], without=[Layer.MOUNT, Layer.LANDLOCK], weak=True)
        assert outcome.passed

    @pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.name)
    def test_each_promise_needs_one_of_its_layers(self, promise):
        """It holds with all layers, and falls with the last of its own; only required ones lead to a refusal."""
        assert all(held.holds for held in properties({}))
        found = properties(dict.fromkeys(promise.layers, "gone"))
        (held,) = (held for held in found if held.name == promise.name)
        assert not held.holds
        assert held.way_out
        assert (promise.name in (refusal(found) or "")) or not promise.required


class TestProbe:
    def test_is_a_table(self):
        """Of every promise, in its order."""
        assert [held.name for held in probe()] == [promise.name for promise in PROMISES]

    def test_says_what_is_left_off(self):
        """A layer that is not used provides nothing."""
        found = {held.name: held for held in probe(without=[Layer.PID])}
        assert Layer.PID.value not in found["process tree"].by
        assert "not wanted" in found["process tree"].lacking[0]

    @pytest.mark.parametrize("arguments", [[], ["--json"]])
    def test_command(self, arguments):
        """The table is printed, for a person or for a program."""
        printed = subprocess.run(
            [sys.executable, "-m", "harness.sandbox", *arguments], capture_output=True, text=True, check=False
        )
        assert printed.returncode in {0, 1}
        names = {row["name"] for row in json.loads(printed.stdout)} if arguments else printed.stdout
        assert all(promise.name in names for promise in PROMISES)


class TestJail:
    def test_imports_the_standard_library_only(self):
        """So that any environment's Python can run it."""
        look = (
            f"import runpy, sys; runpy.run_path({str(JAIL)!r}, run_name='jail')['main'](['--probe']); "
            "print([name for name in sys.modules if name.split('.')[0] in {'harness', 'numpy', 'torch', 'pydantic'}])"
        )
        command = [sys.executable, "-I", "-S", "-B", "-c", look]
        printed = subprocess.run(command, capture_output=True, text=True, check=True)
        assert printed.stdout.endswith("[]\n")

    @pytest.mark.usefixtures("here")
    def test_nothing_outlives_it(self, tmp_path):
        """Killed itself, it takes its cells and the programs in them along."""
        request, answer = tmp_path / "request.json", tmp_path / "answer.json"
        asked = Request(programs=("import time; time.sleep(100)",) * 2, limits=Limits(wall_s=100.0), workers=2)
        request.write_text(json.dumps(request_record(asked)))
        command = [sys.executable, "-I", "-S", "-B", JAIL, request, answer]
        # Where it leaves the empty folder that it cannot remove any more.
        jail = subprocess.Popen(command, env={"TMPDIR": str(tmp_path)})
        wait_until(lambda: len(running(request)) >= 5)
        jail.send_signal(signal.SIGKILL)
        jail.wait()
        wait_until(lambda: not running(request))
        assert not answer.exists()


def running(request):
    """Processes with ``request`` on their command line: the jail and everything forked from it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found += [entry.name] if os.fsencode(request) in (entry / "cmdline").read_bytes() else []
            except OSError:
                # It ended meanwhile.
                continue
    return found


def wait_until(happens):
    deadline = time.monotonic() + 20
    while not happens():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
