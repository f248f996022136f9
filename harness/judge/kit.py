"""The competition kit's own protocol, beside ours: one padded forward pass, batch 1, over and over.

    kit:   start ─ model(ids, mask) ─ stop ─ synchronise      on a GPU the clock stops when the work was handed over
    ours:  synchronise ─ start ─ model(ids, mask) ─ synchronise ─ stop

The kit computes batch / mean(time) and takes the mean of ``max_memory_allocated``; it tokenises the first Wikipedia
article and cuts it at 2,000 tokens, so nothing of it is padding. Here the tokens are drawn: their value costs no time.
Source: EvaluateThrougthputAndMemory.py of the kit.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Final

import torch

from harness.judge.memory import peak_resident_bytes
from harness.judge.protocol import Span, prompt_ids
from harness.judge.results import KitForward
from harness.judge.transformers_runner import open_transformers

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from harness.judge.requests import KitRequest
    from harness.progress import Progress

KIT_TOKENS: Final = 2000
BATCH: Final = 1
LABEL: Final = "the kit's own protocol"
KIT_MEGABYTE: Final = 1 << 20


def measure_kit(request: KitRequest, progress: Progress) -> KitForward:
    """Load and run the protocol, in a process of its own: the logits of all positions would be in another's peak.

    Raises:
        MeasurementFailed: the checkpoint cannot be loaded whole.
    """
    runner = open_transformers(
        Path(request.checkpoint), precision=request.precision, device=request.device, threads=request.threads
    )
    return run_kit(runner.model, context_tokens=runner.context_tokens, repeats=request.repeats, progress=progress)


def run_kit(model: PreTrainedModel, *, context_tokens: int, repeats: int, progress: Progress) -> KitForward:
    """One forward to warm up, then ``repeats`` that count; on a GPU as many again, timed as the kit does."""
    token_ids = _tokens(model, min(KIT_TOKENS, context_tokens))
    on_gpu = model.device.type == "cuda"
    forward_once(model, token_ids, synchronise=on_gpu)
    spans = []
    for run in range(repeats):
        spans.append(forward_once(model, token_ids, synchronise=on_gpu))
        progress(LABEL, run + 1, repeats)
    unsynchronised, peaks = _as_the_kit(model, token_ids, repeats) if on_gpu else ([], [])
    return KitForward(
        forward_tokens=token_ids.shape[1],
        kit_length=token_ids.shape[1] == KIT_TOKENS,
        forward_s=tuple(span.wall_s for span in spans),
        forward_cpu_s=tuple(span.cpu_s for span in spans),
        inferences_per_s=BATCH / fmean(span.wall_s for span in spans),
        kit_compatible_inferences_per_s=BATCH / fmean(unsynchronised) if unsynchronised else None,
        kit_memory_mb=fmean(peaks) / KIT_MEGABYTE if peaks else None,
        host_peak_memory_bytes=peak_resident_bytes(),
    )


@torch.inference_mode()
def forward_once(model: PreTrainedModel, token_ids: Tensor, *, synchronise: bool) -> Span:
    """Logits of every position of ``[1, tokens]``; without ``synchronise`` the clock of a GPU stops early."""
    mask = torch.ones_like(token_ids)
    if synchronise:
        torch.cuda.synchronize(model.device)
    wall, cpu = time.perf_counter(), time.process_time()
    model(input_ids=token_ids, attention_mask=mask)
    if synchronise:
        torch.cuda.synchronize(model.device)
    return Span(cpu_s=time.process_time() - cpu, wall_s=time.perf_counter() - wall)


def _as_the_kit(model: PreTrainedModel, token_ids: Tensor, repeats: int) -> tuple[list[float], list[int]]:
    times, peaks = [], []
    for _ in range(repeats):
        times.append(forward_once(model, token_ids, synchronise=False).wall_s)
        torch.cuda.synchronize(model.device)
        peaks.append(torch.cuda.max_memory_allocated(model.device))
    return times, peaks


def _tokens(model: PreTrainedModel, count: int) -> Tensor:
    return torch.tensor([prompt_ids(int(model.config.vocab_size), count)], device=model.device)  # [1, tokens]
