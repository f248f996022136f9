"""Factors by Gram matrix and eigenvectors against factors by a full SVD: error and processor time, in one run.

    python bench/factorisation.py [--rows 2048] [--columns 7168]
    python bench/factorisation.py --memory 12 --hidden 1024      calibration layer by layer beside the whole model
    python bench/factorisation.py --search                       what the search of ranks costs, counted

The weight has a spectrum that decays as those of trained models do; it is cut at a quarter of its rank. ``--memory``
writes a random model of so many layers and prints the peak memory of both ways in fresh processes. ``--search`` runs
the top-K search over the linears of Llama-3.1-8B after the published widths, with losses that are made up: it counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from harness.methods.low_rank import factorise, whitening
from harness.methods.rank_search import TopKSettings, search_top_k
from harness.methods.ranks import LinearSize

if TYPE_CHECKING:
    from collections.abc import Callable

DECAY: Final = -0.6
"""Singular value i is in proportion to i to this power."""
SHARES: Final = (0.95, 0.9, 0.8, 0.7, 0.6)
TEXTS, TOKENS, VOCABULARY = 4, 256, 1024
SMALL_HIDDEN: Final = 64
"""Of the model that each process runs first, for what its libraries take on first use."""


def main() -> None:
    """Print figures and their ratios as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--columns", type=int, default=7168)
    parser.add_argument("--memory", type=int, metavar="LAYERS")
    parser.add_argument("--search", action="store_true")
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--stage", choices=sorted(STAGES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.stage:
        print(json.dumps(STAGES[asked.stage](asked.folder)))
    elif asked.search:
        print(json.dumps(searches(), indent=1))
    elif asked.memory:
        print(json.dumps(memory(asked.memory, asked.hidden), indent=1))
    else:
        print(json.dumps(factorisations(asked.rows, asked.columns), indent=1))


def factorisations(rows: int, columns: int) -> dict[str, Any]:
    """Relative errors at a quarter of the rank, processor seconds, and what a full SVD costs more."""
    weight = decaying(rows, columns)
    rank = min(rows, columns) // 4
    found: dict[str, Any] = {"shape": [rows, columns], "rank": rank}
    for name, dtype, method in (
        ("gram float32", torch.float32, "gram"),
        ("gram float64", torch.float64, "gram"),
        ("svd float32", torch.float32, "svd"),
        ("svd float64", torch.float64, "svd"),
    ):
        wanted: dict[str, Any] = {"largest_rank": rank, "precision": dtype, "method": method}
        made, cpu_s, wall_s = timed(partial(factorise, weight, **wanted))
        left, right = made.cut(rank)
        error = float((weight - left @ right).norm() / weight.norm())
        found[name] = {"cpu_s": cpu_s, "wall_s": wall_s, "relative_error": error}
    for precision in ("float32", "float64"):
        quick, slow = found[f"gram {precision}"], found[f"svd {precision}"]
        found[f"{precision}: cpu ratio"] = slow["cpu_s"] / quick["cpu_s"]
        found[f"{precision}: errors differ by"] = abs(slow["relative_error"] / quick["relative_error"] - 1)
    inputs = torch.randn(2 * rows, rows, dtype=torch.float64)
    factor, cpu_s, wall_s = timed(lambda: whitening(inputs.T @ inputs))
    found["whitening"] = {"inputs": len(factor), "cpu_s": cpu_s, "wall_s": wall_s}
    return found


class Counter:
    """Counts what a search asks for; the loss rises with the weights that are gone, each linear at its own slope."""

    def __init__(self, linears: list[LinearSize]) -> None:
        self._sizes = {linear.path: linear for linear in linears}
        slopes = torch.rand(len(linears), generator=torch.Generator().manual_seed(0)).tolist()
        self._slopes = dict(zip(self._sizes, slopes, strict=True))
        self._rises = dict.fromkeys(self._sizes, 0.0)
        self._made: set[str] = set()
        self.trial_count = 0

    @property
    def factorisation_count(self) -> int:
        """Linears that a rank was asked of."""
        return len(self._made)

    def set(self, path: str, rank: int | None) -> None:
        """Compute ``path`` at ``rank``."""
        size = self._sizes[path]
        gone = 1 - size.weights(rank) / size.dense_count
        self._rises[path] = self._slopes[path] * gone**2
        if rank is not None:
            self._made.add(path)

    def loss(self) -> float:
        """As made up."""
        self.trial_count += 1
        return sum(self._rises.values())


def searches() -> dict[str, Any]:
    """Of several shares that stay: rounds, factorisations and passes over the calibration, here and as the original.

    The original factorises anew for every linear that it tries; a pass is one, too, after each round and before all.
    """
    shapes = {"qkv": (5376, 4096), "o": (4096, 3584), "gate_up": (22936, 4096), "down": (4096, 11468)}
    linears = [
        LinearSize(path=f"{layer}.{name}", out_count=rows, in_count=columns)
        for layer in range(32)
        for name, (rows, columns) in shapes.items()
    ]
    whole, found = sum(linear.dense_count for linear in linears), {}
    for share in SHARES:
        probe, again = Counter(linears), Counter(linears)
        made = search_top_k(linears, int(whole * share), probe)
        theirs = search_top_k(linears, int(whole * share), again, TopKSettings(refresh="all", whole_rounds=True))
        found[f"{share:g} of the weights of {len(linears)} linears stay"] = {
            "rounds": made.round_count,
            "linears with a rank": sum(rank is not None for rank in made.ranks.values()),
            "factorisations": made.factorisation_count,
            "passes": made.trial_count,
            "original: rounds": theirs.round_count,
            "original: passes": theirs.trial_count,
            "original: factorisations": theirs.trial_count - theirs.round_count - 1,
        }
    return found


