"""nGPT pico against a Llama pico of equal parameters and tokens: tokens to reach the same loss on held-out text.

    python bench/scratch.py                                      ten trainings, 1.5 hours of one core
    python bench/scratch.py --steps 240 --seeds 0 --report -     a tenth of each, to the terminal

Both models see the same windows of the demo's corpus in the same order, with the embedded tokenizer. Each kind is
trained at several learning rates and keeps the one that ends lowest on the first seed: nGPT as published (no warm-up,
no weight decay, cosine to 0), Llama with a warm-up of 5 % and a weight decay of 0.1. The loss is measured on windows of
the validation split every so often; between two measurements the tokens to a loss are interpolated on a line.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from harness.corpora.encoding import encode
from harness.corpora.windows import pack
from harness.methods import ngpt, training
from harness.methods.batches import Batch
from harness.methods.training import TrainingSettings, causal_lm_loss
from harness.pico import catalogue
from harness.testing.door import embedded_door

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from harness.corpora.windows import Windows

WINDOW, BATCH, HELD_OUT = 160, 16, 32
HIDDEN, LAYERS, HEADS, INTERMEDIATE = 128, 3, 4, 384
MIXTURE: Final = {"c4": 0.85, "alpaca": 0.15}
RATES: Final[dict[str, tuple[float, ...]]] = {"ngpt": (1e-2, 2e-2, 3e-2), "llama": (3e-3, 5e-3, 1e-2)}
"""Tried on the first seed, unless others are asked for."""
MEASUREMENTS: Final = 20
ABOVE: Final = (0.5, 0.2, 0.05, 0.0)
"""Nats above the Llama's last loss, at which tokens are compared."""


@dataclass(slots=True)
class Curve:
    """One training: held-out loss in nats/token after so many tokens."""

    kind: str
    rate: float
    seed: int
    points: list[tuple[int, float]] = field(default_factory=list)
    processor_s: float = 0.0

    @property
    def final(self) -> float:
        """The last loss."""
        return self.points[-1][1]

    def tokens_to(self, loss: float) -> float | None:
        """Tokens after which the loss is first as low; None where it never is."""
        for (before, high), (after, low) in zip(self.points, self.points[1:], strict=False):
            if high > loss >= low:
                return before + (after - before) * (high - loss) / (high - low)
        return None


