"""Nothing but the nonce, shown by a process that ended well, is a pass."""

from __future__ import annotations

import json
import signal
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.sandbox.judgement import Evidence, judge
from harness.sandbox.limits import Limits

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=9)
NONCE = bytes(range(32))
GOOD = Evidence(
    nonce=NONCE,
    shown=NONCE,
    exit_code=0,
    stop=None,
    duration_s=0.1,
    cpu_s=0.1,
    peak_memory_bytes=1,
    stdout="",
    stderr="",
)


class TestJudge:
    def test_the_nonce_passes(self):
        """Shown alone, at exit code 0, by a program that was not stopped."""
        assert judge(GOOD, Limits()).passed

    @given(
        shown=st.binary(max_size=64) | st.just(NONCE) | st.just(NONCE + b"x"),
        exit_code=st.integers(-64, 255),
        stop=st.sampled_from([None, "time", "output", "silence"]),
        cpu=st.floats(0, 9),
    )
    def test_everything_else_does_not(self, shown, exit_code, stop, cpu):
        """And every other evidence has a verdict, whatever bytes a program wrote."""
        outcome = judge(replace(GOOD, shown=shown, exit_code=exit_code, stop=stop, cpu_s=cpu), Limits())
        assert outcome.passed == (shown == NONCE and exit_code == 0 and stop is None)

    @given(st.dictionaries(st.sampled_from(["exception", "message", "verdict"]), SCALARS | st.lists(SCALARS)) | SCALARS)
    def test_claims_are_not_believed(self, claim):
        """Whatever JSON a program writes, it has not passed."""
        assert not judge(replace(GOOD, shown=json.dumps(claim).encode()), Limits()).passed

    @pytest.mark.parametrize(
        ("changes", "verdict"),
        [
            ({"exit_code": -signal.SIGSYS}, "killed"),
            ({"exit_code": -signal.SIGKILL, "cpu_s": 4.0}, "timed out"),
            ({"exit_code": -signal.SIGKILL}, "memory"),
            ({"exit_code": -signal.SIGSEGV}, "failed"),
            ({"exit_code": 99, "shown": b""}, "killed"),
            ({"stop": "output"}, "output"),
            ({"stop": "time"}, "timed out"),
            ({"exit_code": 1, "shown": b'{"exception": "MemoryError", "message": ""}'}, "memory"),
        ],
    )
    def test_ends_are_told_apart(self, changes, verdict):
        """By the signal, the clock and what was reported."""
        assert judge(replace(GOOD, **changes), Limits()).verdict == verdict
