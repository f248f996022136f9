"""A distillation step of ours beside a plain one: the same models, the same tokens, in one run.

    python bench/distillation.py                             the CPU's, 8.75 M teacher, 3.15 M student; one thread
    python bench/distillation.py --device cuda               a GPU's: 1B-class student, 3B-class teacher, BF16

plain     the loop of a notebook: teacher and student make all logits of the batch, kl_div over them, autograd
chunked   ours with the teacher asked in every step: logits of a few rows at a time, gradients in closed form
cached    ours with the teacher's top k remembered; the pass that remembers is timed by itself and said beside it

Every way runs in a process of its own for its memory, and all take turns in one for their speed, so that other load on
the machine weighs on all alike. Extra memory is the peak during the steps over what stood before the first of them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import psutil
import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from harness.corpora.windows import Windows
from harness.methods.batches import Batch, read_batch
from harness.methods.distillation import Distilled, FeatureModel, LiveTeacher
from harness.methods.divergence import DistillationSettings
from harness.methods.teacher_cache import CacheSettings, remember

if TYPE_CHECKING:
    from collections.abc import Callable

WAYS: Final = ("plain", "chunked", "cached")
MEBIBYTE: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What is compared."""

    teacher: dict[str, Any]
    student: dict[str, Any]
    vocabulary: int
    windows: int
    tokens: int
    chunk_logits: int
    top_k: int = 32


def shape(hidden: int, layers: int, heads: int, groups: int, intermediate: int) -> dict[str, Any]:
    """Fields of a configuration."""
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "intermediate_size": intermediate,
    }


SIZES: Final = {
    "cpu": Size(
        teacher=shape(320, 6, 5, 5, 864),
        student=shape(192, 6, 6, 2, 512),
        vocabulary=4096,
        windows=8,
        tokens=256,
        chunk_logits=1 << 20,
    ),
    "cuda": Size(
        teacher=shape(3072, 28, 24, 8, 8192),
        student=shape(2048, 16, 32, 8, 8192),
        vocabulary=128256,
        windows=4,
        tokens=2048,
        chunk_logits=1 << 26,
    ),
}


def new_model(fields: dict[str, Any], size: Size, device: str, seed: int) -> Any:  # noqa: ANN401 - transformers' own class
    """A model with random weights and tied embeddings."""
    torch.manual_seed(seed)
    config = LlamaConfig(vocab_size=size.vocabulary, tie_word_embeddings=True, **fields)
    model: Any = LlamaForCausalLM(config)
    return model.to(device)


class Contest:
    """Both models, the tokens, and a step of each way."""

    def __init__(self, size: Size, device: str, folder: Path) -> None:
        self.size, self.device = size, torch.device(device)
        self.teacher = new_model(size.teacher, size, device, 0).eval().requires_grad_(requires_grad=False)
        self.student = new_model(size.student, size, device, 1).train()
        if device != "cpu":
            self.teacher.to(torch.bfloat16)
        self.optimizer = torch.optim.AdamW(self.student.parameters(), lr=1e-4, fused=True)
        shape_ = (4 * size.windows, size.tokens)
        token_ids = np.random.default_rng(0).integers(0, size.vocabulary, shape_).astype(np.uint32)
        self.windows = Windows(token_ids=token_ids, loss_mask=None, key="bench")
        self.folder = folder
        self.settings = DistillationSettings(chunk_logits=size.chunk_logits)

    def prepared(self, way: str) -> Callable[[Batch], torch.Tensor]:
        """The loss of ``way``, its teacher asked beforehand where it is remembered."""
        if way == "plain":
            return self._plain
        if way == "chunked":
            return Distilled(FeatureModel(self.student), LiveTeacher(self.teacher), self.settings)
        kept = CacheSettings(top_k=self.size.top_k, batch_windows=self.size.windows, compute=self._compute)
        targets = remember(self.teacher, self.windows, kept, teacher_key="bench", path=self.folder / "teacher")
        return Distilled(FeatureModel(self.student), targets, self.settings)

    @property
    def _compute(self) -> str:
        return "float32" if self.device.type == "cpu" else "bfloat16"

    def _plain(self, batch: Batch) -> torch.Tensor:
        with torch.no_grad():
            theirs = self.teacher(input_ids=batch.token_ids, use_cache=False).logits[:, :-1].float()
        ours = self.student(input_ids=batch.token_ids, use_cache=False).logits[:, :-1].float()
        return functional.kl_div(
            functional.log_softmax(ours.flatten(0, 1), -1),
            functional.log_softmax(theirs.flatten(0, 1), -1),
            log_target=True,
            reduction="batchmean",
        )

    def step(self, loss: Callable[[Batch], torch.Tensor], number: int) -> float:
        """One optimizer step; the loss, in nats a token."""
        first = number % 4 * self.size.windows
        batch = read_batch(self.windows, np.arange(first, first + self.size.windows), self.device)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type != "cpu"):
            value = loss(batch)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(value.detach())


