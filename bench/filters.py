"""Documents a second of every filter, and what each leaves out.

    python bench/filters.py                          2000 documents of the embedded corpus
    python bench/filters.py --c4 PATH --count 5000   of a local copy of C4

One process, one thread; processor seconds, so that other load on the machine weighs little. The last line is the share
of the whole cascade in the time that encoding the same documents for training takes.
"""

from __future__ import annotations

import argparse
import time
from itertools import islice
from typing import TYPE_CHECKING, Final

from transformers import AutoTokenizer

from harness.corpora.door import DataDoor, DoorSettings
from harness.corpora.encoding import encode
from harness.corpora.filters.cascade import Cascade, Counts
from harness.corpora.filters.settings import FilterSettings, filters_of
from harness.pico import catalogue
from harness.rules.edition import load_edition

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.corpora.rows import Sample

BATCH: Final = 64


def documents(path: str | None, count: int) -> list[Sample]:
    """The first documents of C4, embedded or local."""
    local = {} if path is None else {"c4": path}
    door = DataDoor(DoorSettings(rules=load_edition("demo").data, local=local))
    return list(islice(door.open("c4"), count))


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of ``work``."""
    start = time.process_time()
    work()
    return time.process_time() - start


def encode_all(samples: list[Sample]) -> None:
    """As a training step encodes them."""
    tokenizer = AutoTokenizer.from_pretrained(catalogue.path("pico-llama"))
    for start in range(0, len(samples), BATCH):
        encode(tokenizer, samples[start : start + BATCH])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--c4", help="Local copy of C4.")
    parser.add_argument("--count", type=int, default=2000, help="Documents.")
    chosen = parser.parse_args()
    samples = documents(chosen.c4, chosen.count)
    characters = sum(len(sample.text) for sample in samples)
    print(f"{len(samples)} documents, {characters / len(samples):.0f} characters each")
    print(f"{'filter':18} {'documents/s':>12} {'MB/s':>7} {'dropped':>8} {'shortened':>10}")
    for each in filters_of(FilterSettings()):
        counts = Counts()
        row(each.name, Cascade([each], counts), samples, counts)
    counts = Counts()
    spent = row("all, in this order", Cascade(filters_of(FilterSettings()), counts), samples, counts)
    print(f"the cascade takes {spent / seconds(lambda: encode_all(samples)):.2f} of the time that encoding takes")
    for reason in counts.report().reasons:
        print(f"  {reason.filter}: {reason.reason}: {reason.dropped} dropped; e.g. {reason.examples[0][:100]!r}")


def row(name: str, cascade: Cascade, samples: list[Sample], counts: Counts) -> float:
    """Run, print, and give the processor seconds back."""
    spent = seconds(lambda: [cascade(sample) for sample in samples])
    report, characters = counts.report(), sum(len(sample.text) for sample in samples)
    dropped, shortened = (sum(getattr(reason, kind) for reason in report.reasons) for kind in ("dropped", "shortened"))
    rate, megabytes = len(samples) / spent, characters / spent / 1e6
    print(f"{name:18} {rate:12.0f} {megabytes:7.2f} {dropped:8} {shortened:10}")
    return spent


if __name__ == "__main__":
    main()
