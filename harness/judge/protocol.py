"""Speed of one loaded model by one protocol, whatever runs it.

    warm-up runs ── then repeats x ( prefill | step, step, step, … )      batch 1, greedy, same token ids every time
                                     time to the first token              wall clock and CPU time of the process, apart

The clock stops when a token id is known on the host, so a device has finished what it was given. No token ends a run:
every model does the same work. CPU time beside wall time tells a busy machine from a slow model.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from harness.errors import MeasurementFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.deployment.runner import Runner
    from harness.progress import Progress

PROMPT_SEED: Final = 0
LABEL: Final = "speed and memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedProtocol:
    """What is run, and how often."""

    prefill_tokens: int
    decode_tokens: int
    repeats: int
    warm_up: int
    """Whole runs before the first that counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """How long a piece of work took, seconds."""

    wall_s: float
    cpu_s: float
    """Of all threads of this process, in user and kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One run of the protocol."""

    prefill: Span
    """Until the first new token is known."""
    decode: Span
    """All further tokens."""


def run_protocol(runner: Runner, protocol: SpeedProtocol, progress: Progress) -> tuple[Timing, ...]:
    """Warm up, repeat, and hand back every repeat in order.

    Raises:
        MeasurementFailed: the runner's context is too short, or its logits are not finite.
    """
    check_context(runner.name, runner.context_tokens, protocol)
    prompt = prompt_ids(runner.vocabulary_count, protocol.prefill_tokens)
    total = protocol.warm_up + protocol.repeats
    timings = []
    for run in range(total):
        timings.append(_run_once(runner, prompt, protocol.decode_tokens))
        progress(LABEL, run + 1, total)
    if not np.isfinite(runner.last_logits()).all():
        raise MeasurementFailed(f"{runner.name}: its logits are not finite in {runner.dtype}")
    return tuple(timings[protocol.warm_up :])


def check_context(name: str, context_tokens: int, protocol: SpeedProtocol) -> None:
    """Whether prompt and answer fit; raises ``MeasurementFailed``."""
    if context_tokens < (needed := protocol.prefill_tokens + protocol.decode_tokens):
        raise MeasurementFailed(
            f"{name}: the protocol needs {needed} tokens ({protocol.prefill_tokens} prefill, "
            f"{protocol.decode_tokens} decode), its context is {context_tokens}"
        )


def prompt_ids(vocabulary_count: int, count: int) -> list[int]:
    """The prompt of every measurement: ids drawn evenly from the vocabulary, the same ones every time."""
    return random.Random(PROMPT_SEED).choices(range(vocabulary_count), k=count)


def timed(work: Callable[[], int]) -> tuple[int, Span]:
    """What ``work`` returned, and how long it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    value = work()
    return value, Span(cpu_s=time.process_time() - cpu, wall_s=time.perf_counter() - wall)


def _run_once(runner: Runner, prompt: Sequence[int], decode_tokens: int) -> Timing:
    token, prefill = timed(lambda: runner.prefill(prompt))

    def decode() -> int:
        following = token
        for _ in range(decode_tokens):
            following = runner.step(following)
        return following

    return Timing(prefill=prefill, decode=timed(decode)[1])