class Watch:
    """The highest resident memory of this process from now on, sampled; the GPU's own figure on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._stop, self._peak = device, threading.Event(), 0
        self._process = psutil.Process()

    def __enter__(self) -> Self:
        self._before = self._process.memory_info().rss
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def extra_bytes(self) -> int:
        """Peak over what stood before."""
        peak = torch.cuda.max_memory_allocated() if self._device.type == "cuda" else self._peak
        return peak - self._before

    def _sample(self) -> None:
        while not self._stop.is_set():
            self._peak = max(self._peak, self._process.memory_info().rss)
            time.sleep(0.001)


def memory_of(way: str, size: Size, device: str, steps: int) -> dict[str, float]:
    """Extra memory of a few steps of one way, in this process; one step of the optimizer's own memory first."""
    with tempfile.TemporaryDirectory() as folder:
        contest = Contest(size, device, Path(folder))
        loss = contest.prepared(way)
        # Moments and gradients belong to any training: they are made before the watch begins.
        for parameter in contest.student.parameters():
            parameter.grad = torch.zeros_like(parameter)
        contest.optimizer.step()
        with Watch(contest.device) as watch:
            losses = [contest.step(loss, number) for number in range(steps)]
    return {"extra_mib": watch.extra_bytes / MEBIBYTE, "loss": losses[0]}


def speeds(size: Size, device: str, rounds: int, steps: int) -> dict[str, dict[str, float]]:
    """Tokens a processor-second and a second of every way, in turns; and what it costs to remember the teacher."""
    with tempfile.TemporaryDirectory() as folder:
        contest = Contest(size, device, Path(folder))
        start = time.process_time()
        losses = {way: contest.prepared(way) for way in WAYS}
        remembered_s = time.process_time() - start
        spent = {way: [0.0, 0.0] for way in WAYS}
        for way in WAYS:
            contest.step(losses[way], 0)
        for _ in range(rounds):
            for way in WAYS:
                _synchronise(device)
                before = time.process_time(), time.perf_counter()
                for number in range(steps):
                    contest.step(losses[way], number)
                _synchronise(device)
                for place, clock in enumerate((time.process_time(), time.perf_counter())):
                    spent[way][place] += clock - before[place]
    tokens = rounds * steps * size.windows * size.tokens
    asked = len(contest.windows) * size.tokens
    return {
        **{way: {"per_cpu_s": tokens / cpu, "per_s": tokens / wall} for way, (cpu, wall) in spent.items()},
        "teacher, once": {"per_cpu_s": asked / remembered_s, "per_s": float("nan")},
    }


def _synchronise(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def main() -> None:
    """Measure and print the table, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--memory-of", choices=WAYS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    size = SIZES[asked.device]
    if asked.memory_of:
        print(json.dumps(memory_of(asked.memory_of, size, asked.device, asked.steps)))
        return
    memory = {way: _in_a_process_of_its_own(way, asked.device) for way in WAYS}
    rates = speeds(size, asked.device, asked.rounds, asked.steps)
    print("| way | tokens per CPU-second | of plain | tokens per second | extra MiB | of plain |")
    print("|---|---|---|---|---|---|")
    for way, rate in rates.items():
        share = f"{rate['per_cpu_s'] / rates['plain']['per_cpu_s']:.2f}"
        extra = memory.get(way, {}).get("extra_mib", float("nan"))
        print(
            f"| {way} | {rate['per_cpu_s']:.0f} | {share} | {rate['per_s']:.0f} | {extra:.0f} | "
            f"{extra / memory['plain']['extra_mib']:.2f} |"
        )
    losses = ", ".join(f"{way} {memory[way]['loss']:.5f}" for way in WAYS)
    print(f"\nloss of the first step: {losses} (the top k and the rest of a random, flat teacher say little)")


def _in_a_process_of_its_own(way: str, device: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--memory-of", way, "--device", device]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


if __name__ == "__main__":
    main()
