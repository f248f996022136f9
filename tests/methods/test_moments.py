"""Moments are those of the activations, in memory and layer by layer alike."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

from harness.checkpoint.checkpoint import read_described_config
from harness.errors import CheckpointCorrupt
from harness.methods import models
from harness.methods.calibration import CalibrationBatch
from harness.methods.layerwise import stream_moments
from harness.methods.moments import gather_moments
from harness.surgery.anatomy import load
from harness.surgery.apply import apply
from harness.surgery.plan import plan_of

FIELDS = ("gram", "mean_magnitude", "output_magnitude")


def linears_of(model):
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and name != "lm_head"]


def make_calibration(*, padded=True):
    generator = torch.Generator().manual_seed(1)
    texts = [torch.randint(3, 261, (2, tokens), generator=generator) for tokens in (9, 17, 9)]
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[0, 6:] = False
    return [
        *(CalibrationBatch(token_ids=each) for each in texts),
        *([CalibrationBatch(token_ids=texts[0], mask=mask)] if padded else []),
    ]


class TestGatherMoments:
    def test_equals_the_moments_of_the_activations(self, tiny_checkpoint):
        """Gram matrix, mean of |x|, and the roots of each text's mean |y|, over all tokens that are no padding."""
        model, batches = models.load(tiny_checkpoint), make_calibration()
        path = next(path for path in linears_of(model) if path.endswith(("down_proj", "fc2")))
        heard = []
        hook = model.get_submodule(path).register_forward_hook(lambda _, i, o: heard.append((i[0], o)))
        found = gather_moments(model, [path], batches)[path]
        hook.remove()
        masks = [
            torch.ones_like(batch.token_ids, dtype=torch.bool) if batch.mask is None else batch.mask
            for batch in batches
        ]
        x = torch.cat([before[mask] for (before, _), mask in zip(heard, masks, strict=True)]).double().detach()
        texts = [
            text[kept]
            for (_, after), mask in zip(heard, masks, strict=True)
            for text, kept in zip(after, mask, strict=True)
        ]
        roots = torch.stack([text.double().abs().mean(0).sqrt() for text in texts]).sum(0).detach()
        assert found.token_count == len(x) == sum(int(mask.sum()) for mask in masks)
        torch.testing.assert_close(found.gram, x.T @ x, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found.mean_magnitude, x.abs().mean(0), rtol=1e-6, atol=0.0)
        torch.testing.assert_close(found.output_magnitude, roots, rtol=1e-5, atol=0.0)

    def test_half_precision_does_not_overflow(self):
        """Squares of FP16 activations are FP32."""
        body = nn.Sequential(nn.Linear(4, 4, bias=False)).half()
        body.base_model = lambda input_ids, **_: body(input_ids.half() * 1000)
        found = gather_moments(body, ["0"], [CalibrationBatch(token_ids=torch.ones(1, 3, 4, dtype=torch.int64))])["0"]
        torch.testing.assert_close(found.gram, torch.full((4, 4), 3e6, dtype=torch.float64))

    def test_refuses(self, tiny_checkpoints):
        """Modules that are not there, masks of other shapes, and nothing to count."""
        model = models.load(tiny_checkpoints["llama"])
        path = linears_of(model)[0]
        wrong = CalibrationBatch(token_ids=torch.ones(1, 4, dtype=torch.int64), mask=torch.ones(1, 3, dtype=torch.bool))
        for linears, batches, message in (
            (["nowhere"], make_calibration(), "nowhere"),
            ([path], [wrong], "mask must be"),
            ([path], [], "no token"),
        ):
            with pytest.raises(ValueError, match=message):
                gather_moments(model, linears, batches)


