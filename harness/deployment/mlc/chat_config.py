"""``mlc-chat-config.json``: what MLC's runtime and compiler must know beside the weights.

    version, model_type, quantization, model_config {…}, vocab_size, context_window_size, prefill_chunk_size, …
    conv_template {…}, tokenizer_files […], tokenizer_info {…}, pad/bos/eos_token_id

``max_batch_size`` stands in ``model_config`` alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from harness.deployment.mlc.conversation import choose_template, conversation
from harness.deployment.mlc.names import mlc_table
from harness.deployment.mlc.options import DEFAULT_CONTEXT_TOKENS
from harness.deployment.mlc.settings import flat_config
from harness.deployment.mlc.tokenizer import present_files, read_tokens, tokenizer_info
from harness.errors import CheckpointCorrupt, UsageError
from harness.surgery.expression import evaluate
from harness.surgery.table import table_of
from harness.surgery.vocabulary.foreign import read_object

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.deployment.mlc.names import Naming
    from harness.deployment.mlc.options import MlcOptions

CONFIG_NAME: Final = "mlc-chat-config.json"
CONFIG_VERSION: Final = "0.1.0"
COMPUTE_DTYPE: Final = {"q0f16": "float16", "q0f32": "float32"}
SAMPLING: Final = {
    "temperature": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repetition_penalty": 1.0,
    "top_p": 1.0,
}
"""MLC's own defaults, where ``generation_config.json`` is silent."""
CUSTOM_FIELDS: Final = (
    "vocab_size",
    "context_window_size",
    "prefill_chunk_size",
    "max_batch_size",
    "tensor_parallel_shards",
    "pipeline_parallel_stages",
)
"""``model_config`` of a model with a definition of its own: everything else stands in the definition."""


def chat_config(checkpoint: Path, config: Mapping[str, Any], naming: Naming, options: MlcOptions) -> dict[str, Any]:
    """The content of ``mlc-chat-config.json`` for the package of ``checkpoint``.

    Args:
        checkpoint: its folder; tokenizer and generation settings are read.
        config: as ``Checkpoint.config`` gives it.
        naming: what its tensors are called.
        options: of the package.

    Raises:
        UsageError: the context is longer than the model knows, or no conversation template fits.
        CheckpointCorrupt: a stop id lies outside the vocabulary, or the tokenizer cannot be read.
    """
    model, tokens = model_config(config, naming, options), read_tokens(checkpoint)
    template = choose_template(options.conversation, table_of(config).model_type, tokens)
    talk = conversation(template, tokens, stop_ids(checkpoint, config))
    if wrong := [token for token in talk["stop_token_ids"] if not 0 <= token < config["vocab_size"]]:
        raise CheckpointCorrupt(
            f"{checkpoint}: stop ids {wrong} lie outside the vocabulary of {config['vocab_size']} rows; "
            "an answer would never stop"
        )
    settings = _generation(checkpoint)
    return {
        "version": CONFIG_VERSION,
        "model_type": naming.model_type,
        "quantization": options.quantization,
        "model_config": model,
        "vocab_size": config["vocab_size"],
        "context_window_size": model["context_window_size"],
        "sliding_window_size": -1,
        "prefill_chunk_size": model["prefill_chunk_size"],
        "attention_sink_size": -1,
        "tensor_parallel_shards": 1,
        "pipeline_parallel_stages": 1,
        "active_vocab_size": tokens.count,
        **{name: settings.get(name, default) for name, default in SAMPLING.items()},
        "tokenizer_files": list(present_files(checkpoint)),
        "tokenizer_info": tokenizer_info(tokens),
        "conv_template": talk,
        **{name: settings.get(name, config.get(name)) for name in ("pad_token_id", "bos_token_id", "eos_token_id")},
        "model_task": "chat",
        "embedding_metadata": None,
    }


def config_bytes(content: Mapping[str, Any]) -> bytes:
    """The file, as mlc_llm writes it."""
    return (json.dumps(content, indent=2) + "\n").encode()


def model_config(config: Mapping[str, Any], naming: Naming, options: MlcOptions) -> dict[str, Any]:
    """``model_config``: the fields of MLC's own class for the model.

    Raises:
        UsageError: the context is longer than the model knows, or shorter than a chunk.
    """
    known = {
        **flat_config(config),
        "context_window_size": context_tokens(config, options),
        "prefill_chunk_size": options.prefill_chunk_size,
        "max_batch_size": options.max_batch_size,
        "compute_dtype": COMPUTE_DTYPE[options.quantization],
    }
    if naming.custom:
        return {name: known.get(name, 1) for name in CUSTOM_FIELDS}
    return {name: evaluate(text, known) for name, text in mlc_table(naming.model_type).fields.items()}


def context_tokens(config: Mapping[str, Any], options: MlcOptions) -> int:
    """Positions of the KV cache; raises ``UsageError`` where model, cache and chunk do not fit each other."""
    known = config.get("max_position_embeddings")
    if not isinstance(known, int) or known < 1:
        raise CheckpointCorrupt(f"config.json: max_position_embeddings must be a positive integer, found {known!r:.60}")
    context = options.context_window_size or min(DEFAULT_CONTEXT_TOKENS, known)
    if not options.prefill_chunk_size <= context <= known:
        raise UsageError(
            f"context of {context} tokens: allowed from the chunk of {options.prefill_chunk_size} "
            f"to the {known} positions that the model knows"
        )
    return context


def stop_ids(checkpoint: Path, config: Mapping[str, Any]) -> tuple[int, ...]:
    """What ends an answer by the checkpoint's own settings, ascending.

    Raises:
        CheckpointCorrupt: it is not ids.
    """
    found = _generation(checkpoint).get("eos_token_id", config.get("eos_token_id"))
    ids = found if isinstance(found, list) else [] if found is None else [found]
    if wrong := [value for value in ids if not isinstance(value, int) or isinstance(value, bool)]:
        raise CheckpointCorrupt(f"{checkpoint}: eos_token_id must be token ids, found {wrong!r:.100}")
    return tuple(sorted(set(ids)))


def _generation(checkpoint: Path) -> dict[str, Any]:
    path = checkpoint / "generation_config.json"
    return read_object(path) if path.exists() else {}
