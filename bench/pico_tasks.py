"""Greedy answers of a model to the demo tasks' test items, scored by the same rules as OpenCompass's extractors.

    chosen items -- chat template, greedy decoding, FP32 --> answers -- extractor --> right or wrong -> accuracy, chance

A stand-in that needs no toolchain: OpenCompass itself gives the official figures. Answers to the Python task are run,
each in a process of its own with a time limit; run it on the embedded models only.
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from harness.pico.corpus import Item, user_turn
from harness.pico.tasks.files import BBH_ITEM_COUNT, ITEM_COUNT, chosen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ANSWER_TOKENS = 64
BATCH_ITEMS = 50
RUN_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Accuracy of one task, 0 to 1, beside what guessing reaches."""

    right_count: int
    item_count: int
    chance: float

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return self.right_count / self.item_count

    @property
    def standard_errors_above(self) -> float:
        """How far above chance, in the larger of the standard errors at the accuracy and at chance."""
        # One right and one wrong answer more keep the error from vanishing where everything is right.
        observed = (self.right_count + 1) / (self.item_count + 2)
        spread = max(p * (1 - p) for p in (observed, self.chance))
        return (self.accuracy - self.chance) / math.sqrt(spread / self.item_count)


TASKS: dict[str, tuple[str, ...]] = {
    "commonsense_qa": ("choice",),
    "chid": ("idiom",),
    "humaneval": ("function",),
    "bbh": ("boolean", "counting", "colours", "order"),
    "gsm8k": ("arithmetic",),
    "truthful_qa": ("truth",),
}


def task_scores(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, Score]:
    """The score of every task."""
    return {
        task: _total(
            [kind_score(model, tokenizer, kind, BBH_ITEM_COUNT if task == "bbh" else ITEM_COUNT) for kind in kinds]
        )
        for task, kinds in TASKS.items()
    }


def kind_score(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, kind: str, count: int) -> Score:
    """The score of the first `count` test items of one kind."""
    items = chosen(kind, count=count)
    if kind == "idiom":  # the demo scores the second file only
        items = items[count // 2 :]
    given = answers(model, tokenizer, [user_turn(item.user, item.context) for item in items])
    right, chance = _JUDGES[kind], _CHANCE[kind]
    return Score(
        right_count=sum(right(answer, item) for answer, item in zip(given, items, strict=True)),
        item_count=len(items),
        chance=_majority(items) if chance is None else chance,
    )


@torch.inference_mode()
def answers(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, questions: Sequence[str]) -> list[str]:
    """Greedy answers without special tokens."""
    tokenizer.padding_side = "left"
    turns = [
        tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False)
        for text in questions
    ]
    given: list[str] = []
    for first in range(0, len(turns), BATCH_ITEMS):
        batch = tokenizer(
            turns[first : first + BATCH_ITEMS], return_tensors="pt", padding=True, add_special_tokens=False
        )
        made = model.generate(**batch, max_new_tokens=ANSWER_TOKENS, do_sample=False)
        given += tokenizer.batch_decode(made[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return given


def _total(scores: Sequence[Score]) -> Score:
    count = sum(score.item_count for score in scores)
    return Score(
        right_count=sum(score.right_count for score in scores),
        item_count=count,
        chance=sum(score.chance * score.item_count for score in scores) / count,
    )


def _choice(answer: str, item: Item) -> bool:
    found = re.search(r"(?i)so the answer is\s*([A-P])", answer)
    return found is not None and found[1] == item.record["answerKey"]


def _idiom(answer: str, item: Item) -> bool:
    found = re.search(r"[A-Z]", answer)
    return (
        found is not None and "ABCDEFG".index(found[0]) == item.record["answer"] if found and found[0] <= "G" else False
    )


def _free_form(answer: str, item: Item) -> bool:
    last = re.split(r"answer is\s*:?\s*", answer, flags=re.IGNORECASE)[-1].strip().split("\n")[0].strip()
    return last.removesuffix(".") == item.record["target"]


def _lettered(answer: str, item: Item) -> bool:
    found = re.search(r"\(([A-Z])\)", answer.rsplit("answer is ", maxsplit=1)[-1])
    return found is not None and found[0] == item.record["target"]


def _number(answer: str, item: Item) -> bool:
    found = re.findall(r"-?\d+\.\d+|-?\d+", answer)
    return bool(found) and found[-1] == item.answer.rsplit("#### ", 1)[1]


def _truth(answer: str, item: Item) -> bool:
    record: Any = item.record
    best = max(bleu(answer, text) for text in record["correct_answers"])
    return best > max(bleu(answer, text) for text in record["incorrect_answers"])


def _function(answer: str, item: Item) -> bool:
    record: Any = item.record
    blocks = re.findall(r"```\w*\n(.*?)```", answer, re.DOTALL)
    body = (blocks[0] if blocks else answer).lstrip()
    program = f"{record['prompt']}{body}\n{record['test']}\ncheck({record['entry_point']})"
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", program], capture_output=True, timeout=RUN_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def bleu(answer: str, reference: str) -> float:
    """Sentence BLEU-4 without smoothing, as the metric of TruthfulQA uses it (0 to 1)."""
    given, wanted = _words(answer), _words(reference)
    logs = 0.0
    for order in range(1, 5):
        ours, theirs = _grams(given, order), _grams(wanted, order)
        matched = sum((ours & theirs).values())
        if not matched:
            return 0.0
        logs += math.log(matched / sum(ours.values())) / 4
    return math.exp(logs + min(0.0, 1 - len(wanted) / len(given)))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)


def _grams(words: list[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[place : place + order]) for place in range(len(words) - order + 1))


def _majority(items: Sequence[Item]) -> float:
    """What always giving the commonest answer reaches."""
    wanted = Counter(item.record.get("target", item.answer.rsplit(" ", 1)[-1]) for item in items)
    return max(wanted.values()) / len(items)


_JUDGES: dict[str, Callable[[str, Item], bool]] = {
    "choice": _choice,
    "idiom": _idiom,
    "function": _function,
    "boolean": _free_form,
    "counting": _free_form,
    "colours": _lettered,
    "order": _lettered,
    "arithmetic": _number,
    "truth": _truth,
}
# None: the share of the commonest answer. A false sentence beats a true one in half of the guesses.
_CHANCE: dict[str, float | None] = {
    "choice": 1 / 5,
    "idiom": 1 / 7,
    "function": 0.0,
    "boolean": None,
    "counting": None,
    "colours": 1 / 6,
    "order": 1 / 3,
    "arithmetic": None,
    "truth": 1 / 2,
}
