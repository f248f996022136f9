"""The six demo tasks as files, laid out as OpenCompass looks them up below COMPASS_DATA_CACHE.

    data/commonsenseqa/{train,dev}_rand_split.jsonl    data/FewCLUE/chid/{dev_few_all,test_public}.json (JSON lines)
    data/humaneval/human-eval-v2-20210705.jsonl        data/BBH/data/<subset>.json
    data/gsm8k/{train,test}.jsonl                      truthful_qa/{README.md, generation/validation.jsonl}

Scored files hold test items only; the train files that the loaders insist on hold training items.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from harness.pico.corpus import Item, Split, items

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

BBH_SUBSETS = {
    "boolean_expressions": "boolean",
    "object_counting": "counting",
    "reasoning_about_colored_objects": "colours",
    "logical_deduction_three_objects": "order",
}
ITEM_COUNT = 100
BBH_ITEM_COUNT = 50
TRAIN_ITEM_COUNT = 10

_TRUTHFUL_README = """---
configs:
- config_name: generation
  data_files:
  - split: validation
    path: generation/validation.jsonl
---
Questions about the small world of the harness's embedded corpus, written by rule. A demo, not the benchmark.
"""


def write(folder: Path, *, seed: int = 0) -> list[Path]:
    """Write all files of the six tasks below `folder` and return their paths; the same seed gives the same bytes."""
    data = folder / "data"
    written = [*_commonsense(data, seed), *_chid(data, seed), _humaneval(data, seed), *_gsm8k(data, seed)]
    written += [_bbh(data, subset, kind, seed) for subset, kind in BBH_SUBSETS.items()]
    return [*written, *_truthful(folder, seed)]


def chosen(kind: str, *, count: int, split: Split = "test", seed: int = 0) -> list[Item]:
    """The first `count` items of a kind and split with distinct questions."""
    return list(_distinct(items(split, seed=seed, kind=kind), count))


def _distinct(stream: Iterator[Item], count: int) -> Iterator[Item]:
    seen: set[str] = set()
    for item in stream:
        if item.key not in seen:
            seen.add(item.key)
            yield item
        if len(seen) == count:
            return


def _commonsense(data: Path, seed: int) -> list[Path]:
    folder = data / "commonsenseqa"
    return [
        _lines(folder / "train_rand_split.jsonl", _records("choice", "train", seed), _commonsense_row),
        _lines(folder / "dev_rand_split.jsonl", _records("choice", "test", seed), _commonsense_row),
    ]


def _commonsense_row(record: Mapping[str, object]) -> dict[str, object]:
    choices = [{"label": letter, "text": record[letter]} for letter in "ABCDE"]
    return {"answerKey": record["answerKey"], "question": {"stem": record["question"], "choices": choices}}


def _chid(data: Path, seed: int) -> list[Path]:
    folder, records = data / "FewCLUE" / "chid", _records("idiom", "test", seed)
    half = len(records) // 2
    return [
        _lines(folder / "dev_few_all.json", records[:half]),
        _lines(folder / "test_public.json", records[half:]),
    ]


def _humaneval(data: Path, seed: int) -> Path:
    records = _records("function", "test", seed)
    rows = [{"task_id": f"Pico/{place}", **record} for place, record in enumerate(records)]
    return _lines(data / "humaneval" / "human-eval-v2-20210705.jsonl", rows)


def _gsm8k(data: Path, seed: int) -> list[Path]:
    folder = data / "gsm8k"
    return [
        _lines(folder / "train.jsonl", _records("arithmetic", "train", seed)),
        _lines(folder / "test.jsonl", _records("arithmetic", "test", seed)),
    ]


def _bbh(data: Path, subset: str, kind: str, seed: int) -> Path:
    path = data / "BBH" / "data" / f"{subset}.json"
    examples = [dict(item.record) for item in chosen(kind, count=BBH_ITEM_COUNT, seed=seed)]
    return _write(path, json.dumps({"examples": examples}, ensure_ascii=False, indent=1) + "\n")


def _truthful(folder: Path, seed: int) -> list[Path]:
    records = _records("truth", "test", seed)
    readme = _write(folder / "truthful_qa" / "README.md", _TRUTHFUL_README)
    return [readme, _lines(folder / "truthful_qa" / "generation" / "validation.jsonl", records)]


def _records(kind: str, split: Split, seed: int) -> list[Mapping[str, object]]:
    count = ITEM_COUNT if split == "test" else TRAIN_ITEM_COUNT
    return [item.record for item in chosen(kind, count=count, split=split, seed=seed)]


def _lines(
    path: Path,
    records: Iterable[Mapping[str, object]],
    row: Callable[[Mapping[str, object]], dict[str, object]] = dict,
) -> Path:
    return _write(path, "".join(json.dumps(row(record), ensure_ascii=False) + "\n" for record in records))


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