class TestStreamMoments:
    @pytest.mark.parametrize("on_disk", [True, False])
    def test_equals_in_memory_to_the_bit(self, tiny_checkpoint, tmp_path, on_disk):
        """A layer at a time, from the checkpoint, with the same bits and in the same order."""
        model, batches = models.load(tiny_checkpoint), make_calibration()
        paths = linears_of(model)
        whole, streamed = gather_moments(model, paths, batches), {}
        for found in stream_moments(tiny_checkpoint, paths, batches, folder=tmp_path if on_disk else None):
            streamed |= found.moments
            name = next(iter(found.moments))
            weight = model.get_submodule(name).weight
            assert torch.equal(found.layer.get_submodule(name.partition(f"layers.{found.index}.")[2]).weight, weight)
        assert set(streamed) == set(whole)
        for path, expected in whole.items():
            assert streamed[path].token_count == expected.token_count
            for field in FIELDS:
                assert torch.equal(getattr(streamed[path], field), getattr(expected, field)), (path, field)

    def test_structured_checkpoints(self, tiny_checkpoints, tmp_path):
        """Fused linears and layers of different widths are met where they are."""
        base = tiny_checkpoints["llama"]
        anatomy = load(read_described_config(base))
        plan = plan_of(anatomy, {"intermediate": [range(40), range(96)]}, fused=("self_attn.qkv_proj",))
        made = apply(base, plan, tmp_path / "made")
        model, batches = models.load(made), make_calibration()
        paths = linears_of(model)
        whole, streamed = gather_moments(model, paths, batches), {}
        for found in stream_moments(made, paths, batches):
            streamed |= found.moments
        assert any("qkv_proj" in path for path in paths)
        assert all(torch.equal(streamed[path].gram, whole[path].gram) for path in paths)

    def test_memory_is_a_layers(self, tmp_path):
        """Thirty-two layers take no more than a fraction of their FP32 bytes on top of what one layer takes."""
        # Freed memory goes back at once, so that the peak is what was held and not how the allocator keeps it.
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", MEASURE, str(tmp_path)]
        lines = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.splitlines()
        model_kib, before_kib, after_kib = map(int, lines[-1].split())
        assert model_kib > 150_000
        assert after_kib - before_kib < model_kib / 4

    def test_refuses(self, tiny_checkpoints, tmp_path):
        """Linears that are not there, no batches, ids beyond the embedding, and weights that are missing."""
        base = tiny_checkpoints["llama"]
        batches = make_calibration()
        far = [CalibrationBatch(token_ids=torch.full((1, 2), 999))]
        for linears, given, message in (
            (["model.layers.9.mlp.up_proj"], batches, "layers.9"),
            ([], [], "at least one"),
            ([], far, "999"),
        ):
            with pytest.raises(ValueError, match=message):
                list(stream_moments(base, linears, given))
        (tmp_path / "config.json").write_text((base / "config.json").read_text())
        with pytest.raises(CheckpointCorrupt):
            list(stream_moments(tmp_path, [], batches))


MEASURE = textwrap.dedent("""
    import sys
    from pathlib import Path

    import torch

    from harness.checkpoint.shards import read_layout
    from harness.methods.calibration import CalibrationBatch
    from harness.methods.layerwise import stream_moments
    from tests.methods.large import write_llama

    torch.set_num_threads(1)

    def calibrate(folder):
        states = folder.with_name(folder.name + "-states")
        states.mkdir()
        names = [entry.name for entry in read_layout(folder).tensors]
        linears = [n.removesuffix(".weight") for n in names if n.split(".")[-2] in {"v_proj", "o_proj", "down_proj"}]
        batches = [CalibrationBatch(token_ids=torch.randint(0, 512, (2, 64))) for _ in range(2)]
        for found in stream_moments(folder, linears, batches, folder=states):
            assert len(found.moments) == 3
            del found

    def peak():
        return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

    root = Path(sys.argv[1])
    write_llama(root / "short", 1)
    calibrate(root / "short")  # what libraries take on first use
    count = write_llama(root / "long", 32)
    before = peak()
    calibrate(root / "long")
    print(count * 4 // 1024, before, peak())
""")
