"""The data pipeline on real text: what each filter keeps and drops, how fast, and by how many processes.

    python bench/data_pipeline.py DATA                      counts of every filter, as tables; examples on stderr
    python bench/data_pipeline.py DATA --processes 1 2      and documents a second with so many, in this one run

DATA holds train/{c4_en,alpaca_en,alpaca_zh}.jsonl.gz and zh_web_text.txt.gz, and eval/ with the scored tasks' sets. CPU
seconds are those of all processes. The rater is a stand-in, trained here on rows that are not rated afterwards.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import sys
import time
from collections import Counter as TallyOf
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.corpora.contamination import Lookup, sketch
from harness.corpora.evaluation_sets import evaluation_texts
from harness.corpora.filters.cascade import Counts
from harness.corpora.filters.chinese import ChineseProse
from harness.corpora.filters.code_relevance import CodeRelevant, code_relevance
from harness.corpora.filters.decontamination import ScoredText, SharedGrams
from harness.corpora.filters.exact import ExactDuplicates
from harness.corpora.filters.heuristics import Prose
from harness.corpora.filters.near import NearDuplicates
from harness.corpora.filters.pipeline import Pipeline
from harness.corpora.filters.quality import Quality, Rater, threshold_of
from harness.corpora.filters.quality_stand_in import train_stand_in
from harness.corpora.filters.repetition import Repetition
from harness.corpora.filters.urls import UrlLines
from harness.corpora.filters.words import SensitiveWords, default_words
from harness.corpora.generators.arithmetic import arithmetic
from harness.corpora.generators.conversations import conversations
from harness.corpora.generators.idioms import idiom_cloze, mine_idioms
from harness.corpora.generators.snippets import snippets
from harness.corpora.local import read_file
from harness.corpora.rows import Sample
from harness.corpora.self_generated.exercises import mine_topics
from harness.corpora.self_generated.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.corpora.filters.cascade import FilterReport
    from harness.corpora.filters.verdict import Filter
    from harness.corpora.generators.problem import Problem

TRAINED_ON: Final = 1_000
"""Documents of C4, the first ones, that the stand-in learns from; the others are rated."""
THRESHOLD_SAMPLE: Final = 500
MADE: Final = 2_000
PROGRAMS: Final = 300
HUMANEVAL: Final = "data/humaneval/human-eval-v2-20210705.jsonl"


def main() -> None:
    """Rate, filter, count, and time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--documents", type=int, default=3_000, help="of each data set, at most")
    parser.add_argument("--keep", type=float, nargs="*", default=[0.1, 0.2], help="top shares by quality")
    parser.add_argument("--processes", type=int, nargs="*", default=[])
    asked = parser.parse_args()
    rows = [fields for _, fields in read_file(asked.data / "train" / "c4_en.jsonl.gz")]
    low, rated = (samples([str(row["text"]) for row in part]) for part in (rows[:TRAINED_ON], rows[TRAINED_ON:]))
    rated = rated[: asked.documents]
    started = time.process_time()
    rater = train_stand_in(alpaca(asked.data, "en", asked.documents), [s.text for s in low])
    print(f"rater: {rater.record.kind}, {rater.record.trained_on}; {time.process_time() - started:.1f} s CPU\n")
    tell_scores(rater, [sample.text for sample in rated], alpaca(asked.data, "en", 4 * asked.documents)[-1_000:])
    scored = ScoredText(Lookup(sketch(evaluation_texts(asked.data / "eval"))))
    first: list[Filter] = [UrlLines(), SensitiveWords(default_words()), Prose(), Repetition(), scored]
    # The percentile is of what comes so far: the other filters take more of some ratings than of others.
    passed = Pipeline(first).sift(rated, Counts())
    scores = [rater(sample.text) for sample in islice(passed, THRESHOLD_SAMPLE)]
    for share in asked.keep:
        threshold = threshold_of(scores, keep_fraction=share)
        filters = [*first, Quality(rate=rater, threshold=threshold)]
        print(f"## C4, top {share:.0%} by quality (threshold {threshold:.3f} from {THRESHOLD_SAMPLE} documents)\n")
        tell(run(rated, filters), filters)
    print("## C4, code-relevant\n")
    tell(run(rated, [*first, CodeRelevant()]), [*first, CodeRelevant()])
    tell_domains(rows)
    about_code = [str(row["text"]) for row in rows if CodeRelevant()(str(row["text"])).text is not None]
    tell_made(asked.data, asked.documents, about_code)
    chinese: list[Filter] = [UrlLines(), ChineseProse(), SensitiveWords(default_words()), Repetition(), scored]
    print("## Chinese web text\n")
    tell(run(samples(chinese_text(asked.data, asked.documents)), chinese), chinese)
    for language in ("en", "zh"):
        print(f"## Alpaca, {language}: duplicates and scored tasks alone\n")
        tell(run(samples(alpaca(asked.data, language, asked.documents)), [scored]), [scored])
    everything = [*first, Quality(rate=rater, threshold=threshold_of(scores, keep_fraction=0.2))]
    tell_speed(rated, everything, asked.processes)


