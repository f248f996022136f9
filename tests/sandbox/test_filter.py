"""The filter decides as its tables say, on both machines: its code is run here, as the kernel would run it."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.sandbox import filter as seccomp
from harness.sandbox.calls import ALLOWED, FATAL, JUDGED, MACHINES, OWN

HEADERS = {
    "x86_64": [Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm/unistd_64.h")],
    "aarch64": [Path("/usr/include/asm-generic/unistd.h")],
}
LISTS = (ALLOWED, JUDGED, FATAL, OWN)


def decide(code, number, arguments=(), arch=None):
    """What the filter ``code`` returns for a call."""
    data = struct.pack("=IIQ6Q", number, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    instructions = list(struct.iter_unpack("=HBBI", code))
    held, at = 0, 0
    while True:
        kind, when_true, when_false, value = instructions[at]
        at += 1
        if kind == seccomp.LOAD:
            (held,) = struct.unpack_from("=I", data, value)
        elif kind == seccomp.AND:
            held &= value
        elif kind == seccomp.JUMP_IF_EQUAL:
            at += when_true if held == value else when_false
        elif kind == seccomp.JUMP_IF_AT_LEAST:
            at += when_true if held >= value else when_false
        else:
            assert kind == seccomp.RETURN
            return value


@pytest.fixture(params=MACHINES)
def machine(request):
    return MACHINES[request.param]


@pytest.fixture
def ask(machine):
    """Ask the filter about a call by its name."""
    numbers = {name: number for names in LISTS for name, number in machine.numbers(names).items()}

    def about(name, *arguments, **changes):
        if name not in numbers:
            pytest.skip(f"{machine.name} has no {name}")
        choice = {"writable": False, "threads": True, "libraries": False} | changes
        return decide(seccomp.build(machine=machine, **choice), numbers[name], arguments, machine.audit_arch)

    return about


def refused(error):
    return seccomp.ERRNO | error


class TestTables:
    def test_numbers_are_the_kernel_s(self, machine):
        """Every entry that this kernel's headers know has their number."""
        header = next((path for path in HEADERS[machine.name] if path.exists()), None)
        if header is None:
            pytest.skip("the kernel's headers are not here")
        known = dict(re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", header.read_text()))
        known["newfstatat"] = known.get("newfstatat") or known["fstatat"]
        ours = {name: number for names in LISTS for name, number in machine.numbers(names).items()}
        wrong = {name: number for name, number in ours.items() if name in known and int(known[name]) != number}
        assert not wrong
        assert len(ours.keys() & known.keys()) > len(ours) * 0.9

    def test_no_call_is_in_two_lists(self, machine):
        """A call has one answer."""
        for one in (ALLOWED, JUDGED):
            for other in (JUDGED, FATAL):
                if one is not other:
                    assert not machine.numbers(one).keys() & machine.numbers(other).keys()


class TestDecisions:
    def test_lists(self, machine):
        """What is allowed passes, what is fatal ends the process, whatever the arguments."""
        code = seccomp.build(writable=False, threads=False, libraries=False, machine=machine)
        ones = (2**64 - 1,) * 6
        for arguments in ((), ones):
            for number in machine.numbers(ALLOWED).values():
                assert decide(code, number, arguments, machine.audit_arch) == seccomp.ALLOW
            for number in machine.numbers(FATAL).values():
                assert decide(code, number, arguments, machine.audit_arch) == seccomp.KILL

    @given(number=st.integers(0, 2**32 - 1), arguments=st.tuples(*[st.integers(0, 2**64 - 1)] * 6))
    def test_nothing_else_passes(self, number, arguments):
        """A number in no list is refused on every machine; one of another ABI ends the process."""
        for machine in MACHINES.values():
            known = {value for names in (ALLOWED, JUDGED) for value in machine.numbers(names).values()}
            code = seccomp.build(writable=True, threads=True, libraries=True, machine=machine)
            if number not in known:
                assert decide(code, number, arguments, machine.audit_arch) != seccomp.ALLOW
            if machine.foreign_from is not None and number >= machine.foreign_from:
                assert decide(code, number, arguments, machine.audit_arch) == seccomp.KILL

    @given(number=st.integers(0, 500), arch=st.integers(0, 2**32 - 1))
    def test_another_architecture_ends_the_process(self, number, arch):
        """32-bit calls have other numbers, so none may be made."""
        for machine in MACHINES.values():
            if arch != machine.audit_arch:
                code = seccomp.build(writable=True, threads=True, libraries=True, machine=machine)
                assert decide(code, number, (), arch) == seccomp.KILL

    @pytest.mark.parametrize("flags", [0o1, 0o2, 0o100, 0o1001, 0o2001, 0o102, 0o20200002, 0o1000])
    def test_opening_for_writing(self, ask, flags):
        """Refused where nothing is writable, left to the other layers where something is."""
        assert ask("openat", 0, 0, flags) == refused(errno.EACCES)
        assert ask("openat", 0, 0, flags, writable=True) == seccomp.ALLOW
        assert ask("openat", 0, 0, 0o2000000) == seccomp.ALLOW

    def test_older_open(self, ask):
        """Its flags stand one argument earlier."""
        assert ask("open", 0, 0o101) == refused(errno.EACCES)
        assert ask("open", 0, 0) == seccomp.ALLOW

    def test_threads_and_nothing_more(self, ask):
        """A thread may start where threads are counted; no process, no namespace."""
        thread = 0x3D0F00
        assert ask("clone", thread) == seccomp.ALLOW
        assert ask("clone", thread, threads=False) == refused(errno.EPERM)
        for flags in (0x1200011, 0x4111, 0x11, thread | 0x10000000, thread | 0x20000):
            assert ask("clone", flags) == refused(errno.EPERM)
        assert ask("clone3") == refused(errno.ENOSYS)

    def test_executable_memory(self, ask):
        """Only where libraries may be loaded."""
        for name in ("mmap", "mprotect"):
            assert ask(name, 0, 4096, 5) == refused(errno.EPERM)
            assert ask(name, 0, 4096, 3) == seccomp.ALLOW
            assert ask(name, 0, 4096, 5, libraries=True) == seccomp.ALLOW

    def test_limits_are_only_read(self, ask):
        """A pointer to a new limit is refused, wherever its bits are."""
        assert ask("prlimit64", 0, 7, 0, 1234) == seccomp.ALLOW
        assert ask("prlimit64", 0, 7, 1 << 40, 0) == refused(errno.EPERM)
        assert ask("prlimit64", 0, 7, 4096, 0) == refused(errno.EPERM)

    def test_pipes_keep_their_flags(self, ask):
        """A program cannot change the pipes that the next one gets."""
        assert ask("fcntl", 1, 4, 0o4000) == refused(errno.EPERM)
        assert ask("ioctl", 1, 0x5421) == refused(errno.ENOTTY)
        assert ask("fcntl", 1, 1) == seccomp.ALLOW
