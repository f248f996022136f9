"""The figures of docs/bench/executorch.md: memory of an export, and decoding beside transformers, torch and llama.cpp.

    python bench/executorch_package.py FOLDER                 127 M parameters, about 1.6 GB of FOLDER
    python bench/executorch_package.py FOLDER --size small    4 M parameters, for a quick look

Weights are random. An export is a process of its own; its peak is VmHWM above that of a process which only imports
what it imports. Engines of one thread count run in one process, in turns, round after round, so that whatever else the
machine does falls on all of them; ratios are of medians over the rounds. Seconds of a decode are those of 33 new tokens
less those of one. The bound is the read bandwidth of the same process, over the bytes of weights that a token reads.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES: Final[dict[str, dict[str, int]]] = {
    "full": {
        "vocab_size": 16000,
        "hidden_size": 1024,
        "intermediate_size": 2816,
        "num_hidden_layers": 8,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
    },
    "small": {
        "vocab_size": 4000,
        "hidden_size": 256,
        "intermediate_size": 688,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
}
DTYPES: Final = ("float16", "float32")
CONTEXT_TOKENS: Final = 512
CHUNK: Final = 64
PROMPT: Final = list(range(5, 69))
NEW_TOKENS: Final = 32
IMPORTED: Final = (
    "transformers.models.llama.modeling_llama",
    "harness.deployment.executorch.export",
    "harness.deployment.executorch.lowering",
    "harness.deployment.executorch.weights",
)
BUFFER_BYTES: Final = 1 << 28


def main() -> None:
    """Make the checkpoint, export it in every dtype, decode with every engine; one line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=sorted(SIZES), default="full")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--stage", choices=("make", "imports", "export", "decode"), help=argparse.SUPPRESS)
    parser.add_argument("--dtype", choices=DTYPES, default="float16", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.stage:
        stages = {"make": make, "imports": import_all, "export": export, "decode": decode}
        print(json.dumps(stages[asked.stage](asked)))
        return
    if not (asked.folder / "checkpoint").exists():
        run(asked, "make")
    floor = run(asked, "imports")["peak_bytes"]
    for dtype in DTYPES:
        said = run(asked, "export", dtype=dtype)
        above = said["peak_bytes"] - floor
        said |= {"above_imports_bytes": above, "of_fp16_size": above / (2 * said["parameter_count"])}
        print(json.dumps({f"export {dtype}": said}), flush=True)
    for threads in (1, 2):
        print(json.dumps({f"decode {threads} threads": run(asked, "decode", threads=threads)}, indent=1), flush=True)


def run(asked: argparse.Namespace, stage: str, dtype: str = "float16", threads: int = 1) -> dict[str, Any]:
    """One stage in a fresh process."""
    command = [sys.executable, __file__, str(asked.folder), "--size", asked.size, "--rounds", str(asked.rounds)]
    command += ["--stage", stage, "--dtype", dtype, "--threads", str(threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def peak_bytes() -> int:
    """VmHWM of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


def make(asked: argparse.Namespace) -> dict[str, Any]:
    """A random Llama in FP16 with a byte-level tokenizer."""
    import shutil

    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    from harness.testing.tiny import write_tiny_checkpoint

    torch.manual_seed(0)
    config = LlamaConfig(**SIZES[asked.size], max_position_embeddings=2048, bos_token_id=1, eos_token_id=2)
    tiny, folder = write_tiny_checkpoint("llama", asked.folder / "tiny"), asked.folder / "checkpoint"
    AutoModelForCausalLM.from_config(config).half().save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tiny / name, folder / name)
    return {}


def import_all(_: argparse.Namespace) -> dict[str, Any]:
    """What an export imports, and nothing else."""
    for name in IMPORTED:
        import_module(name)
    return {"peak_bytes": peak_bytes()}


def export(asked: argparse.Namespace) -> dict[str, Any]:
    """One package."""
    from harness.deployment.executorch.export import export_package
    from harness.deployment.executorch.options import ExecutorchOptions

    chosen = ExecutorchOptions(dtype=asked.dtype, context_tokens=CONTEXT_TOKENS, prefill_chunk=CHUNK)
    manifest = export_package(asked.folder / "checkpoint", asked.folder / asked.dtype, chosen)
    sizes = {file.name: file.size_bytes for file in manifest.files if file.name.startswith("model.")}
    count = manifest.parameter_count
    return {"peak_bytes": peak_bytes(), "cpu_s": time.process_time(), "parameter_count": count, "file_bytes": sizes}


def decode(asked: argparse.Namespace) -> dict[str, Any]:
    """Every engine in turns; rates by wall and by CPU time, and the bandwidth bound."""
    import torch

    torch.set_num_threads(asked.threads)
    engines = all_engines(asked)
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
    bandwidth = []
    for turn in range(asked.rounds + 1):
        bandwidth.append(read_bandwidth())
        for name, generate in engines.items():
            cost = measured(generate)
            if turn:  # the first round warms up
                rates[name].append(cost)
    medians = {
        name: [statistics.median(column) for column in zip(*costs, strict=True)] for name, costs in rates.items()
    }
    result: dict[str, Any] = {
        name: {"tokens_per_s": wall, "tokens_per_cpu_s": cpu} for name, (wall, cpu) in medians.items()
    }
    best = statistics.median(bandwidth)
    result["read_gb_per_s"] = best / 1e9
    result["bound_tokens_per_s"] = {
        dtype: best / (asked.folder / dtype / "model.ptd").stat().st_size for dtype in DTYPES
    }
    result["llama.cpp"] = "installed" if find_spec("llama_cpp") else "not installed"
    result["load"] = os.getloadavg()[0]
    return result


def measured(generate: Callable[[int], object]) -> tuple[float, float]:
    """Tokens per second of wall and of CPU time, of the tokens after the first."""

    def cost(count: int) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        generate(count)
        return time.perf_counter() - wall, time.process_time() - cpu

    (short_wall, short_cpu), (long_wall, long_cpu) = cost(1), cost(1 + NEW_TOKENS)
    return NEW_TOKENS / (long_wall - short_wall), NEW_TOKENS / (long_cpu - short_cpu)


def read_bandwidth() -> float:
    """Bytes per second of the fastest of three passes over a buffer that no cache holds."""
    import torch

    buffer, fastest = torch.ones(BUFFER_BYTES // 4), float("inf")
    for _ in range(3):
        started = time.perf_counter()
        buffer.sum()
        fastest = min(fastest, time.perf_counter() - started)
    return BUFFER_BYTES / fastest


def all_engines(asked: argparse.Namespace) -> dict[str, Callable[[int], object]]:
    """Functions that read the prompt and generate as many tokens as they are asked for."""
    engines: dict[str, Callable[[int], object]] = {}
    for dtype in DTYPES:
        engines[f"executorch {dtype}"] = executorch_engine(asked.folder / dtype, asked.threads)
    for dtype in ("float32", "float16", "bfloat16"):
        engines[f"transformers generate {dtype}"] = transformers_engine(asked.folder / "checkpoint", dtype)
        engines[f"torch eager, static cache, {dtype}"] = eager_engine(asked.folder / "checkpoint", dtype)
    return engines


def executorch_engine(package: Path, threads: int) -> Callable[[int], object]:
    """Our package."""
    from harness.deployment.executorch.runner import open_runner

    runner = open_runner(package, threads)

    def generate(count: int) -> None:
        token = runner.prefill(PROMPT)
        for _ in range(count - 1):
            token = runner.step(token)

    return generate


def transformers_engine(checkpoint: Path, dtype: str) -> Callable[[int], object]:
    """``generate``, greedy, its own cache."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=getattr(torch, dtype)).eval()
    prompt = torch.tensor([PROMPT])

    def generate(count: int) -> object:
        with torch.inference_mode():
            return model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=False,
                min_new_tokens=count,
                max_new_tokens=count,
                pad_token_id=0,
            )

    return generate


def eager_engine(checkpoint: Path, dtype: str) -> Callable[[int], object]:
    """The graph that is exported, run by torch."""
    import torch

    from harness.checkpoint.checkpoint import read_described_config
    from harness.checkpoint.dtypes import to_float32
    from harness.checkpoint.reader import open_checkpoint
    from harness.deployment.executorch.rotation import rotation_table
    from harness.deployment.executorch.step import Step, give, source_of
    from harness.surgery.anatomy import load

    anatomy, kind = load(read_described_config(checkpoint)), getattr(torch, dtype)
    rotation = rotation_table(checkpoint, CONTEXT_TOKENS, anatomy.sizes["head_dim"])
    step = Step(anatomy, rotation, CONTEXT_TOKENS, kind)
    with open_checkpoint(checkpoint) as reader:
        give(
            step,
            lambda name, _: torch.from_numpy(
                to_float32(reader.read(source_of(name, anatomy)), reader.entry(source_of(name, anatomy)).dtype)
            ).to(kind),
        )

    @torch.inference_mode()
    def generate(count: int) -> None:
        token_ids = torch.tensor([PROMPT])
        start = 0
        for _ in range(count):
            logits = step(token_ids, torch.tensor([start]))
            start += token_ids.shape[1]
            token_ids = logits.argmax(-1)[None]

    return generate


if __name__ == "__main__":
    main()
