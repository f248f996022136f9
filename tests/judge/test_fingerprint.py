"""The fingerprint of a machine: what the kernel says, and nothing about who uses it."""

from __future__ import annotations

import getpass
import os
import platform
import socket
from pathlib import Path

import psutil

from harness.judge.fingerprint import FLAGS, host_fingerprint


class TestHostFingerprint:
    def test_is_this_machine(self):
        """Cores, memory and kernel as the system's own tools say them."""
        found = host_fingerprint()
        assert found.logical_cores == os.cpu_count()
        assert found.usable_cores == len(os.sched_getaffinity(0))
        assert found.memory_bytes == psutil.virtual_memory().total
        assert found.swap_bytes == psutil.swap_memory().total
        assert platform.release() in found.kernel
        assert set(found.cpu_flags) <= set(FLAGS)

    def test_is_stable_but_for_the_load(self):
        """Two looks differ in how busy the machine is, and in nothing else."""
        first, second = host_fingerprint(), host_fingerprint()
        assert first.model_copy(update={"load_at_start": 0.0}) == second.model_copy(update={"load_at_start": 0.0})

    def test_names_nobody(self):
        """Neither the host's name nor the user's is in it as a value."""
        values = set(map(str, host_fingerprint().model_dump().values()))
        assert not values & {socket.gethostname(), getpass.getuser(), str(Path.cwd())}
