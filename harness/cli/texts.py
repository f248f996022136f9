"""Bits per byte on texts that the user names: ``harness evaluate MODEL… --texts FILE``."""

from __future__ import annotations

import itertools
import shutil
from typing import TYPE_CHECKING

from harness.cli.evaluating import Options, checkpoints_of, edition_of
from harness.document import Document, digest_of
from harness.errors import UsageError
from harness.judge.measure import measure_bits_per_byte
from harness.judge.results import BitsPerByte, Difference, paired_difference

if TYPE_CHECKING:
    from pathlib import Path

    from harness.run.observer import Observer
    from harness.run.workspace import Workspace


class TextsLine(Document):
    """One checkpoint."""

    label: str
    figure: BitsPerByte
    """With every window."""


class PairLine(Document):
    """Two checkpoints, compared window by window."""

    first: str
    second: str
    difference: Difference
    """First minus second, bits per byte."""


class TextsAnswer(Document):
    """What ``harness evaluate --texts`` answers."""

    texts: str
    window_tokens: int
    models: tuple[TextsLine, ...]
    pairs: tuple[PairLine, ...]


def evaluate_texts(
    options: Options, texts: Path, window_tokens: int | None, workspace: Workspace, observer: Observer
) -> TextsAnswer:
    """Bits per byte of every model on ``texts``, and the difference of each two of them.

    Held-out text is no scored task, so this is no look.

    Raises:
        UsageError: a model or the file is not there.
        MeasurementFailed: a model is degenerate, or its context shorter than the window.
    """
    edition = edition_of(options)
    if not texts.is_file():
        raise UsageError(f"--texts {texts}: no such file; expected JSON lines with a field 'text'")
    window_tokens = edition.held_out.window_tokens if window_tokens is None else window_tokens
    found = checkpoints_of(options, edition, workspace)
    folder = workspace.root / "measuring" / digest_of([str(texts), *(str(one.path) for one in found)])[:12]
    observer.started("bits per byte")
    figures = measure_bits_per_byte(
        [one.path for one in found],
        texts,
        window_tokens=window_tokens,
        surroundings=options.surroundings(folder, observer),
    )
    shutil.rmtree(folder, ignore_errors=True)
    lines = tuple(TextsLine(label=one.label, figure=figure) for one, figure in zip(found, figures, strict=True))
    pairs = tuple(
        PairLine(first=a.label, second=b.label, difference=paired_difference(a.figure, b.figure))
        for a, b in itertools.combinations(lines, 2)
    )
    return TextsAnswer(texts=texts.name, window_tokens=window_tokens, models=lines, pairs=pairs)