def tell_made(data: Path, documents: int, code_relevant: Sequence[str]) -> None:
    """What the generators find in real text, and what the screen says of programs that it has not made."""
    chinese = chinese_text(data, documents)
    idioms = mine_idioms(chinese)
    questions = sum(1 for _ in idiom_cloze(chinese, idioms, seed=0))
    print(f"idioms: {len(idioms)} mined from {len(chinese)} documents, {questions} questions")
    print(f"topics: {len(mine_topics(code_relevant, count=1_000))} from {len(code_relevant)} code-relevant documents")
    pairs = [Sample(text=text, prompt=text, data="alpaca", row=0) for text in alpaca(data, "en", documents)]
    streams: dict[str, Iterator[Problem]] = {
        "arithmetic": arithmetic(seed=0),
        "snippets": snippets(seed=0),
        "conversations": conversations(pairs, seed=0),
    }
    for name, stream in streams.items():
        started = time.process_time()
        distinct = len({problem.prompt for problem in islice(stream, MADE)})
        rate = MADE / (time.process_time() - started)
        print(f"{name}: {distinct:,} of {MADE:,} different, {rate:,.0f} a CPU second")
    tell_screen(data)


def tell_screen(data: Path) -> None:
    """What the screen says of programs that others made: nothing that a scored task holds may pass it."""
    tasks = [json.loads(line) for line in (data / "eval" / HUMANEVAL).read_text(encoding="utf-8").splitlines()]
    solved = [task["prompt"] + task["canonical_solution"] for task in tasks]
    answers = [text for text in alpaca(data, "en", 60_000) if "def " in text][:PROGRAMS]
    rows: tuple[tuple[str, list[str], list[str]], ...] = (
        (f"{len(answers)} answers of Alpaca with a function", answers, solved),
        (f"{len(solved)} solutions of HumanEval", solved, solved),
        ("the same, held against nothing", solved, []),
    )
    for name, programs, scored in rows:
        started = time.monotonic()
        reasons = TallyOf(one.reason or "kept" for one in Screen(SharedGrams(scored)).judge(programs))
        told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        print(f"screen, {name}: {told} ({time.monotonic() - started:.1f} s)")
    print()


def samples(texts: Sequence[str]) -> list[Sample]:
    """Documents, numbered."""
    return [Sample(text=text, prompt=None, data="c4", row=number) for number, text in enumerate(texts)]


def alpaca(data: Path, language: str, count: int) -> list[str]:
    """Answers that have text."""
    rows = read_file(data / "train" / f"alpaca_{language}.jsonl.gz")
    return list(islice((text for _, row in rows if (text := str(row["output"])).strip()), count))


def chinese_text(data: Path, count: int) -> list[str]:
    """A document a line."""
    with gzip.open(data / "train" / "zh_web_text.txt.gz", "rt", encoding="utf-8") as lines:
        return list(islice((line.strip() for line in lines if line.strip()), count))


