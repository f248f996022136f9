"""The student writes exercises and solutions; what runs and is new goes into its own mixture.

topics ── student, greedy ──> exercises ── student ──> solutions ── Screen, in the sandbox ──> Derived
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from harness.corpora.encoding import encode, tokenizer_of
from harness.corpora.feeds import Derived
from harness.corpora.filters.code_relevance import CodeRelevant
from harness.corpora.rows import Sample
from harness.corpora.self_generated.exercises import RULES, generate_exercises, mine_topics
from harness.corpora.self_generated.screen import Screen
from harness.errors import UsageError
from harness_tinytron.data_options import ReadingStep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from harness.contracts import StepRequest
    from harness.corpora.door import DataDoor
    from harness.corpora.self_generated.exercises import GenerationReport
    from harness_tinytron.data_options import SelfGeneratedSource
    from harness_tinytron.options import TinytronOptions

StepT = TypeVar("StepT", bound=ReadingStep)


def written_exercises(
    request: StepRequest[TinytronOptions, StepT], source: SelfGeneratedSource, *, folder: Path
) -> tuple[Derived, GenerationReport]:
    """What the student wrote and the screen kept, and the counts; begun again where ``folder`` has it half.

    Raises:
        UsageError: the student is the base, or no topic is found.
        SandboxUnavailable: model-written programs cannot be run safely here.
    """
    parent = request.student.digest
    if parent == request.base.digest:
        raise UsageError(
            "self_generated: the student is still the base, which this entry did not make, and no other model than "
            "the entry's own may write training text; let a step that compresses or trains come before"
        )
    folder.mkdir(parents=True, exist_ok=True)
    made = generate_exercises(
        _Student(request.student.path, request.device, source.most_tokens),
        source.topics or _mined(request.data, source),
        screen=Screen(request.data.shared_grams(gram_words=source.gram_words), needs_check=source.needs_check),
        folder=folder,
        prompts=source.prompts,
        parent=parent,
        batch=source.batch,
        progress=request.progress,
    )
    samples = [
        Sample(text=one.text, prompt=one.exercise, data=source.data, row=row) for row, one in enumerate(made.exercises)
    ]
    derived = Derived(
        data=source.data, samples=samples, parents=(parent, RULES), max_token_share=source.max_token_share
    )
    return derived, made.report


def _mined(door: DataDoor, source: SelfGeneratedSource) -> tuple[str, ...]:
    relevant = CodeRelevant()
    texts = (sample.text for sample in islice(door.open(source.documents), source.read_count))
    topics = mine_topics((text for text in texts if relevant(text).text is not None), count=source.topic_count)
    if not topics:
        raise UsageError(
            f"self_generated: no topic stands in the first {source.read_count} documents of {source.documents!r}; "
            "raise read_count, or name topics"
        )
    return topics


class _Student:
    """The student as ``Generate``; loaded when it is first asked, which a finished journal spares."""

    def __init__(self, path: Path, device: str, most_tokens: int) -> None:
        self._path, self._device, self._most_tokens = path, device, most_tokens
        self._loaded: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None = None

    def __call__(self, prompts: Sequence[str]) -> list[str]:
        from harness.methods import generation, models

        if self._loaded is None:
            self._loaded = models.load(self._path, device=self._device), tokenizer_of(self._path)
        model, tokenizer = self._loaded
        # As in training: the user's turn in the student's own template, up to where the answer begins.
        turns = encode(tokenizer, [Sample(text="-", prompt=prompt, data="", row=0) for prompt in prompts])
        asked = [turn.token_ids[: turn.prompt_token_count] for turn in turns]
        padding = next((each for each in (tokenizer.pad_token_id, tokenizer.eos_token_id) if each is not None), 0)
        answers = generation.greedy(model, asked, most_tokens=self._most_tokens, padding=padding)
        return [str(tokenizer.decode(answer, skip_special_tokens=True)) for answer in answers]
