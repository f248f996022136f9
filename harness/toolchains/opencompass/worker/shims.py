"""OpenCompass's Hugging Face model classes, made to work with transformers 5 and to say what they did."""

# ruff: noqa: ANN401 - OpenCompass has no types

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from opencompass.models import HuggingFaceBaseModel, HuggingFacewithChatTemplate
from opencompass.models.huggingface_above_v4_33 import _set_model_kwargs_torch_dtype

from .channel import Failure
from .engine.answer import Row
from .structured import load_structured

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from .request import Model
    from .subset import Subset


class Shim:
    """What both classes need; everything else is OpenCompass's."""

    on_batch: Callable[[int], None] = staticmethod(lambda _rows: None)
    """Called with the number of rows of every finished batch."""
    asked: Model
    """The request's model; set before anything is loaded."""
    subset: Subset
    """What is being inferred."""
    rows: list[Row]
    """One for every answer since inference of the subset began."""
    model: Any
    tokenizer: Any
    generation_kwargs: dict[str, Any]
    stop_words: list[str]
    max_seq_len: int

    def __init__(self, asked: Model) -> None:
        self.asked, self.rows = asked, []
        super().__init__(
            path=asked.path,
            max_seq_len=asked.context(),
            # A checkpoint's own code never runs here.
            model_kwargs={"torch_dtype": asked.dtype, "trust_remote_code": False},
            tokenizer_kwargs={"trust_remote_code": False},
        )  # type: ignore[call-arg]

    def begin(self, subset: Subset, on_batch: Callable[[int], None]) -> None:
        """The answers that follow are ``subset``'s."""
        self.subset, self.on_batch, self.rows = subset, on_batch, []

    @property
    def place(self) -> str:
        """Model and task, for a message."""
        return f"{self.asked.label}, {self.subset.name}"

    def _load_tokenizer(self, *positional: Any, **named: Any) -> None:
        super()._load_tokenizer(*positional, **named)  # type: ignore[misc]
        # transformers 5 dropped the method that OpenCompass 0.5.4 calls; calling the tokenizer does the same.
        if not hasattr(self.tokenizer, "batch_encode_plus"):
            self.tokenizer.batch_encode_plus = self.tokenizer.__call__

    def _load_model(self, path: str, kwargs: dict[str, Any], **named: Any) -> None:
        """As OpenCompass, except for a checkpoint that needs the harness's own class."""
        if self.asked.modeling is None:
            super()._load_model(path, kwargs, **named)  # type: ignore[misc]
            return
        dtype = _set_model_kwargs_torch_dtype(dict(kwargs), path)["torch_dtype"]
        self.model = load_structured(self.asked, self.asked.modeling, dtype)
        self.model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        self.model.generation_config.do_sample = False

    def generate(
        self,
        inputs: Any,
        max_out_len: int,
        min_out_len: int | None = None,
        stopping_criteria: Any = (),
        **named: Any,
    ) -> list[str]:
        """OpenCompass's own answers, watched: every step's logits are finite, every row's tokens are counted."""
        watch = _Watch(self.model, self.place)
        with mock.patch.object(self.model, "generate", watch.generate):
            answers: list[str] = super().generate(  # type: ignore[misc]
                inputs, max_out_len, min_out_len, list(stopping_criteria), **named
            )
        self.rows += watch.rows
        self.on_batch(len(inputs))
        return answers


class _Watch:
    """Stands between OpenCompass and transformers' ``generate``."""

    def __init__(self, model: Any, place: str) -> None:
        self._generate, self._place = model.generate, place
        self._eos = eos_token_ids(model)
        self.rows: list[Row] = []

    def generate(self, *, input_ids: Tensor, attention_mask: Tensor, max_new_tokens: int, **named: Any) -> Tensor:
        from transformers import LogitsProcessorList

        # Only looks; a class of its own, because transformers tells processors apart by their class.
        finite = LogitsProcessorList([_Finite(self._place)])
        # Some tokenizers give types of tokens, which the stock models do not take.
        outputs: Tensor = self._generate(
            input_ids=input_ids,
            attention_mask=attention_mask,
            max_new_tokens=max_new_tokens,
            logits_processor=finite,
            **{name: value for name, value in named.items() if name != "token_type_ids"},
        )
        new = outputs[:, input_ids.shape[1] :].tolist()
        for prompt, mask, token_ids in zip(input_ids, attention_mask.bool(), new, strict=True):
            self.rows.append(self._row(prompt[mask].tolist(), token_ids, max_new_tokens))
        return outputs

    def _row(self, prompt: list[int], token_ids: list[int], limit: int) -> Row:
        ends = [place for place, token_id in enumerate(token_ids) if token_id in self._eos]
        own = token_ids[: ends[0] + 1] if ends else token_ids
        return Row(
            prompt_tokens=len(prompt),
            generated_tokens=len(own),
            ended_by="eos" if ends else "limit" if len(own) == limit else "stop",
            prompt_ids=tuple(prompt),
            answer_ids=tuple(own),
        )


class _Finite:
    """A logits processor that changes nothing."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 - transformers' signature
        if not bool(torch.isfinite(torch.stack(torch.aminmax(scores))).all()):
            raise not_finite(self._place)
        return scores


class ChatModel(Shim, HuggingFacewithChatTemplate):  # type: ignore[misc]
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


class BaseModel(Shim, HuggingFaceBaseModel):  # type: ignore[misc]
    """Prompts are plain text that the model continues."""


def eos_token_ids(model: Any) -> frozenset[int]:
    """What ends a sequence for transformers' ``generate``."""
    named = model.generation_config.eos_token_id
    if named is None:
        return frozenset()
    return frozenset([named] if isinstance(named, int) else named)


def not_finite(place: str) -> Failure:
    """The failure of a model whose arithmetic broke down."""
    return Failure(f"{place}: its logits are not finite, so it has no score")


def check_finite(loaded: Any) -> None:
    """Fail where a few tokens already give logits that are not finite: before any data is read."""
    token_ids = torch.arange(8, device=loaded.model.device)[None] % loaded.model.config.vocab_size
    with torch.no_grad():
        logits = loaded.model(token_ids).logits
    if not bool(torch.isfinite(logits).all()):
        raise not_finite(loaded.asked.label)
