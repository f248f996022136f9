"""A cascade over several processes, to the same samples in the same order as one process gives them.

    samples ── chunks ──> process 1: filters of the text alone ─┐ in the order of the chunks
                     └──> process 2: the same ──────────────────┴──> duplicates, which need order ──> what is left
                                                                     └── counts

What a filter of the text alone says depends on no other document, so that it can be asked anywhere. Filters that look
for duplicates stay in this process. At most ``AHEAD`` chunks for each process are read ahead.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from multiprocessing.pool import AsyncResult, Pool

    from harness.corpora.filters.cascade import Counts
    from harness.corpora.filters.verdict import Filter, Verdict
    from harness.corpora.rows import Sample

CHUNK: Final = 64
"""Documents that go to a process together."""
AHEAD: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What filters said of one text, one after the other until one dropped it."""

    verdicts: tuple[tuple[str, Verdict, str], ...]
    """Of those that left something out: the filter's name, its verdict, the text that it was given."""
    text: str | None
    """What is left; None for nothing."""


def judge(text: str, filters: Sequence[Filter]) -> Judged:
    """What ``filters`` say of ``text``."""
    verdicts: list[tuple[str, Verdict, str]] = []
    left: str | None = text
    for each in filters:
        verdict = each(text)
        if verdict.reason is not None:
            verdicts.append((each.name, verdict, text))
        left = verdict.text
        if left is None:
            break
        text = left
    return Judged(verdicts=tuple(verdicts), text=left)


class Pipeline:
    """Filters in their order: first those of the text alone, then those that remember."""

    def __init__(self, filters: Sequence[Filter], remembering: Sequence[Filter] = (), *, processes: int = 1) -> None:
        """A pipeline.

        Args:
            filters: functions of the text alone; with several processes, they are pickled.
            remembering: filters that look for duplicates, new ones.
            processes: 1 for none but this one.

        Raises:
            ValueError: fewer than one process.
        """
        if processes < 1:
            raise ValueError(f"processes must be at least 1, got {processes}")
        self._filters, self._remembering, self._processes = tuple(filters), tuple(remembering), processes

    def sift(self, samples: Iterable[Sample], counts: Counts) -> Iterator[Sample]:
        """What is left of ``samples``, in their order; ``counts`` is told of each as it comes."""
        with self._judges() as judged_of:
            for sample, judged in judged_of(samples):
                left = self._finish(sample, judged, counts)
                if left is not None:
                    yield left

    def _finish(self, sample: Sample, judged: Judged, counts: Counts) -> Sample | None:
        counts.seen += 1
        counts.characters_seen += len(sample.text)
        last = judge(judged.text, self._remembering) if judged.text is not None else Judged(verdicts=(), text=None)
        for name, verdict, text in (*judged.verdicts, *last.verdicts):
            counts.enter(name, verdict, text)
        if last.text is None:
            return None
        counts.kept += 1
        counts.characters_kept += len(last.text)
        return sample if last.text == sample.text else replace(sample, text=last.text)

    @contextmanager
    def _judges(self) -> Iterator[Callable[[Iterable[Sample]], Iterator[tuple[Sample, Judged]]]]:
        if self._processes == 1:
            yield lambda samples: ((sample, judge(sample.text, self._filters)) for sample in samples)
            return
        # Spawned: a fork of a process with threads, torch's for one, may never run.
        context = multiprocessing.get_context("spawn")
        with context.Pool(self._processes, initializer=_begin, initargs=(self._filters,)) as pool:
            yield lambda samples: self._in(pool, iter(samples))

    def _in(self, pool: Pool, samples: Iterator[Sample]) -> Iterator[tuple[Sample, Judged]]:
        waiting: deque[tuple[list[Sample], AsyncResult[list[Judged]]]] = deque()
        more = True
        while more or waiting:
            while more and len(waiting) < AHEAD * self._processes:
                chunk = list(islice(samples, CHUNK))
                more = len(chunk) == CHUNK
                if chunk:
                    waiting.append((chunk, pool.apply_async(_judge_all, ([sample.text for sample in chunk],))))
            if waiting:
                chunk, result = waiting.popleft()
                yield from zip(chunk, result.get(), strict=True)


_filters: tuple[Filter, ...] = ()
"""Of a process of the pool."""


def _begin(filters: tuple[Filter, ...]) -> None:
    global _filters  # noqa: PLW0603 - a pool hands nothing else to its processes once
    _filters = filters


def _judge_all(texts: list[str]) -> list[Judged]:
    return [judge(text, _filters) for text in texts]