def run(documents: Sequence[Sample], filters: Sequence[Filter], processes: int = 1) -> tuple[FilterReport, list[int]]:
    """The counts, and the rows that were kept."""
    counts = Counts()
    remembering: list[Filter] = [ExactDuplicates(), NearDuplicates()]
    kept = [sample.row for sample in Pipeline(filters, remembering, processes=processes).sift(documents, counts)]
    return counts.report(), kept


def tell(found: tuple[FilterReport, list[int]], filters: Sequence[Filter]) -> None:
    """A table of what each filter dropped, for each reason; an example of each on standard error."""
    report, _ = found
    order = [each.name for each in (*filters, ExactDuplicates(), NearDuplicates())]
    print("| filter | reason | dropped | shortened |\n|---|---|---|---|")
    for name in order:
        reasons = [reason for reason in report.reasons if reason.filter == name]
        for reason in reasons:
            print(f"| {name} | {reason.reason} | {reason.dropped:,} | {reason.shortened:,} |")
            print(f"{name}: {reason.reason}: {reason.examples[0]}", file=sys.stderr)
        if not reasons:
            print(f"| {name} | - | 0 | 0 |")
    share = report.characters_kept / report.characters_seen
    print(f"\n{report.kept:,} of {report.seen:,} documents kept ({report.kept / report.seen:.1%}),", end=" ")
    print(f"{share:.1%} of the characters.\n")


def tell_scores(rater: Rater, web: Sequence[str], answers: Sequence[str]) -> None:
    """How the rater tells apart what it has not seen: the share of pairs that it puts in order."""
    low, high = (sorted(map(rater, texts)) for texts in (web, answers))
    ordered = sum(sum(score > other for other in low) for score in high) / (len(low) * len(high))
    medians = low[len(low) // 2], high[len(high) // 2]
    print(
        f"unseen: median {medians[0]:.3f} of {len(low)} web documents, {medians[1]:.3f} of {len(high)} answers; ",
        end="",
    )
    print(f"an answer is rated above a web document in {ordered:.3f} of the pairs\n")


def tell_domains(rows: Sequence[dict[str, object]]) -> None:
    """What the pages' own addresses add, where they are known."""
    addresses = [(str(row["text"]), str(row["url"])) for row in rows if row.get("url")]
    judge = CodeRelevant()
    by_text = sum(judge.relevant(code_relevance(text)) for text, _ in addresses)
    by_both = sum(judge.relevant(code_relevance(text, url=url)) for text, url in addresses)
    print(f"{len(addresses)} of {len(rows)} have an address: {by_text} relevant by text, {by_both} with it.\n")


def tell_speed(documents: Sequence[Sample], filters: Sequence[Filter], processes: Sequence[int]) -> None:
    """Documents a second and CPU seconds for each number of processes, and that all kept the same rows."""
    results: list[list[int]] = []
    for count in processes:
        started, before = time.monotonic(), cpu_s()
        run(documents[:1], filters, count)
        begun = time.monotonic() - started, cpu_s() - before
        started, before = time.monotonic(), cpu_s()
        _, kept = run(documents, filters, count)
        wall, cpu = time.monotonic() - started, cpu_s() - before
        results.append(kept)
        rates = len(documents) / wall, len(documents) / cpu
        print(f"{count} processes: {rates[0]:6.0f} documents a second  {rates[1]:6.0f} a CPU second;", end=" ")
        print(f"to begin, on one document: {begun[0]:.1f} s, {begun[1]:.1f} s CPU")
    if results:
        print(f"the same rows in the same order: {all(kept == results[0] for kept in results)}")
    for each in [*filters, ExactDuplicates(), NearDuplicates()] if processes else ():
        print(f"{each.name:<20} {len(documents) / max(1e-9, alone(each, documents)):8.0f} documents a CPU second")


def alone(each: Filter, documents: Sequence[Sample]) -> float:
    """CPU seconds that one filter takes on all documents."""
    started = time.process_time()
    for sample in documents:
        each(sample.text)
    return time.process_time() - started


def cpu_s() -> float:
    """CPU seconds of this process and of all that have ended below it."""
    usages: Iterator[resource.struct_rusage] = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
