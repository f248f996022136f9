"""Which tokens stay: counted on allowed text, or by id as the original's code has it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import UsageError
from harness.surgery import anatomy as anatomies
from harness.surgery.plan import plan_of
from harness.surgery.vocabulary.frequencies import count_tokens
from harness.surgery.vocabulary.mandatory import mandatory_tokens
from harness.surgery.vocabulary.selection import kept_row_count, select_by_frequency, select_by_rank
from harness.surgery.vocabulary.tokenizer import TokenizerFile, read_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from pydantic import JsonValue

    from harness import CompressRequest
    from harness.surgery.plan import Plan
    from harness_nics.options import NicsOptions, VocabularyStep


def choose(request: CompressRequest[NicsOptions, VocabularyStep]) -> tuple[Plan, dict[str, JsonValue]]:
    """The plan of the rows that stay, and what was counted for it.

    Raises:
        UsageError: the tokenizer is not the one that the recipe describes, or cannot be cut so far.
    """
    step, folder = request.step, request.student.path
    tokenizer = read_tokenizer(folder)
    _check(step, tokenizer)
    notes: dict[str, JsonValue] = {"rows_before": tokenizer.length}
    if step.compat == "id-rank" and step.drop_fraction is not None:
        keep = select_by_rank(tokenizer, step.drop_fraction)
    else:
        counts = _counts(request, tokenizer)
        keep = select_by_frequency(tokenizer, counts, rows_kept(step, tokenizer), mandatory_tokens(folder, tokenizer))
        counted = int(counts.sum())
        notes["share_of_text_kept"] = round(float(counts[list(keep)].sum() / max(1, counted)), 6)
    anatomy = anatomies.load(request.student.config())
    return plan_of(anatomy, {"vocab": [keep]}), {**notes, "rows": len(keep)}


def rows_kept(step: VocabularyStep, tokenizer: TokenizerFile) -> int:
    """Tokens that stay of ``tokenizer``."""
    if step.drop_fraction is None:
        assert step.row_count is not None  # noqa: S101 - the step has one of both
        return step.row_count
    return kept_row_count(tokenizer.length, len(tokenizer.added), step.drop_fraction)


def _check(step: VocabularyStep, tokenizer: TokenizerFile) -> None:
    """The recipe's words about the tokenizer, by which plans are made, are true of it."""
    for name, said, found in (
        ("tokenizer_length", step.tokenizer_length, tokenizer.length),
        ("added_count", step.added_count, len(tokenizer.added)),
    ):
        if said is not None and said != found:
            raise UsageError(f"vocabulary: {name} is {said} in the recipe, {tokenizer.path} has {found}")
    if step.compat == "id-rank" and step.drop_fraction is None:
        raise UsageError("vocabulary: compat id-rank needs drop_fraction, as the original does")


def _counts(request: CompressRequest[NicsOptions, VocabularyStep], tokenizer: TokenizerFile) -> NDArray[np.int64]:
    """Occurrences of every token, each data set read in its share and entered in the ledger."""
    step = request.step
    total = sum(step.mixture.values())
    counts = np.zeros(tokenizer.row_count, dtype=np.int64)
    for name, share in sorted(step.mixture.items()):
        found = count_tokens(tokenizer.path, _texts(request, name, round(step.text_count * share / total)))
        request.data.count_tokens(name, int(found.sum()))
        counts += found
    return counts


def _texts(request: CompressRequest[NicsOptions, VocabularyStep], name: str, count: int) -> Iterator[str]:
    """The first texts of a data set; of instructions the prompt and the answer."""
    for done, sample in enumerate(islice(request.data.open(name), count), start=1):
        request.progress("counting tokens", done, count, name)
        yield from (text for text in (sample.prompt, sample.text) if text)
