"""A surgery that is killed leaves nothing that looks complete, and the next one ends in the same bytes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from harness.checkpoint import writer
from harness.checkpoint.checkpoint import Checkpoint, read_config
from harness.errors import UsageError
from harness.surgery.anatomy import load
from harness.surgery.apply import apply
from harness.surgery.plan import plan_of

SHARD_BYTES = 60_000

# Every tensor, flush and rename is a moment; the process kills itself at one of them, or says how many there were.
KILLED = """
import os, signal, sys
from pathlib import Path
from harness.surgery.apply import apply
from harness.surgery.plan import Plan

moments, last = 0, int(sys.argv[4])

def moment():
    global moments
    if moments == last:
        os.kill(os.getpid(), signal.SIGKILL)
    moments += 1

def counted(function):
    def call(*args, **kwargs):
        moment()
        return function(*args, **kwargs)
    return call

os.fsync = counted(os.fsync)
Path.rename = counted(Path.rename)
Path.replace = counted(Path.replace)
apply(Path(sys.argv[1]), Plan.read(Path(sys.argv[2])), Path(sys.argv[3]), lambda *_: moment(), max_shard_bytes=60_000)
print(moments)
"""


@pytest.fixture
def work(tiny_checkpoints, tmp_path):
    """A source, a plan in a file, and the digest of what a quiet run makes."""
    source = tiny_checkpoints["llama"]
    plan = plan_of(load(read_config(source)), {"intermediate": [np.arange(0, 96, 2).tolist()] * 2})
    plan.write(tmp_path / "plan.json")
    quiet = apply(source, plan, tmp_path / "quiet", max_shard_bytes=SHARD_BYTES)
    return source, plan, Checkpoint.of(quiet).digest


def run_killed(source, folder, out, moment):
    command = [sys.executable, "-c", KILLED, str(source), str(folder / "plan.json"), str(out), str(moment)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


class TestKill:
    def test_ten_random_moments(self, work, tmp_path):
        """Killed with SIGKILL anywhere: no folder at the output, and a rerun makes the bytes of a quiet run."""
        source, plan, digest = work
        moments = int(run_killed(source, tmp_path, tmp_path / "counted", -1).stdout)
        for number, moment in enumerate(sorted(random.Random(0).sample(range(moments), 10))):
            out = tmp_path / f"out-{number}"
            assert run_killed(source, tmp_path, out, moment).returncode == -signal.SIGKILL
            assert not out.exists() or Checkpoint.of(out).digest == digest  # killed after the last rename
            assert Checkpoint.of(apply(source, plan, out, max_shard_bytes=SHARD_BYTES)).digest == digest
            assert not out.with_name(f".{out.name}.partial").exists()

    def test_whole_shards_are_not_written_again(self, work, tmp_path, monkeypatch):
        """A rerun of the same plan writes only the tensors of the shards that were not whole."""
        source, plan, digest = work
        out, total = tmp_path / "out", 0
        moments = int(run_killed(source, tmp_path, tmp_path / "counted", -1).stdout)
        run_killed(source, tmp_path, out, moments * 2 // 3)
        finished = list(out.with_name(".out.partial").glob("*.safetensors"))
        assert finished
        append = writer.CheckpointWriter.append

        def counting(self, name, chunks):
            nonlocal total
            total += 1
            append(self, name, chunks)

        monkeypatch.setattr(writer.CheckpointWriter, "append", counting)
        assert Checkpoint.of(apply(source, plan, out, max_shard_bytes=SHARD_BYTES)).digest == digest
        assert 0 < total < len(load(read_config(source)).tensors)

    def test_remains_of_another_plan_are_thrown_away(self, work, tmp_path):
        """Shards that an other plan left unfinished never end up in a result."""
        source, plan, digest = work
        moments = int(run_killed(source, tmp_path, tmp_path / "counted", -1).stdout)
        other = plan_of(load(read_config(source)), {"intermediate": [range(48)] * 2})
        other.write(tmp_path / "plan.json")
        run_killed(source, tmp_path, tmp_path / "out", moments * 2 // 3)
        assert Checkpoint.of(apply(source, plan, tmp_path / "out", max_shard_bytes=SHARD_BYTES)).digest == digest


class TestDisk:
    def test_a_full_disk_is_refused_before_the_first_byte(self, work, tmp_path, monkeypatch):
        """The message says how much is needed, and nothing is left behind."""
        source, plan, _ = work
        monkeypatch.setattr(writer.shutil, "disk_usage", lambda _path: SimpleNamespace(free=1000))
        with pytest.raises(UsageError, match=r"needs 0\.\d+ GB.* 0\.000 GB free"):
            apply(source, plan, tmp_path / "full")
        assert not [path for path in tmp_path.iterdir() if "full" in path.name]
