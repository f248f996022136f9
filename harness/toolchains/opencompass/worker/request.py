"""What the worker is asked, as it stands in the request file (the host wrote and checked it)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One checkpoint to score."""

    name: str
    """Of its folders in the work directory."""
    label: str
    """In progress and in messages."""
    path: str
    kind: Literal["chat", "base"]
    max_seq_len: int | None
    """Longest prompt in tokens; longer ones lose their left end. None: the model's own context."""
    max_out_len: int
    """New tokens where a dataset's configuration does not say its own number."""
    batch_size: int
    dtype: str
    """Of the computation, e.g. ``float32``, whatever is stored."""
    modeling: str | None = None
    """Path of the harness's own modeling file for a structured checkpoint; None: transformers' stock classes."""

    def context(self) -> int:
        """Longest prompt in tokens: as asked, else the checkpoint's ``max_position_embeddings``."""
        if self.max_seq_len is not None:
            return self.max_seq_len
        config = json.loads((Path(self.path) / "config.json").read_text(encoding="utf-8"))
        return int(config["max_position_embeddings"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One evaluation: every model on every task."""

    models: tuple[Model, ...]
    suite: Literal["official", "demo"]
    tasks: tuple[str, ...]
    data_dir: Path
    """Laid out as ``COMPASS_DATA_CACHE`` is, with ``truthful_qa/`` beside ``data/``."""
    prompts: dict[str, str]
    """The demo suite's user turns by task; empty for the official suite."""
    limit: int | None
    """The first so many rows of every dataset, and of every BBH subset."""
    seed: int
    threads: int
    """Of each process."""
    processes: int
    """How many models are scored at a time."""
    work_dir: Path
    result: Path
    engine: Literal["fast", "stock"] = "stock"
    """``stock``: OpenCompass's own model class; ``fast``: the same answers sooner."""
    early_stop: bool = False
    """Let the fast engine end an answer where what follows cannot change what is extracted from it."""
    journal_dir: Path | None = None
    """Where the fast engine keeps finished batches for a run after a kill."""
    sandbox: str | None = None
    """Folder of the program that runs HumanEval's completions."""
    weak_sandbox: bool = False
    """Run completions also where the kernel offers less than the whole sandbox."""
    keep_tokens: bool = False
    """Add the numbers of the tokens to the records of items, to look for the place where two engines part."""
    itemised: bool = False
    """Leave a record of every item; a host that names an engine knows them."""


def read_request(path: Path) -> Request:
    """Parse the request file; raises ``KeyError`` or ``TypeError`` on one that the host did not write."""
    raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Request(
        models=tuple(Model(**model) for model in raw["models"]),
        suite=raw["suite"],
        tasks=tuple(raw["tasks"]),
        data_dir=Path(raw["data_dir"]),
        prompts=raw["prompts"],
        limit=raw["limit"],
        seed=raw["seed"],
        threads=raw["threads"],
        processes=raw["processes"],
        work_dir=Path(raw["work_dir"]),
        result=Path(raw["result"]),
        engine=raw.get("engine", "stock"),
        early_stop=raw.get("early_stop", False),
        journal_dir=Path(raw["journal_dir"]) if raw.get("journal_dir") else None,
        sandbox=raw.get("sandbox"),
        weak_sandbox=raw.get("weak_sandbox", False),
        keep_tokens=raw.get("keep_tokens", False),
        itemised="engine" in raw,
    )
