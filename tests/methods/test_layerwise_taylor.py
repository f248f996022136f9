"""Scored a layer at a time from the disk, a model has the scores that it has in memory."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch.nn import functional

from harness.checkpoint.checkpoint import read_described_config
from harness.methods import models
from harness.methods.batches import Batch
from harness.methods.layerwise_taylor import stream_taylor
from harness.methods.taylor import TaylorSettings, taylor
from harness.methods.training import causal_lm_loss
from harness.surgery.anatomy import load
from harness.surgery.apply import apply
from harness.surgery.plan import plan_of
from tests.methods.scoring import AXES, ORDERS


def make_batches(count=3):
    generator = torch.Generator().manual_seed(1)
    ids = [torch.randint(3, 261, (2, 9), generator=generator) for _ in range(count)]
    return [Batch(token_ids=each, labels=each) for each in ids]


def both(checkpoint, folder=None, **fields):
    """Scores of the whole model and of its layers one by one."""
    anatomy, settings = load(read_described_config(checkpoint)), TaylorSettings(**fields)
    whole = taylor(models.load(checkpoint), anatomy, AXES, make_batches(), causal_lm_loss, settings=settings)
    parts = stream_taylor(checkpoint, anatomy, AXES, make_batches(), causal_lm_loss, settings=settings, folder=folder)
    return whole, parts


class TestStreamTaylor:
    @pytest.mark.parametrize("order", ORDERS)
    def test_equals_in_memory_to_the_bit(self, tiny_checkpoint, tmp_path, order):
        """The same values and gradients, in the same order."""
        whole, parts = both(tiny_checkpoint, tmp_path, order=order)
        for axis in AXES:
            assert np.array_equal(np.stack(parts[axis]), np.stack(whole[axis])), axis
            assert np.stack(whole[axis]).any()

    def test_what_it_is_asked_for(self, tiny_checkpoint):
        """Ways out alone, the original's way with groups, and states in memory."""
        for fields in ({"weights": "exit"}, {"compat": "llm-pruner-gqa"}):
            whole, parts = both(tiny_checkpoint, **fields)
            assert all(np.array_equal(np.stack(parts[axis]), np.stack(whole[axis])) for axis in AXES)

    def test_structured_checkpoints(self, tiny_checkpoints, tmp_path):
        """Fused linears and layers of different widths are met where they are."""
        base = tiny_checkpoints["llama"]
        anatomy = load(read_described_config(base))
        plan = plan_of(anatomy, {"intermediate": [range(40), range(96)]}, fused=("self_attn.qkv_proj",))
        whole, parts = both(apply(base, plan, tmp_path / "made"))
        for axis in AXES:
            for one, other in zip(parts[axis], whole[axis], strict=True):
                assert np.array_equal(one, other)

    def test_refuses(self, tiny_checkpoints):
        """No batches, and a loss that looks at something else."""
        base = tiny_checkpoints["llama"]
        anatomy = load(read_described_config(base))
        with pytest.raises(ValueError, match="got none"):
            stream_taylor(base, anatomy, AXES, [], causal_lm_loss)

        def elsewhere(model, batch):
            return functional.mse_loss(torch.zeros(1, requires_grad=True), torch.ones(1))

        with pytest.raises(ValueError, match="must depend on the hidden states"):
            stream_taylor(base, anatomy, AXES, make_batches(), elsewhere)

    def test_memory_is_a_layers(self, tmp_path):
        """Thirty-two layers take no more than a fraction of their FP32 bytes on top of what one layer takes."""
        # Freed memory goes back at once, so that the peak is what was held and not how the allocator keeps it.
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", MEASURE, str(tmp_path)]
        lines = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.splitlines()
        model_kib, before_kib, after_kib = map(int, lines[-1].split())
        assert model_kib > 150_000
        assert after_kib - before_kib < model_kib / 4


MEASURE = textwrap.dedent("""
    import sys
    from pathlib import Path

    import torch

    from harness.checkpoint.checkpoint import read_described_config
    from harness.methods.batches import Batch
    from harness.methods.layerwise_taylor import stream_taylor
    from harness.methods.training import causal_lm_loss
    from harness.surgery.anatomy import load
    from tests.methods.large import write_llama

    torch.set_num_threads(1)

    def score(folder):
        states = folder.with_name(folder.name + "-states")
        states.mkdir()
        ids = torch.randint(0, 512, (2, 64))
        anatomy = load(read_described_config(folder))
        batch = Batch(token_ids=ids, labels=ids)
        stream_taylor(folder, anatomy, ("intermediate", "kv_group"), [batch], causal_lm_loss, folder=states)

    def peak():
        return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

    root = Path(sys.argv[1])
    write_llama(root / "short", 1)
    score(root / "short")  # what libraries take on first use
    count = write_llama(root / "long", 32)
    before = peak()
    score(root / "long")
    print(count * 4 // 1024, before, peak())
""")
