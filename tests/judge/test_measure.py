"""The judge from outside: fresh processes, their figures, and what is said when they fail."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from subprocess import run

import pytest

from harness.containment import Limits
from harness.errors import MeasurementFailed
from harness.judge.filed import file_bits_per_byte, file_performance
from harness.judge.measure import Surroundings, measure_bits_per_byte, measure_performance
from harness.rules.edition import MeasurementRule

RULE = MeasurementRule(memory_limit_bytes=1, prefill_tokens=16, decode_tokens=4, repeats=3)
DIGEST = "0" * 64


@pytest.fixture
def surroundings(tmp_path):
    events = []
    limits = Limits(time_s=120, memory_bytes=4 << 30)
    return Surroundings(work_dir=tmp_path / "work", limits=limits, on_event=events.append, threads=1)


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": f"line {number}"}) + "\n" for number in range(5)))
    return path


class TestMeasureBitsPerByte:
    def test_in_a_fresh_process(self, tiny_checkpoints, texts, surroundings):
        """Several checkpoints, one process, figures in their order; the same request gives the same figures."""
        checkpoints = [tiny_checkpoints["qwen2"], tiny_checkpoints["llama"]]
        first = measure_bits_per_byte(checkpoints, texts, window_tokens=32, surroundings=surroundings)
        (alone,) = measure_bits_per_byte(checkpoints[1:], texts, window_tokens=32, surroundings=surroundings)
        assert first[1] == alone
        filed = file_bits_per_byte(alone, data="c4", split="validation", checkpoint_digest=DIGEST)
        assert (filed.value, filed.window_count) == (alone.bits_per_byte, 5)

    def test_a_failure_speaks_for_itself(self, tmp_path, tiny_checkpoints, texts, surroundings):
        """The worker's own words are the message."""
        folder = shutil.copytree(tiny_checkpoints["llama"], tmp_path / "cut")
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-1])
        with pytest.raises(MeasurementFailed, match=r"bits per byte: .*(safetensors|incomplete)"):
            measure_bits_per_byte([folder], texts, window_tokens=32, surroundings=surroundings)

    @pytest.mark.parametrize("model_type", ["llama", "own"])
    def test_code_in_a_checkpoint_is_not_run(self, tmp_path, tiny_checkpoints, texts, surroundings, model_type):
        """A checkpoint that brings code of its own is measured with stock classes or not at all."""
        folder = shutil.copytree(tiny_checkpoints["llama"], tmp_path / "hostile")
        config = json.loads((folder / "config.json").read_text())
        config |= {"model_type": model_type, "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
        with contextlib.nullcontext() if model_type == "llama" else pytest.raises(MeasurementFailed):
            measure_bits_per_byte([folder], texts, window_tokens=32, surroundings=surroundings)
        assert not (tmp_path / "ran").exists()

    def test_a_module_left_in_the_work_folder_is_not_imported(self, tiny_checkpoints, texts, surroundings):
        """What lies in the folder that the worker runs in cannot stand in for a library."""
        surroundings.work_dir.mkdir()
        (surroundings.work_dir / "torch.py").write_text("raise SystemExit('imported')\n")
        measure_bits_per_byte([tiny_checkpoints["llama"]], texts, window_tokens=32, surroundings=surroundings)


class TestMeasurePerformance:
    def test_figures(self, tiny_checkpoints, surroundings):
        """Every repeat is kept, medians are among them, and the peak is above what the libraries need."""
        found = measure_performance(tiny_checkpoints["phi"], rule=RULE, surroundings=surroundings)
        assert len(found.prefill_s) == len(found.decode_s) == 3
        assert found.time_to_first_token_s == sorted(found.prefill_s)[1]
        assert found.decode_tokens_per_s == 4 / sorted(found.decode_s)[1]
        assert found.peak_memory_bytes == found.host_peak_memory_bytes >= found.runtime_memory_bytes > 50 << 20
        assert (found.dtype, found.thread_count, found.device) == ("float16", 1, "cpu")
        filed = file_performance(found, checkpoint_digest=DIGEST)
        assert len(filed.decode_tokens_per_s_samples) == 3
        assert filed.peak_memory_bytes == found.peak_memory_bytes

    def test_the_memory_limit_holds(self, tiny_checkpoints, surroundings):
        """A process that needs more than it may is stopped, and that is said."""
        tight = Surroundings(
            work_dir=surroundings.work_dir,
            limits=Limits(time_s=120, memory_bytes=64 << 20),
            on_event=surroundings.on_event,
            threads=1,
        )
        with pytest.raises(MeasurementFailed, match="allowed 67108864"):
            measure_performance(tiny_checkpoints["llama"], rule=RULE, surroundings=tight)


def test_the_host_side_is_torch_free():
    """Asking for a measurement imports no torch: the figures of the process that asks stay small."""
    code = "import sys, harness.judge.measure, harness.judge.filed; sys.exit('torch' in sys.modules)"
    assert run([sys.executable, "-c", code], check=False).returncode == 0
