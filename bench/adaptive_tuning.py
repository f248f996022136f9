"""Memory and speed of adaptive layer tuning beside full backpropagation: the same model, the same batch.

    python bench/adaptive_tuning.py                        16 layers, a window of 4 at a time; docs/results/edge-llm.md
    python bench/adaptive_tuning.py --layers 12 --stride 3

Weights are random. Every way runs in a process of its own; all windows of an adaptive pass are measured, since the last
one runs all layers forward and the first one only its own. Three figures of memory:

saved     bytes that autograd keeps for the backward pass (saved-tensor hooks; every storage once, parameters left out)
layers'   the same without what norm, head and loss keep, which both ways pay alike
peak      VmHWM of the process during the steps, over what it held before the first of them: gradients and the
          optimizer's moments included

Tokens/s are of CPU time, so that what else the machine does weighs less; the ways take no turns, so their ratio is as
good as the machine is quiet.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from harness.methods.layer_tuning import ExitModel, segments

if TYPE_CHECKING:
    from torch import Tensor

FULL: Final = "full"
MEBIBYTE: Final = 1 << 20


class Forward(Protocol):
    """Hidden states of tokens, or logits."""

    def __call__(self, token_ids: Tensor, *, with_head: bool) -> Tensor:
        """``[B, T, D]`` or ``[B, T, V]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What is trained: a pico model's shape, deeper."""

    layers: int
    stride: int
    windows: int
    tokens: int
    steps: int


class SavedBytes:
    """Counts what autograd keeps while the block runs."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.parameters = {each.untyped_storage().data_ptr() for each in model.parameters()}
        self.found: dict[int, int] = {}
        self.kept: list[Tensor] = []

    def __enter__(self) -> SavedBytes:  # noqa: PYI034 - nobody derives from it
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)
        self.hooks.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.hooks.__exit__(*exception)  # type: ignore[arg-type]
        self.kept.clear()

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.parameters:
            self.found[storage.data_ptr()] = storage.nbytes()
            self.kept.append(tensor)  # so that no address is used twice
        return tensor

    @property
    def total(self) -> int:
        """Bytes of all storages."""
        return sum(self.found.values())


def main() -> None:
    """Measure every way in a process of its own and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--stride", type=int, default=4)
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    size = Size(**{name: getattr(asked, name) for name in ("layers", "stride", "windows", "tokens", "steps")})
    if asked.way:
        print(json.dumps(measured(size, asked.way)))
        return
    parts = segments(size.layers, size.stride, size.layers)
    ways = [FULL, *(str(number) for number in range(len(parts)))]
    print(table(size, {way: in_process(way) for way in ways}))


def in_process(way: str) -> dict[str, float]:
    """One way in a fresh process; the figures that it prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"# {way} {found}", file=sys.stderr, flush=True)
    return found


def measured(size: Size, way: str) -> dict[str, float]:
    """Bytes and tokens a CPU second of one way."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, forward = prepared(size, way)
    token_ids = torch.randint(0, model.config.vocab_size, (size.windows, size.tokens))
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-4)
    before = reset_peak()
    durations = []
    for _ in range(size.steps):
        started = time.process_time()
        step(forward, token_ids, optimizer)
        durations.append(time.process_time() - started)
    peak = status_bytes("VmHWM") - before
    body, head = saved_bytes(model, forward, token_ids)
    rate = size.windows * size.tokens / statistics.median(durations[1:])
    return {"saved": body + head, "layers": body, "peak": peak, "tokens_per_cpu_s": rate}


def prepared(size: Size, way: str) -> tuple[Any, Forward]:
    """The model with what ``way`` trains, and hidden states (False) or logits (True) of tokens."""
    config = LlamaConfig(
        vocab_size=1536,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=size.layers,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=32,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).train()
    parts = segments(size.layers, size.stride, size.layers)
    exits = ExitModel(model, [part.exit for part in parts])
    if way == FULL:
        last, first = size.layers - 1, 0
    else:
        part = parts[int(way)]
        exits.open(part)
        last, first = part.exit, part.first

    def forward(token_ids: Tensor, *, with_head: bool) -> Tensor:
        hidden = exits.hidden(token_ids, exit_layer=last, first=first)
        return exits.logits(hidden, last) if with_head else hidden

    return model, forward


def loss_of(logits: Tensor, token_ids: Tensor) -> Tensor:
    """Of the next token."""
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1), token_ids[:, 1:].flatten())


def step(forward: Forward, token_ids: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """One optimizer step on one batch."""
    loss_of(forward(token_ids, with_head=True), token_ids).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def saved_bytes(model: torch.nn.Module, forward: Forward, token_ids: Tensor) -> tuple[int, int]:
    """What layers keep, and what head and loss keep besides."""
    totals = []
    for with_head in (False, True):
        with ExitStack() as stack:
            counter = stack.enter_context(SavedBytes(model))
            output = forward(token_ids, with_head=with_head)
            kept = loss_of(output, token_ids) if with_head else output.sum()
            totals.append(counter.total)
            del kept, output
    return totals[0], totals[1] - totals[0]


def reset_peak() -> int:
    """Bytes that the process holds; its VmHWM begins anew there."""
    Path("/proc/self/clear_refs").write_text("5")
    return status_bytes("VmRSS")


def status_bytes(name: str) -> int:
    """A line of this process's status."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


def table(size: Size, found: dict[str, dict[str, float]]) -> str:
    """Every way beside full backpropagation, then the windows' largest and mean, as Markdown."""
    full, parts = found.pop(FULL), list(found.values())
    names = tuple(full)
    mean = {name: statistics.fmean(part[name] for part in parts) for name in names}
    # A pass over all windows takes the time of each, so its rate is the harmonic mean.
    mean["tokens_per_cpu_s"] = statistics.harmonic_mean([part["tokens_per_cpu_s"] for part in parts])
    worst = {name: max(part[name] for part in parts) for name in names}
    worst["tokens_per_cpu_s"] = min(part["tokens_per_cpu_s"] for part in parts)
    rows = {"full backpropagation": full}
    rows |= {f"window {number + 1} of {len(parts)}": part for number, part in enumerate(parts)}
    rows |= {"windows, mean": mean, "windows, worst": worst}
    lines = [
        f"{size.layers} layers, {size.stride} a window; {size.windows} x {size.tokens} tokens, FP32, AdamW, 1 thread.",
        "",
        "| way | saved, MiB | of full | layers' | of full | peak, MiB | of full | tokens/CPU s | x full |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        cells = [f"{row[key] / MEBIBYTE:.1f} | {row[key] / full[key]:.3f}" for key in ("saved", "layers", "peak")]
        rate = f"{row['tokens_per_cpu_s']:,.0f} | {row['tokens_per_cpu_s'] / full['tokens_per_cpu_s']:.2f}"
        lines.append(f"| {name} | {' | '.join(cells)} | {rate} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
