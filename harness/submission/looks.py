"""Looks at scored tasks: an append-only ledger, so that a choice made by scores is seen beside the scores.

    look 0  llama gsm8k 3f…   previous 00…  digest a1…
    look 1  llama gsm8k 77…   previous a1…  digest 5c…     each digest covers the look and the digest before it

A look that was changed, moved or taken out breaks the chain at its place. One cut off at the end does not; the last
digest has to be kept elsewhere for that.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from pydantic import NonNegativeInt, ValidationError

from harness.document import Document, digest_of
from harness.errors import UsageError
from harness.submission.file_record import Sha256

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

START = "0" * 64
"""What the first look has for a previous one."""


class Look(Document):
    """One run of one scored task on one checkpoint."""

    model: str
    """Short name of the base model."""
    task: str
    checkpoint_digest: Sha256
    item_limit: NonNegativeInt | None = None
    """Items that the run was limited to."""
    previous: Sha256
    """Digest of the look before it."""
    digest: Sha256
    """Over everything above."""


def look_after(
    looks: Sequence[Look], *, model: str, task: str, checkpoint_digest: str, item_limit: int | None = None
) -> Look:
    """The look that comes next after ``looks``."""
    previous = looks[-1].digest if looks else START
    digest = digest_of([model, task, checkpoint_digest, item_limit, previous])
    return Look(
        model=model,
        task=task,
        checkpoint_digest=checkpoint_digest,
        item_limit=item_limit,
        previous=previous,
        digest=digest,
    )


def first_break(looks: Sequence[Look]) -> int | None:
    """Number of the first look that does not follow from those before it; none where the chain is whole."""
    for number, look in enumerate(looks):
        expected = look_after(
            looks[:number][-1:],
            model=look.model,
            task=look.task,
            checkpoint_digest=look.checkpoint_digest,
            item_limit=look.item_limit,
        )
        if look != expected:
            return number
    return None


def append_look(path: Path, *, model: str, task: str, checkpoint_digest: str, item_limit: int | None = None) -> Look:
    """Enter a look in the ledger ``path``, one line of JSON each; two processes never write at once.

    Raises:
        UsageError: the file is no ledger of looks, or its chain is broken.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        looks = read_looks(path)
        look = look_after(looks, model=model, task=task, checkpoint_digest=checkpoint_digest, item_limit=item_limit)
        stream.write(look.model_dump_json().encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    return look


def read_looks(path: Path) -> tuple[Look, ...]:
    """The looks in the ledger ``path``; none where there is no such file.

    Raises:
        UsageError: as ``append_look``.
    """
    lines = path.read_bytes().splitlines() if path.is_file() else []
    try:
        looks = tuple(Look.model_validate_json(line) for line in lines)
    except ValidationError as error:
        raise UsageError(f"{path}: is no ledger of looks: {error.errors(include_url=False)[0]['msg']}") from error
    broken = first_break(looks)
    if broken is not None:
        raise UsageError(f"{path}:{broken + 1}: the look does not follow from the one before; move the file away")
    return looks
