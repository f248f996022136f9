"""OpenCompass's model classes with another engine below: prompts, stop words and texts are the stock class's.

    OpenCompass ── all prompts of a subset ──> template, tokens, cut at the left     (as the stock class)
                                               engine.answering                      (instead of transformers' generate)
                <── texts ─────────────────── decoded, cut at stop words            (as the stock class)

What the engine does not know (a generation setting beside the repetition penalty, a least length) goes the stock way.
"""

# ruff: noqa: ANN401 - OpenCompass has no types

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import torch
import transformers
from opencompass.models.huggingface_above_v4_33 import _convert_base_messages, _convert_chat_messages

from .engine.answer import Answer, Row
from .engine.answering import Answering, NotFinite, Wanted
from .engine.batches import Limits
from .engine.early import rule_for
from .engine.journal import Journal
from .engine.layers import is_lean
from .engine.lean import LeanDecoder
from .engine.stopping import Reader, Stops
from .engine.whole import WholeDecoder
from .shims import BaseModel, ChatModel, Shim, check_finite, eos_token_ids, not_finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .request import Model, Request

ENGINE_REVISION = 1
"""Counts changes of the engine after which a journal is another's."""
ROWS = {"cpu": 64, "cuda": 256}
CPU_CACHE_BYTES = 384 << 20
"""Of keys and values at a time, beside a small model's libraries; a large one may take an eighth of its weights."""
GPU_CACHE_SHARE = 0.4
"""Of the memory that the weights leave."""

GREEDY_SETTINGS: dict[str, tuple[Any, ...]] = {
    "num_beams": (None, 1),
    "num_return_sequences": (None, 1),
    "no_repeat_ngram_size": (None, 0),
    "encoder_no_repeat_ngram_size": (None, 0),
    "encoder_repetition_penalty": (None, 1.0),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "bad_words_ids": (None,),
    "sequence_bias": (None,),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "suppress_tokens": (None, []),
    "begin_suppress_tokens": (None, []),
    "exponential_decay_length_penalty": (None,),
    "guidance_scale": (None, 1, 1.0),
    "watermarking_config": (None,),
    "stop_strings": (None,),
    "max_time": (None,),
    "penalty_alpha": (None,),
    "dola_layers": (None,),
    "prompt_lookup_num_tokens": (None,),
    "assistant_early_exit": (None,),
}
"""Settings that change a greedy answer, with the values at which they do not."""