def decaying(rows: int, columns: int) -> torch.Tensor:
    """A matrix whose singular values fall as a power."""
    torch.manual_seed(0)
    count = min(rows, columns)
    left, _ = torch.linalg.qr(torch.randn(rows, count))
    right, _ = torch.linalg.qr(torch.randn(columns, count))
    made: torch.Tensor = left * torch.arange(1.0, count + 1).pow(DECAY) @ right.T
    return made


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What ``work`` returns, its processor seconds and its seconds."""
    cpu, wall = time.process_time(), time.monotonic()
    made = work()
    return made, time.process_time() - cpu, time.monotonic() - wall


def memory(layers: int, hidden: int) -> dict[str, Any]:
    """Peak memory of calibration in both ways, each in a fresh process, on top of what its libraries take."""
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder) / "small" / "model", 1, SMALL_HIDDEN)
        parameters = write_model(Path(folder) / "model", layers, hidden)
        found: dict[str, Any] = {"parameters": parameters, "fp32_mib": 4 * parameters / 2**20}
        for stage in STAGES:
            command = [sys.executable, __file__, "--stage", stage, "--folder", folder]
            # Freed memory goes back at once, so that a peak is what was held and not how the allocator keeps it.
            environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
            lines = subprocess.run(
                command, check=True, capture_output=True, text=True, env=environment
            ).stdout.splitlines()
            found[stage] = json.loads(lines[-1])
    streamed, whole = (found[stage]["peak_mib"] for stage in ("streamed", "whole"))
    return {**found, "whole over streamed": whole / streamed, "streamed over fp32": streamed / found["fp32_mib"]}


def write_model(folder: Path, layers: int, hidden: int) -> int:
    """A random Llama in FP16, one tensor at a time; returns its parameters."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from harness.checkpoint.writer import CheckpointWriter, TensorSpec

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=8,
        tie_word_embeddings=True,
        architectures=["LlamaForCausalLM"],
    )
    with torch.device("meta"):
        shapes = {name: tuple(each.shape) for name, each in LlamaForCausalLM(config).named_parameters()}
    specs = [TensorSpec(name=name, dtype="F16", shape=shape) for name, shape in shapes.items()]
    with CheckpointWriter(folder, specs) as writer:
        for name, shape in shapes.items():
            values = torch.ones(shape) if len(shape) == 1 else torch.randn(shape) * 0.02
            writer.append(name, iter([values.half().numpy()]))
        writer.write_file("config.json", config.to_json_string(use_diff=False).encode())
    return sum(torch.Size(shape).numel() for shape in shapes.values())


def streamed(folder: Path) -> dict[str, float]:
    """Layer by layer, hidden states on disk."""
    calibrate_streamed(folder / "small")
    before = peak_mib()
    calibrate_streamed(folder)
    return figures(before)


def calibrate_streamed(folder: Path) -> None:
    """Moments of the model in ``folder``, each layer's let go before the next."""
    from harness.methods.layerwise import stream_moments

    (folder / "states").mkdir()
    for found in stream_moments(folder / "model", linears(folder), batches(), folder=folder / "states"):
        del found


def whole(folder: Path) -> dict[str, float]:
    """The model in memory."""
    calibrate_whole(folder / "small")
    before = peak_mib()
    calibrate_whole(folder)
    return figures(before)


def calibrate_whole(folder: Path) -> None:
    """Moments of all linears of the model in ``folder``."""
    from harness.methods import models
    from harness.methods.moments import gather_moments

    gather_moments(models.load(folder / "model"), linears(folder), batches())


def figures(before: float) -> dict[str, float]:
    """Peak on top of ``before``, and of the whole process."""
    return {"peak_mib": peak_mib() - before, "process_peak_mib": peak_mib(), "cpu_s": time.process_time()}


def linears(folder: Path) -> list[str]:
    """One linear for each distinct input of a layer."""
    from harness.checkpoint.shards import read_layout

    ends = ("v_proj.weight", "o_proj.weight", "up_proj.weight", "down_proj.weight")
    names = [entry.name for entry in read_layout(folder / "model").tensors]
    return [name.removesuffix(".weight") for name in names if name.endswith(ends)]


def batches() -> list[Any]:
    """Random texts."""
    from harness.methods.calibration import CalibrationBatch

    generator = torch.Generator().manual_seed(0)
    shape = (TEXTS, TOKENS)
    return [CalibrationBatch(token_ids=torch.randint(0, VOCABULARY, shape, generator=generator)) for _ in range(2)]


def peak_mib() -> float:
    """VmHWM of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


STAGES: Final[dict[str, Callable[[Path], dict[str, float]]]] = {"streamed": streamed, "whole": whole}

if __name__ == "__main__":
    main()
