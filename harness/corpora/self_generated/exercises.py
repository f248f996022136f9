"""Samples that the pruned student writes itself: exercises in Python with solutions, kept where they run.

    code-relevant documents ── topics ──> "exercise about {topic}" ── generate ──> exercises
                                          "solve {exercise}"       ── generate ──> solutions ── Screen ──> kept
    folder/journal.jsonl     a line for each batch: what was kept, and why the rest was not

The winner trained on "data in the target domain from the pruned model", like CodeExercises, below a tenth of the
tokens; how it was made is not published, so that prompts, checks and bounds are ours. No model but the student writes.

``generate`` must be a function of its prompts alone (greedy, or seeded by them). Then a call that was killed is gone on
from its journal to the same samples: batches that stand there are not asked for again.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from pydantic import Field, NonNegativeInt

from harness.corpora.filters.code_relevance import code_relevance
from harness.document import Document, digest_of, write_atomically
from harness.progress import silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from harness.corpora.self_generated.screen import Screen
    from harness.progress import Progress

    Generate = Callable[[Sequence[str]], Sequence[str]]
    """From prompts to what the student goes on with, in their order."""

RULES: Final = "rules:self-generated@1"
"""The parent, beside the student's digest, that names this procedure."""
MIN_DOCUMENTS: Final = 2
"""A topic stands in at least so many documents, so that nobody's name is one."""
_WORD: Final = re.compile(r"[a-z][a-z+#]+")
_STOP_TEXT: Final = """
the and for with that this from are was were will would can could you your our their its they them his her she he
have has had not but all any more most other into over also than then there here when what which who how why about
out use used using get make made like just one two new many some such only own same very been being these those
where while after before because each every between both few through during does did doing under again once
"""
_STOP: Final = frozenset(_STOP_TEXT.split())


class Prompts(Document):
    """What the student is asked; the strategy's own words may stand here."""

    exercise: str = "Write a short Python exercise about {topic}. Say what the function gets and what it gives."
    """With ``{topic}`` in it. Empty: a topic is an exercise already."""
    solution: str = (
        "Solve the exercise in Python: one function with a docstring, then two assert statements that check it.\n\n"
        "{exercise}"
    )
    """With ``{exercise}`` in it."""


class Exercise(Document):
    """One sample."""

    topic: str
    exercise: str
    code: str

    @property
    def text(self) -> str:
        """What is trained on as the answer."""
        return f"```python\n{self.code}\n```"


class BatchRecord(Document):
    """A line of the journal."""

    number: NonNegativeInt
    kept: tuple[Exercise, ...]
    dropped: dict[str, NonNegativeInt] = {}
    """Reason to how many."""


class GenerationReport(Document):
    """What came of it."""

    asked: NonNegativeInt
    kept: NonNegativeInt
    dropped: dict[str, NonNegativeInt] = Field(default_factory=dict)
    """Reason to how many, the most frequent first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """The samples in the order in which they were asked for, and the counts."""

    exercises: tuple[Exercise, ...]
    report: GenerationReport


def mine_topics(documents: Iterable[str], *, count: int) -> tuple[str, ...]:
    """Pairs of words that stand near programming's keywords in the most documents, and the keywords themselves.

    Args:
        documents: code-relevant ones (``filters.code_relevance``).
        count: of topics, at most; the most frequent first, equals by name.
    """
    found: Counter[str] = Counter()
    for text in documents:
        keywords = set(code_relevance(text).keywords)
        words = [word for word in _WORD.findall(text.lower()) if word not in _STOP]
        pairs = {f"{a} {b}" for a, b in pairwise(words) if a != b and not keywords.isdisjoint((a, b))}
        found.update(pairs | keywords)
    common = sorted((-number, topic) for topic, number in found.items() if number >= MIN_DOCUMENTS)
    return tuple(topic for _, topic in common[:count])


def generate_exercises(  # noqa: PLR0913 - the request of a library function, all but the first two by name
    generate: Generate,
    topics: Sequence[str],
    *,
    screen: Screen,
    folder: Path,
    prompts: Prompts | None = None,
    parent: str,
    batch: int = 32,
    progress: Progress = silent,
) -> Generated:
    """An exercise about each of ``topics``, as far as they pass ``screen``; what ``folder`` has is not made again.

    Args:
        generate: the student.
        topics: one exercise is asked for each.
        screen: a new one.
        folder: of the journal.
        prompts: other words than ours.
        parent: digest of the student's checkpoint.
        batch: prompts that are asked together.
        progress: told the exercises asked for so far.

    Raises:
        ValueError: ``generate`` gave another number of texts than prompts.
    """
    prompts = prompts or Prompts()
    key = digest_of([RULES, parent, prompts.model_dump(mode="json"), screen.key, batch, list(topics)])
    journal = _Journal(folder / "journal.jsonl", key)
    records: list[BatchRecord] = []
    for number in range(-(-len(topics) // batch)):
        record = journal.standing.get(number)
        if record is None:
            record = _batch(generate, topics[number * batch :][:batch], prompts, screen, number)
            journal.append(record)
        else:
            screen.remember(exercise.code for exercise in record.kept)
        records.append(record)
        progress("exercises", min(len(topics), (number + 1) * batch), len(topics))
    return _generated(records, len(topics))


def _batch(generate: Generate, topics: Sequence[str], prompts: Prompts, screen: Screen, number: int) -> BatchRecord:
    asked = [prompts.exercise.replace("{topic}", topic) for topic in topics]
    # A given exercise stays as it is, to its last line end: a student may know it in these words alone.
    exercises = [text.strip() for text in _asked(generate, asked)] if prompts.exercise else topics
    stated = [(topic, exercise) for topic, exercise in zip(topics, exercises, strict=True) if exercise.strip()]
    answers = _asked(generate, [prompts.solution.replace("{exercise}", exercise) for _, exercise in stated])
    judged = screen.judge(answers)
    dropped = Counter(verdict.reason for verdict in judged if verdict.code is None)
    if len(stated) < len(topics):
        dropped["no exercise"] += len(topics) - len(stated)
    kept = tuple(
        Exercise(topic=topic, exercise=exercise, code=verdict.code)
        for (topic, exercise), verdict in zip(stated, judged, strict=True)
        if verdict.code is not None
    )
    return BatchRecord(number=number, kept=kept, dropped=dict(sorted(dropped.items())))


def _asked(generate: Generate, prompts: list[str]) -> list[str]:
    texts = list(generate(prompts)) if prompts else []
    if len(texts) != len(prompts):
        raise ValueError(f"generate must give a text for each prompt, gave {len(texts)} for {len(prompts)}")
    return texts


def _generated(records: Sequence[BatchRecord], asked: int) -> Generated:
    dropped: Counter[str] = Counter()
    for record in records:
        dropped.update(record.dropped)
    exercises = tuple(exercise for record in records for exercise in record.kept)
    counts = dict(sorted(dropped.items(), key=lambda item: (-item[1], item[0])))
    return Generated(exercises=exercises, report=GenerationReport(asked=asked, kept=len(exercises), dropped=counts))


class _Journal:
    """Lines that survive a kill; a torn last line is made again, another request's journal is begun anew."""

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        head = json.dumps({"key": key})
        lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
        whole = lines[1:-1] if lines and lines[0] == head else []  # what follows the last line end is torn
        self.standing = {record.number: record for record in map(BatchRecord.model_validate_json, whole)}
        write_atomically(path, "".join(f"{line}\n" for line in (head, *whole)).encode())

    def append(self, record: BatchRecord) -> None:
        """One more batch."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(record.model_dump_json() + "\n")
