"""Track scratch: C4NGPT's way, from nothing to a model that answers.

tokenizer ── initialise ──> untrained nGPT ── pretrain, filtered documents ──> ── sft, instructions ──> final
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from harness import Forecast, StepResult
from harness.corpora.encoding import tokenizer_of
from harness.corpora.filters.packing import pack_filtered
from harness.corpora.windows import pack
from harness.document import write_atomically
from harness.errors import UsageError
from harness.methods import models, ngpt
from harness.methods.training import TrainingSettings
from harness.surgery.count import parameter_count
from harness_nics.scratch_options import PretrainStep, SftStep

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import JsonValue
    from transformers import PreTrainedTokenizerBase

    from harness import ForecastRequest, InitialiseRequest, TrainRequest
    from harness.corpora.windows import Windows
    from harness_nics.scratch_options import InitialiseStep, SphereStep

STATE_EVERY_S: Final = 10.0
"""Seconds of work that a kill may cost."""
LLAMA_3_TOKENS: Final = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
LLAMA_3_TEMPLATE: Final = (
    "{{ bos_token }}{% for message in messages %}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n{{ message['content'] | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


def forecast(request: ForecastRequest[Any, InitialiseStep]) -> Forecast | None:
    """The configuration that ``initialise`` would write; None where nothing says how long the vocabulary is.

    Raises:
        UsageError: the tokenizer has another length than the recipe says.
    """
    vocabulary = _vocabulary(request.step, request.config.get("vocab_size"))
    if vocabulary is None:
        return None
    tokens = _special_tokens(request.config)
    config = ngpt.config_of(shape_of(request.step, vocabulary), tokens)
    return Forecast(config=config, parameter_count=parameter_count(config))


def initialise(request: InitialiseRequest[Any, InitialiseStep]) -> StepResult:
    """Write an untrained nGPT for the tokenizer.

    Raises:
        UsageError: the tokenizer has another length than the recipe says, or lacks what the chat template writes.
    """
    tokenizer = tokenizer_of(request.tokenizer)
    vocabulary = _vocabulary(request.step, len(tokenizer))
    assert vocabulary is not None  # noqa: S101 - the tokenizer has a length
    ids = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}
    config = ngpt.config_of(shape_of(request.step, vocabulary), _special_tokens(ids))
    output = models.save(
        ngpt.initialised(config, seed=request.seed), request.workdir / "initial", like=request.tokenizer
    )
    if request.step.chat_template == "llama-3":
        _write_llama_3_template(tokenizer, output)
    return StepResult(checkpoint=output, notes={"parameter_count": parameter_count(config)})


def train(request: TrainRequest[Any, SphereStep]) -> StepResult:
    """Train the student on the sphere; what an earlier, killed try left is gone on from, to the same bytes.

    Raises:
        UsageError: the student is no nGPT.
    """
    windows, notes = _windows(request)
    model = models.load(request.student.path, device=request.device)
    if not ngpt.is_ngpt(model):
        raise UsageError(
            f"{request.step.method}: trains an nGPT, as initialise writes one; found {type(model).__name__}"
        )
    history = ngpt.train_on_sphere(
        model,
        windows,
        training_settings(request.step),
        state=request.workdir / "state",
        device=request.device,
        seed=request.seed,
        progress=request.progress,
    )
    output = models.save(model, request.workdir / "trained", like=request.student.path)
    return StepResult(checkpoint=output, notes={**history.summary(), **notes})


def shape_of(step: InitialiseStep, vocabulary: int) -> ngpt.NgptShape:
    """The step in the words of the shelf."""
    return ngpt.NgptShape(
        vocabulary=vocabulary,
        hidden=step.hidden,
        layers=step.layers,
        heads=step.heads,
        head_dim=step.head_dim,
        intermediate=step.intermediate or 4 * step.hidden,
        context_tokens=step.context_tokens,
        rope_theta=step.rope_theta,
    )


def training_settings(step: SphereStep) -> TrainingSettings:
    """Likewise."""
    return TrainingSettings(
        optimizer_steps=step.optimizer_steps,
        batch_windows=step.batch_windows,
        micro_batch_windows=step.micro_batch_windows,
        learning_rate=step.learning_rate,
        compute=step.compute,
        checkpoint_every_s=STATE_EVERY_S,
    )


def _vocabulary(step: InitialiseStep, found: int | None) -> int | None:
    if step.vocabulary is not None and found is not None and step.vocabulary != found:
        raise UsageError(f"initialise: vocabulary is {step.vocabulary} in the recipe, the tokenizer has {found} tokens")
    return step.vocabulary if found is None else found


def _special_tokens(config: Mapping[str, Any]) -> ngpt.SpecialTokens:
    return ngpt.SpecialTokens(
        begin=config.get("bos_token_id"), end=config.get("eos_token_id"), padding=config.get("pad_token_id")
    )


def _write_llama_3_template(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    known = tokenizer.get_vocab()
    if missing := [token for token in LLAMA_3_TOKENS if token not in known]:
        raise UsageError(f"initialise: chat_template 'llama-3' needs {', '.join(missing)}, which the tokenizer lacks")
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    file = folder / "tokenizer_config.json"
    content = json.loads(file.read_text()) | {"chat_template": LLAMA_3_TEMPLATE}
    write_atomically(file, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def _windows(request: TrainRequest[Any, SphereStep]) -> tuple[Windows, dict[str, JsonValue]]:
    """Packed windows, and what the filters did for them."""
    step, count = request.step, request.step.optimizer_steps * request.step.batch_windows
    tokenizer = tokenizer_of(request.student.path)
    path = request.workdir / "windows"
    if isinstance(step, PretrainStep):
        windows, report = pack_filtered(
            request.data,
            step.mixture,
            tokenizer,
            step.filters,
            window_tokens=step.window_tokens,
            window_count=count,
            seed=request.seed,
            path=path,
            progress=request.progress,
        )
        return windows, {"filters": report.model_dump(mode="json")}
    assert isinstance(step, SftStep)  # noqa: S101 - there are no other steps
    windows = pack(
        request.data,
        step.mixture,
        tokenizer,
        window_tokens=step.window_tokens,
        window_count=count,
        seed=request.seed,
        path=path,
        progress=request.progress,
        loss_on=step.loss_on,
    )
    return windows, {}
