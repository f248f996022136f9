"""``submission.json``: one entry of one team with one plugin, as it was filed.

    Submission ─┬─ team, plugin, edition, track, seed, budget
                ├─ models ── per base model: base, steps, checkpoints side by side, package   (``model_result``)
                ├─ mean   ── over the models, as the competition scores them                  (``mean``)
                └─ files  ── every other file of the bundle by digest; this manifest is written last

The shape is strict (an unknown or missing field is a finding with its path); the numbers are claims, kept as they are.
"""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import NonNegativeInt

from harness.document import Document
from harness.submission.file_record import FileRecord
from harness.submission.mean import MeanScores
from harness.submission.model_result import ModelResult
from harness.submission.provenance import CodeRecord, EditionRecord


class PluginRecord(Document):
    """The plugin that made the entry."""

    name: str
    """As typed after ``--plugin``."""
    distribution: CodeRecord


class Submission(Document):
    """The manifest of a bundle."""

    format_version: Literal[1] = 1
    id: str
    """Name of the bundle's folder: ``<date>-<team>-<plugin>``, with ``.2`` after the team for a second entry."""
    track: str
    edition: EditionRecord
    eligible: bool
    """Whether entries under this edition can compete."""
    notice: str = ""
    """What has to be said wherever the entry is shown."""
    team: str
    plugin: PluginRecord
    created: dt.date
    seed: NonNegativeInt
    parameter_budget: float
    """What was asked for: a share of the base's parameters up to 1, or a count above 1."""
    models: tuple[ModelResult, ...]
    mean: MeanScores
    files: tuple[FileRecord, ...] = ()
    """Every other file of the bundle, sorted by name. ``bundle.write`` fills it."""