class Fast(Shim):
    """What both classes have in common; stands before a class of `shims`."""

    skip_special_tokens: bool
    """Whether the stock class leaves special tokens out of its texts."""

    def prepare(self, request: Request) -> None:
        """Build the engine; the weights are loaded and finite."""
        self._early_stop = request.early_stop
        self._answering = Answering(_decoder(self.model), _limits(self.model), _journal(self, request))

    def generate(
        self,
        inputs: Any,
        max_out_len: int,
        min_out_len: int | None = None,
        stopping_criteria: Any = (),
        **named: Any,
    ) -> list[str]:
        """The texts that the stock class would give, row by row."""
        if min_out_len is not None or named or self.generation_kwargs or not _is_greedy(self.model.generation_config):
            return self._as_stock(inputs, max_out_len, min_out_len, stopping_criteria, named)
        words = sorted({*stopping_criteria, *self.stop_words})
        prompts = self.tokens(inputs)
        wanted = self._wanted(max_out_len, words)
        try:
            answers = self._answering.answer(prompts, wanted, self.on_batch)
        except NotFinite as error:
            raise not_finite(self.place) from error
        self.rows += [_row(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
        return [self._text(answer, words, wanted.reader) for answer in answers]

    def tokens(self, inputs: Any) -> list[tuple[int, ...]]:
        """The prompts as the stock class gives them to the model, without its padding."""
        raise NotImplementedError

    def _as_stock(self, inputs: Any, *limits: Any) -> list[str]:
        """The stock class, batch by batch."""
        *positional, named = limits
        size = self.asked.batch_size
        parts = [inputs[first : first + size] for first in range(0, len(inputs), size)]
        return [text for part in parts for text in super(Fast, self).generate(part, *positional, **named)]

    def _encoded(self, texts: Sequence[str], *, add_special_tokens: bool) -> list[tuple[int, ...]]:
        encoded = self.tokenizer(
            list(texts), truncation=True, add_special_tokens=add_special_tokens, max_length=self.max_seq_len
        )
        return [tuple(token_ids) for token_ids in encoded["input_ids"]]

    def _wanted(self, max_out_len: int, words: Sequence[str]) -> Wanted:
        eos = eos_token_ids(self.model)
        spelled = {self.tokenizer.decode(token_id) for token_id in eos}
        rule = rule_for(self.subset.settings["eval_cfg"].get("pred_postprocessor")) if self._early_stop else None
        stops = Stops(
            eos_token_ids=eos,
            stop_words=tuple(word for word in words if word not in spelled),
            cut_words=tuple(words),
            early_rule=rule,
        )
        return Wanted(
            max_new_tokens=max_out_len,
            stops=stops,
            reader=Reader(stops, self._decode, cleans_spaces=bool(self.tokenizer.clean_up_tokenization_spaces)),
            repetition_penalty=self.model.generation_config.repetition_penalty or 1.0,
        )

    def _decode(self, token_ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(token_ids), skip_special_tokens=self.skip_special_tokens)
        return text

    def _text(self, answer: Answer, words: Sequence[str], reader: Reader) -> str:
        """As the stock class; an answer that was decided early, as far as it is final."""
        early = answer.ended_by == "early"
        text = reader.final_text(answer.token_ids) if early else self._decode(answer.token_ids)
        for word in words:
            text = text.split(word)[0]
        return text


class FastChatModel(Fast, ChatModel):
    """`ChatModel`, faster."""

    skip_special_tokens = False

    def tokens(self, inputs: Any) -> list[tuple[int, ...]]:
        """Through the chat template, which writes the special tokens itself."""
        texts = [
            self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            for messages in _convert_chat_messages(inputs)
        ]
        return self._encoded(texts, add_special_tokens=False)


class FastBaseModel(Fast, BaseModel):
    """`BaseModel`, faster."""

    skip_special_tokens = True

    def tokens(self, inputs: Any) -> list[tuple[int, ...]]:
        """Plain text."""
        return self._encoded(_convert_base_messages(inputs), add_special_tokens=True)


def load(model: Model, request: Request) -> Any:
    """Build OpenCompass's model for ``model``; fails when its logits are not finite."""
    if request.engine == "stock":
        stock = (ChatModel if model.kind == "chat" else BaseModel)(model)
        check_finite(stock)
        return stock
    fast = (FastChatModel if model.kind == "chat" else FastBaseModel)(model)
    check_finite(fast)
    fast.prepare(request)
    return fast


def _is_greedy(settings: Any) -> bool:
    return all(getattr(settings, name, None) in allowed for name, allowed in GREEDY_SETTINGS.items())


def _row(prompt: tuple[int, ...], answer: Answer) -> Row:
    return Row(
        prompt_tokens=len(prompt),
        generated_tokens=len(answer.token_ids),
        ended_by=answer.ended_by,
        prompt_ids=prompt,
        answer_ids=answer.token_ids,
    )


def _decoder(model: Any) -> LeanDecoder | WholeDecoder:
    decoder = LeanDecoder(model) if is_lean(model) else WholeDecoder(model)
    sys.stderr.write(f"fast engine: {type(model).__name__} through the {decoder.name} decoder\n")
    return decoder


def _limits(model: Any) -> Limits:
    """From the model and the machine alone, so that a rerun divides its prompts alike."""
    config = model.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token_bytes = 2 * config.num_hidden_layers * heads * size * model.dtype.itemsize
    weights_bytes = sum(parameter.nbytes for parameter in model.parameters())
    if model.device.type == "cuda":
        memory = torch.cuda.get_device_properties(model.device).total_memory
        room = int(GPU_CACHE_SHARE * max(0, memory - weights_bytes))
    else:
        room = max(CPU_CACHE_BYTES, weights_bytes // 8)
    return Limits(rows=ROWS.get(model.device.type, ROWS["cuda"]), tokens=max(1, room // token_bytes))


def _journal(loaded: Any, request: Request) -> Journal:
    """The journal of this model under everything that may change one of its tokens."""
    model = loaded.model
    decoder = "lean" if is_lean(model) else "whole"
    surroundings = {
        "engine": ENGINE_REVISION,
        "decoder": decoder,
        "limits": [_limits(model).rows, _limits(model).tokens],
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "dtype": str(model.dtype),
        "device": str(torch.cuda.get_device_name(model.device)) if model.device.type == "cuda" else model.device.type,
        "threads": request.threads,
        "kind": loaded.asked.kind,
    }
    return Journal(request.journal_dir, loaded.asked.name, surroundings)