def llama(vocabulary: int, seed: int) -> LlamaForCausalLM:
    """Untied, as nGPT is, and with the same matrices."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocabulary,
                hidden_size=HIDDEN,
                intermediate_size=INTERMEDIATE,
                num_hidden_layers=LAYERS,
                num_attention_heads=HEADS,
                num_key_value_heads=HEADS,
                max_position_embeddings=512,
                initializer_range=0.04,
                tie_word_embeddings=False,
            )
        )


def sphere(vocabulary: int, seed: int) -> nn.Module:
    """The nGPT."""
    shape = ngpt.NgptShape(
        vocabulary=vocabulary,
        hidden=HIDDEN,
        layers=LAYERS,
        heads=HEADS,
        intermediate=INTERMEDIATE,
        context_tokens=512,
    )
    model = ngpt.initialised(ngpt.config_of(shape), seed=seed)
    model.set_attn_implementation("eager")  # at this size plain products beat the fused kernel for nGPT
    ngpt.attach(model)
    ngpt.normalise(model)
    return model


MODELS: Final = {"ngpt": sphere, "llama": llama}


def settings_of(kind: str, steps: int, rate: float) -> TrainingSettings:
    """How each kind is trained."""
    is_llama = kind == "llama"
    return TrainingSettings(
        optimizer_steps=steps,
        batch_windows=BATCH,
        learning_rate=rate,
        warmup_count=round(0.05 * steps) if is_llama else 0,
        weight_decay=0.1 if is_llama else 0.0,
        compute="bfloat16",
        checkpoint_every_s=1e9,
    )


def trained(curve: Curve, windows: Windows, held_out: Batch, steps: int) -> Curve:
    """Train one model and measure it on the way."""
    kind, rate, seed = curve.kind, curve.rate, curve.seed
    model, every, done, aside = MODELS[kind](windows_vocabulary(), seed), max(1, steps // MEASUREMENTS), 0, 0.0

    def after_step(bare: nn.Module) -> None:
        nonlocal done, aside
        done += 1
        if kind == "ngpt":
            ngpt.normalise(bare)
        if done % every == 0 or done == steps:
            begun = time.process_time()
            curve.points.append((done * BATCH * WINDOW, held_out_loss(bare, held_out)))
            aside += time.process_time() - begun

    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        training.train(
            model,
            windows,
            settings_of(kind, steps, rate),
            state=Path(folder),
            seed=seed,
            after_step=after_step,
        )
    curve.processor_s = time.process_time() - start - aside
    print(
        f"{kind:6} rate {rate:g} seed {seed}: {curve.final:.4f} nats/token, {curve.processor_s:.0f} s", file=sys.stderr
    )
    return curve


@torch.no_grad()
def held_out_loss(model: nn.Module, batch: Batch) -> float:
    """Mean negative log-likelihood, nats/token."""
    model.train(mode=False)
    loss = float(causal_lm_loss(model, batch))
    model.train()
    return loss


def windows_vocabulary() -> int:
    """Tokens of the embedded tokenizer."""
    return len(AutoTokenizer.from_pretrained(catalogue.path("pico-llama")))


def held_out_batch() -> Batch:
    """Windows of the validation split of C4."""
    tokenizer = AutoTokenizer.from_pretrained(catalogue.path("pico-llama"))
    door, ids = embedded_door(), list[int]()
    samples = islice(door.open("c4", split="validation"), 10_000)
    while len(ids) < HELD_OUT * WINDOW:
        for sample in encode(tokenizer, list(islice(samples, 64))):
            ids.extend(sample.token_ids)
    rows = torch.tensor(ids[: HELD_OUT * WINDOW]).view(HELD_OUT, WINDOW)
    return Batch(token_ids=rows, labels=rows)


def best_rate(curves: Sequence[Curve], kind: str) -> float:
    """The one that ended lowest."""
    return min((curve for curve in curves if curve.kind == kind), key=lambda curve: curve.final).rate


def measured(steps: int, seeds: Sequence[int], rates: dict[str, tuple[float, ...]]) -> list[Curve]:
    """Every rate on the first seed, and the best of them on the others."""
    tokenizer = AutoTokenizer.from_pretrained(catalogue.path("pico-llama"))
    with tempfile.TemporaryDirectory() as folder:
        windows = pack(
            embedded_door(),
            MIXTURE,
            tokenizer,
            window_tokens=WINDOW,
            window_count=steps * BATCH,
            seed=0,
            path=Path(folder) / "windows",
        )
        held_out = held_out_batch()
        first = [Curve(kind=kind, rate=rate, seed=seeds[0]) for kind, tried in rates.items() for rate in tried]
        curves = [trained(curve, windows, held_out, steps) for curve in first]
        others = [Curve(kind=kind, rate=best_rate(curves, kind), seed=seed) for seed in seeds[1:] for kind in rates]
        return curves + [trained(curve, windows, held_out, steps) for curve in others]


def report(curves: Sequence[Curve], seeds: Sequence[int], steps: int) -> str:
    """The page."""
    counts = {kind: parameters(model(windows_vocabulary(), 0)) for kind, model in MODELS.items()}
    tokens = steps * BATCH * WINDOW
    rates = {kind: dict.fromkeys(f"{c.rate:g}" for c in curves if c.kind == kind) for kind in MODELS}
    tried = " ".join(",".join(of_kind) for of_kind in rates.values())
    lines = [
        "# nGPT pico against a Llama pico",
        "",
        f"Made by `python bench/scratch.py --steps {steps} --seeds {','.join(map(str, seeds))} --rates {tried}`.",
        "",
        f"{tokens:,} tokens of the demo's corpus (85 % documents, 15 % instructions), the same windows in the same",
        f"order; nGPT {counts['ngpt']:,} trained parameters, Llama {counts['llama']:,}. Loss in nats/token on",
        f"{HELD_OUT} windows of the validation split. Processor seconds of one thread, without measuring.",
        "",
        "| model | rate | seed | held-out loss | processor s |",
        "|---|---|---|---|---|",
        *(f"| {c.kind} | {c.rate:g} | {c.seed} | {c.final:.4f} | {c.processor_s:.0f} |" for c in curves),
        "",
        "Tokens to the loss at which the Llama of the same seed ends, and to losses above it, each at its best rate:",
        "",
        "| seed | loss | Llama, tokens | nGPT, tokens | Llama / nGPT |",
        "|---|---|---|---|---|",
    ]
    for seed in seeds:
        ours, theirs = (
            next(c for c in curves if (c.kind, c.rate, c.seed) == (kind, best_rate(curves, kind), seed))
            for kind in ("ngpt", "llama")
        )
        losses = [theirs.final + above for above in ABOVE]
        lines += [row(seed, loss, theirs.tokens_to(loss), ours.tokens_to(loss)) for loss in losses]
        ratio = ours.processor_s / theirs.processor_s
        lines += [f"| {seed} | processor time of a token, nGPT / Llama | | | {ratio:.2f} |"]
    return "\n".join(lines) + "\n"


def parameters(model: nn.Module) -> int:
    """Trained ones: those of nGPT's training count each scale, which a checkpoint has folded."""
    return sum(parameter.numel() for parameter in model.parameters())


def row(seed: int, loss: float, theirs: float | None, ours: float | None) -> str:
    """One line; a loss that was not reached says so."""
    shown = [f"{tokens:,.0f}" if tokens else "not reached" for tokens in (theirs, ours)]
    ratio = f"{theirs / ours:.2f}" if theirs and ours else "-"
    return f"| {seed} | {loss:.3f} | {shown[0]} | {shown[1]} | {ratio} |"


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2400, help="Optimizer steps of 16 windows of 160 tokens.")
    parser.add_argument("--rates", nargs=2, metavar=("NGPT", "LLAMA"), help="Comma-separated; the defaults are tried.")
    parser.add_argument("--seeds", default="0,1,2", help="Comma-separated.")
    parser.add_argument("--report", default="docs/results/scratch-demo.md", help="Where the page goes; - for stdout.")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    seeds = [int(seed) for seed in chosen.seeds.split(",")]
    rates = RATES
    if chosen.rates:
        rates = {kind: tuple(map(float, text.split(","))) for kind, text in zip(RATES, chosen.rates, strict=True)}
    page = report(measured(chosen.steps, seeds, rates), seeds, chosen.steps)
    if chosen.report == "-":
        sys.stdout.write(page)
    else:
        Path(chosen.report).parent.mkdir(parents=True, exist_ok=True)
        Path(chosen.report).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
