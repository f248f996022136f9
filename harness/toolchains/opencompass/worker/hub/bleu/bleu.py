"""The hub's ``bleu`` metric, offline: corpus BLEU as tensorflow/nmt's ``compute_bleu`` defines it.

    BLEU = brevity * exp(mean over n = 1..4 of log precision_n)        Papineni et al. 2002, equations 1 to 3

13a tokens, order 4, no smoothing (one precision of 0 makes the score 0), the shortest reference for the brevity.
OpenCompass's TruthfulQA evaluator loads it by the name ``bleu`` from the current folder.
"""

from __future__ import annotations

import math
from collections import Counter

import datasets
import evaluate  # type: ignore[import-not-found]
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a  # type: ignore[import-not-found]

MAX_ORDER = 4


class Bleu(evaluate.Metric):  # type: ignore[misc]
    """``compute(predictions, references) -> {"bleu": float, ...}``; a reference is a text or a list of texts."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__ or "",
            citation="",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def compute(
        self, *, predictions: list[str], references: list[str] | list[list[str]]
    ) -> dict[str, float | int | list[float]]:
        """Score without the detour over Arrow files that ``evaluate.Metric.compute`` takes for each call."""
        tokenize = Tokenizer13a()
        several = [[reference] if isinstance(reference, str) else reference for reference in references]
        return bleu(
            [[tokenize(text).split() for text in texts] for texts in several],
            [tokenize(text).split() for text in predictions],
        )


def bleu(references: list[list[list[str]]], translations: list[list[str]]) -> dict[str, float | int | list[float]]:
    """Corpus BLEU.

    Args:
        references: per item one or more token lists.
        translations: per item one token list.
    """
    matches, possible = [0] * MAX_ORDER, [0] * MAX_ORDER
    for texts, translation in zip(references, translations, strict=True):
        overlap = _ngrams(translation) & _merged(texts)
        for ngram, count in overlap.items():
            matches[len(ngram) - 1] += count
        for order in range(1, MAX_ORDER + 1):
            possible[order - 1] += max(len(translation) - order + 1, 0)
    precisions = [match / most if most else 0.0 for match, most in zip(matches, possible, strict=True)]
    reference_length = sum(min(len(text) for text in texts) for texts in references)
    translation_length = sum(len(translation) for translation in translations)
    brevity = _brevity(translation_length, reference_length)
    return {
        "bleu": brevity * _geometric_mean(precisions),
        "precisions": precisions,
        "brevity_penalty": brevity,
        "translation_length": translation_length,
        "reference_length": reference_length,
    }


def _ngrams(tokens: list[str]) -> Counter[tuple[str, ...]]:
    return Counter(
        tuple(tokens[start : start + order])
        for order in range(1, MAX_ORDER + 1)
        for start in range(len(tokens) - order + 1)
    )


def _merged(texts: list[list[str]]) -> Counter[tuple[str, ...]]:
    """Of every n-gram the highest count in any one reference."""
    merged: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        merged |= _ngrams(text)
    return merged


def _geometric_mean(precisions: list[float]) -> float:
    if min(precisions) <= 0:
        return 0.0
    return math.exp(sum(math.log(precision) for precision in precisions) / MAX_ORDER)


def _brevity(translation_length: int, reference_length: int) -> float:
    """1 for a translation longer than its reference, ``exp(1 - reference / translation)`` for a shorter one."""
    if translation_length > reference_length:
        return 1.0
    if translation_length == 0:
        return 0.0
    return math.exp(1 - reference_length / translation_length)
