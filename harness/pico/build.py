"""Train the embedded models from nothing but the rule-made corpus and a seed: ``harness pico build``.

One process and one thread for each model, so that the same seed gives the same bytes on the same kind of processor
whatever else runs beside it.
"""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from queue import Empty, Queue
from typing import TYPE_CHECKING

from harness.checkpoint.checkpoint import sha256_of
from harness.pico import catalogue

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

    from harness.pico.training import Schedule, Trainer
    from harness.progress import Progress

Message = tuple[str, int, int, str]
POLL_INTERVAL_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSettings:
    """How the models are trained. The defaults made the shipped ones."""

    seed: int = 0
    steps: int = 2800
    batch_size: int = 16
    window_tokens: int = 160
    peak_rate: float = 3e-3
    vocabulary_size: int = 1536
    vocabulary_items: int = 20_000
    layers: int = 4
    intermediate: int | None = None
    """Width of the MLP; None for the model's own."""


def build(
    names: Sequence[str], out: Path, settings: BuildSettings, *, jobs: int, progress: Progress
) -> dict[str, dict[str, str]]:
    """Train the models ``names`` into folders of ``out`` and write their digests beside them.

    Returns:
        Model to file name to SHA-256, of everything in ``out``.
    """
    out.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(jobs, mp_context=context) as pool:
        messages: Queue[Message] = manager.Queue()
        running = {pool.submit(build_one, name, out / name, settings, messages) for name in names}
        _follow(running, messages, progress)
    digests = {folder.name: _digests(folder) for folder in sorted(out.iterdir()) if folder.is_dir()}
    (out / catalogue.DIGESTS).write_text(json.dumps(digests, indent=2, sort_keys=True) + "\n")
    return digests


def build_one(name: str, folder: Path, settings: BuildSettings, messages: Queue[Message]) -> None:
    """Train one model and write its folder; reports go to ``messages``."""
    from harness.pico import vocabulary

    trainer, schedule, tokenizer = prepared(name, settings)
    trainer.run(
        schedule,
        until=schedule.steps,
        on_step=lambda step, loss: messages.put((name, step, schedule.steps, f"loss {loss:.3f}")),
    )
    save(trainer.model, folder)
    vocabulary.save(tokenizer, folder)


def prepared(name: str, settings: BuildSettings) -> tuple[Trainer, Schedule, Tokenizer]:
    """A trainer at step 0 on the packed training stream, its schedule, and the tokenizer; one thread from here on."""
    import torch

    from harness.pico import shapes, training, vocabulary, windows

    torch.set_num_threads(1)
    tokenizer = vocabulary.train(
        seed=settings.seed, vocabulary_size=settings.vocabulary_size, item_count=settings.vocabulary_items
    )
    packed = windows.pack(
        tokenizer, count=settings.steps * settings.batch_size, length=settings.window_tokens, seed=settings.seed
    )
    model = shapes.initialised(
        name,
        seed=settings.seed,
        vocabulary_size=settings.vocabulary_size,
        layers=settings.layers,
        intermediate=settings.intermediate,
    )
    # At this size plain matrix products beat the fused kernel on a CPU.
    model.set_attn_implementation("eager")
    schedule = training.Schedule(steps=settings.steps, batch_size=settings.batch_size, peak_rate=settings.peak_rate)
    return training.Trainer(model, packed), schedule, tokenizer


def save(model: PreTrainedModel, folder: Path) -> None:
    """Write a model's configuration and FP16 weights; the model itself is rounded too."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    model.eval()  # type: ignore[no-untyped-call]
    model.to(torch.float16).save_pretrained(folder)  # type: ignore[arg-type]


def _follow(running: set[Future[None]], messages: Queue[Message], progress: Progress) -> None:
    while running:
        finished, running = wait(running, timeout=POLL_INTERVAL_S, return_when=FIRST_COMPLETED)
        for message in _drained(messages):
            progress(*message)
        for future in finished:
            future.result()


def _drained(messages: Queue[Message]) -> list[Message]:
    drained: list[Message] = []
    try:
        while True:
            drained.append(messages.get_nowait())
    except Empty:
        return drained


def _digests(folder: Path) -> dict[str, str]:
    return {file.name: sha256_of(file) for file in sorted(folder.iterdir()) if file.is_file()}
