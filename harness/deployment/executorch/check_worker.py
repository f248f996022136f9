"""The fresh process of ``check``: ``python -m harness.deployment.executorch.check_worker REQUEST.json``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import AutoTokenizer, DynamicCache

from harness.channel import serve
from harness.checkpoint.checkpoint import Checkpoint, read_described_config
from harness.deployment.executorch.check import ExecutorchCheck, ExecutorchCheckRequest, logit_bound
from harness.deployment.executorch.runner import open_runner
from harness.deployment.manifest import ExecutorchManifest, verify
from harness.errors import CheckpointCorrupt
from harness.methods.models import load
from harness.structured.modeling_structured import CACHE_NAME
from harness.surgery import anatomy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.deployment.runner import Runner
    from harness.progress import Progress

PROMPT_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What the checkpoint says in FP32."""

    token_ids: list[int]
    """The prompt and the greedy tokens after it."""
    prompt_count: int
    logits: NDArray[np.float32]
    """``[tokens - 1, vocab]``: after each token but the last."""


def compare(request: ExecutorchCheckRequest, progress: Progress) -> ExecutorchCheck:
    """Logits and choices of package and checkpoint over a prompt and the checkpoint's own greedy answer.

    Raises:
        CheckpointCorrupt: the package is not whole, is of another checkpoint, or its tokenizer lacks its stop ids.
    """
    package, checkpoint = Path(request.package), Path(request.checkpoint)
    manifest = verify(ExecutorchManifest, package)
    _check_origin(package, manifest, checkpoint)
    _check_stop_ids(package, manifest)
    progress("package check", 1, 3)
    reference = _reference(checkpoint, manifest, request)
    progress("package check", 2, 3)
    found = _positions(open_runner(package, 1), reference, manifest.prefill_chunk)
    progress("package check", 3, 3)
    return _judge(checkpoint, manifest, reference, found)


def _check_origin(package: Path, manifest: ExecutorchManifest, checkpoint: Path) -> None:
    digest = Checkpoint.of(checkpoint).digest
    if manifest.checkpoint_digest != digest:
        raise CheckpointCorrupt(
            f"{package}: was made from checkpoint {manifest.checkpoint_digest[:12]}, not from {digest[:12]}"
        )


def _check_stop_ids(package: Path, manifest: ExecutorchManifest) -> None:
    tokenizer = AutoTokenizer.from_pretrained(package, local_files_only=True, trust_remote_code=False)
    unknown = [token_id for token_id in manifest.stop_ids if token_id >= len(tokenizer)]
    if unknown:
        raise CheckpointCorrupt(f"{package}: its tokenizer has {len(tokenizer)} tokens, none of them is {unknown}")


@torch.inference_mode()
def _reference(checkpoint: Path, manifest: ExecutorchManifest, request: ExecutorchCheckRequest) -> Reference:
    """A random prompt and the checkpoint's greedy answer; shorter where the context is."""
    prompt_count = min(request.prompt_tokens, max(1, manifest.context_tokens // 2))
    total = min(prompt_count + request.new_tokens, manifest.context_tokens)
    generator = torch.Generator().manual_seed(PROMPT_SEED)
    token_ids = torch.randint(manifest.vocabulary_count, (1, prompt_count), generator=generator).tolist()[0]
    model = load(checkpoint)
    cache = {CACHE_NAME: DynamicCache(config=model.config), "use_cache": True}
    rows = [model(input_ids=torch.tensor([token_ids]), **cache).logits[0].numpy()]
    while len(token_ids) < total:
        token_ids.append(int(rows[-1][-1].argmax()))
        rows.append(model(input_ids=torch.tensor([token_ids[-1:]]), **cache).logits[0].numpy())
    return Reference(token_ids=token_ids, prompt_count=prompt_count, logits=np.concatenate(rows))


def _positions(runner: Runner, reference: Reference, chunk: int) -> list[tuple[int, NDArray[np.float32]]]:
    """Positions and their logits: prefills around the length of a chunk, then one token at a time to the end."""
    prompt = reference.token_ids[: reference.prompt_count]
    lengths = sorted({length for length in (1, 2, chunk - 1, chunk, chunk + 1) if 0 < length < len(prompt)})
    found = []
    for length in (*lengths, len(prompt)):
        runner.prefill(prompt[:length])
        found.append((length - 1, runner.last_logits()))
    for position in range(len(prompt), len(reference.token_ids)):
        runner.step(reference.token_ids[position])
        found.append((position, runner.last_logits()))
    return found


def _judge(
    checkpoint: Path,
    manifest: ExecutorchManifest,
    reference: Reference,
    found: list[tuple[int, NDArray[np.float32]]],
) -> ExecutorchCheck:
    shape = anatomy.load(read_described_config(checkpoint))
    logits = reference.logits[[position for position, _ in found]]
    answered = np.stack([row for _, row in found])
    chosen = answered.argmax(-1)
    gaps = logits.max(-1) - np.take_along_axis(logits, chosen[:, None], -1)[:, 0]
    other = (chosen != logits.argmax(-1))[len(found) - len(reference.logits) + reference.prompt_count - 1 :]
    new_tokens = len(reference.token_ids) - reference.prompt_count
    return ExecutorchCheck(
        dtype=manifest.dtype,
        position_count=len(found),
        new_token_count=new_tokens,
        largest_logit=float(np.abs(logits).max()),
        largest_difference=float(np.abs(answered - logits).max()),
        bound=logit_bound(
            manifest.dtype,
            layer_count=shape.layer_count,
            sum_length=max(shape.sizes["hidden"], shape.sizes["intermediate"]),
            logit_rms=float(np.sqrt(np.square(logits, dtype=np.float64).mean())),
        ),
        first_difference=next((index for index in range(new_tokens) if other[index]), None),
        largest_gap=float(gaps.max()),
    )


if __name__ == "__main__":
    sys.exit(serve(ExecutorchCheckRequest, compare, sys.argv[1:]))
