"""Answers on disk as they come, so that a killed evaluation goes on where it was.

    {"batch": digest, "rows": 2, "row": 0, "key": digest, "token_ids": [..], "ended_by": "eos"}     one line a row
    {"batch": digest, "rows": 2, "row": 1, ...                                                      fsync per batch

A batch counts when all its rows are there: the rounding of a row may depend on the rows beside it, so a batch is
either taken whole or computed whole, and an interrupted run ends with the tokens of an uninterrupted one. The name of
the file has a digest of everything else that can change a token.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from typing import TYPE_CHECKING, Any

from .answer import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .stopping import Stops


def prompt_key(token_ids: Sequence[int], max_new_tokens: int, stops: Stops, repetition_penalty: float) -> str:
    """SHA-256 of a prompt and of what its answer may look like, hexadecimal."""
    rest = [
        max_new_tokens,
        sorted(stops.eos_token_ids),
        sorted(stops.stop_words),
        sorted(stops.cut_words),
        stops.early_rule,
        repetition_penalty,
    ]
    return hashlib.sha256(array("q", token_ids).tobytes() + json.dumps(rest).encode()).hexdigest()


def batch_key(keys: Sequence[str], prefix_tokens: int) -> str:
    """SHA-256 of the rows of a batch in their order, hexadecimal."""
    return hashlib.sha256("\n".join([str(prefix_tokens), *keys]).encode()).hexdigest()


class Journal:
    """One file of one model; without a folder it remembers nothing."""

    def __init__(self, folder: Path | None, name: str, surroundings: Mapping[str, Any]) -> None:
        """``surroundings``: versions, dtype, device, threads: whatever else may change a token."""
        self._batches: dict[str, dict[int, Answer]] = {}
        self._path: Path | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256(json.dumps(surroundings, sort_keys=True).encode()).hexdigest()
            self._path = folder / f"{name}-{digest[:12]}.jsonl"
            self._read(self._path)

    def recall(self, batch: str, rows: int) -> list[Answer] | None:
        """The answers of a batch of ``rows`` rows, if all of them are there."""
        found = self._batches.get(batch, {})
        return [found[row] for row in range(rows)] if found.keys() == set(range(rows)) else None

    def record(self, batch: str, keys: Sequence[str], answers: Sequence[Answer]) -> None:
        """Append a batch; returns when it is on the disk."""
        if self._path is None:
            return
        lines = [
            json.dumps(
                {
                    "batch": batch,
                    "rows": len(keys),
                    "row": row,
                    "key": key,
                    "token_ids": answer.token_ids,
                    "ended_by": answer.ended_by,
                }
            )
            for row, (key, answer) in enumerate(zip(keys, answers, strict=True))
        ]
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write("".join(f"{line}\n" for line in lines))
            stream.flush()
            os.fsync(stream.fileno())

    def _read(self, path: Path) -> None:
        """Take what is whole, and cut off a last line that a kill tore."""
        content = path.read_bytes() if path.is_file() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) != len(content):
            os.truncate(path, len(whole))
        for line in whole.decode().splitlines():
            entry = json.loads(line)
            answer = Answer(token_ids=tuple(entry["token_ids"]), ended_by=entry["ended_by"])
            self._batches.setdefault(entry["batch"], {})[entry["row"]] = answer
