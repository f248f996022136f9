"""OpenCompass's Hugging Face model classes, made to work with transformers 5 and to say how far they are."""

# ruff: noqa: ANN401 - OpenCompass has no types

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from opencompass.models import HuggingFaceBaseModel, HuggingFacewithChatTemplate

from .channel import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from .request import Model


class _Shim:
    """What both classes need; everything else is OpenCompass's."""

    on_batch: Callable[[int], None] = staticmethod(lambda _rows: None)
    """Called with the number of rows of every finished batch."""

    def _load_tokenizer(self, *positional: Any, **named: Any) -> None:
        super()._load_tokenizer(*positional, **named)  # type: ignore[misc]
        # transformers 5 dropped the method that OpenCompass 0.5.4 calls; calling the tokenizer does the same.
        tokenizer: Any = self.tokenizer  # type: ignore[attr-defined]
        if not hasattr(tokenizer, "batch_encode_plus"):
            tokenizer.batch_encode_plus = tokenizer.__call__

    def generate(self, inputs: Any, *positional: Any, **named: Any) -> Any:
        answers = super().generate(inputs, *positional, **named)  # type: ignore[misc]
        self.on_batch(len(inputs))
        return answers


class ChatModel(_Shim, HuggingFacewithChatTemplate):  # type: ignore[misc]
    """Prompts go through the tokenizer's chat template."""

    def _get_potential_stop_words(self, path: str) -> list[str]:
        """As OpenCompass, which stops on an assertion where the generation settings name no end of sequence."""
        from transformers import GenerationConfig

        try:
            unnamed = GenerationConfig.from_pretrained(path).eos_token_id is None
        except OSError:
            unnamed = True
        if not unnamed:
            words: list[str] = super()._get_potential_stop_words(path)
            return words
        return [self.tokenizer.eos_token] if self.tokenizer.eos_token else []


class BaseModel(_Shim, HuggingFaceBaseModel):  # type: ignore[misc]
    """Prompts are plain text that the model continues."""


def load(model: Model) -> Any:
    """Build OpenCompass's model for ``model``; fails when its logits are not finite."""
    kind = ChatModel if model.kind == "chat" else BaseModel
    loaded = kind(
        path=model.path,
        max_seq_len=model.context(),
        # A checkpoint's own code never runs here.
        model_kwargs={"torch_dtype": model.dtype, "trust_remote_code": False},
        tokenizer_kwargs={"trust_remote_code": False},
    )
    _check_finite(model.label, loaded)
    return loaded


def _check_finite(label: str, loaded: Any) -> None:
    token_ids = torch.arange(8, device=loaded.model.device)[None] % loaded.model.config.vocab_size
    with torch.no_grad():
        logits = loaded.model(token_ids).logits
    if not bool(torch.isfinite(logits).all()):
        raise Failure(f"{label}: its logits are not finite, so it has no score")
