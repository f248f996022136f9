"""A surgery that is killed leaves nothing that looks complete."""

from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np

from harness.checkpoint.checkpoint import Checkpoint, read_config
from harness.surgery.anatomy import load
from harness.surgery.apply import apply
from harness.surgery.plan import plan_of

KILLED = """
import os, signal, sys
from pathlib import Path
from harness.surgery.apply import apply
from harness.surgery.plan import Plan

def progress(label, done, total, detail=""):
    if done == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

apply(Path(sys.argv[1]), Plan.read(Path(sys.argv[2])), Path(sys.argv[3]), progress)
"""


def test_kill_and_rerun(tiny_checkpoints, tmp_path):
    """Killed with SIGKILL after any tensor: no folder at the output, and a rerun makes the bytes of a quiet run."""
    source = tiny_checkpoints["llama"]
    plan = plan_of(load(read_config(source)), {"intermediate": [np.arange(0, 96, 2).tolist()] * 2})
    plan.write(tmp_path / "plan.json")
    quiet = Checkpoint.of(apply(source, plan, tmp_path / "quiet"))
    for done in (0, 9, 20):
        out = tmp_path / f"out-{done}"
        command = [sys.executable, "-c", KILLED, str(source), str(tmp_path / "plan.json"), str(out), str(done)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        assert not out.exists()
        assert Checkpoint.of(apply(source, plan, out)).digest == quiet.digest
        assert not out.with_name(f".out-{done}.partial").exists()
