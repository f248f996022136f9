"""What a submission is asked to be: all that was typed, as one value that a run can be resumed from."""

from __future__ import annotations

from pydantic import Field

from harness.containment import Limits
from harness.document import Document
from harness.errors import UsageError
from harness.rules.edition import Edition, TaskName, TrackRule, load_edition

EDITION_OF_TRACK = {"demo": "demo", "demo-scratch": "demo"}
"""The edition of a track where none is named; every other track belongs to the competition's."""
COMPETITION_EDITION = "neurips-2024"
DEFAULT_MODELS = ("llama",)


class SubmitSettings(Document):
    """The settings of ``harness submit`` and ``harness plan``."""

    plugin: str
    track: str = "demo"
    edition: str | None = None
    """Id or path; None for the track's own."""
    models: tuple[str, ...] = DEFAULT_MODELS
    """Short names, or ``all``."""
    recipe: str | None = None
    """Path of a recipe; None for the plugin's own for the track and model."""
    overrides: tuple[str, ...] = ()
    budget: float = Field(default=0.5, gt=0, le=1)
    """Share of the base's parameters that the final model may have; in a track from scratch always all of them."""
    seed: int = Field(default=0, ge=0)
    bases: dict[str, str] = {}
    """Short name to path or hub id; in a track from scratch, to the folder of a tokenizer."""
    data: dict[str, str] = {}
    """Short name of a data set to the path of a local copy."""
    tasks: tuple[TaskName, ...] = ()
    """The tasks to score; empty for all of the edition's."""
    tasks_data: str | None = None
    """Folder of the official evaluation sets; with it the official configurations run."""
    limit: int | None = Field(default=None, gt=0)
    """Items a task, for a quick look; such scores are marked as partial."""
    team: str = "local"
    out: str = "submissions"
    device: str = "cpu"
    control: bool = True
    """Whether the base is trained with the recipe's own train steps, as the yardstick of recovery."""
    threads: int = Field(default=1, gt=0)
    weak_sandbox: bool = False
    """Whether what models wrote may run where this kernel offers less protection than the sandbox asks for."""
    time_limit_s: float = Field(gt=0)
    """Of each step, seconds."""
    memory_limit_bytes: int = Field(gt=0)
    """Of each step, bytes of resident memory."""

    @property
    def limits(self) -> Limits:
        """What each step, and each measurement, may use."""
        return Limits(time_s=self.time_limit_s, memory_bytes=self.memory_limit_bytes)


def left_out_tasks(settings: SubmitSettings, edition: Edition) -> tuple[TaskName, ...]:
    """The edition's tasks that ``--tasks`` leaves out: an entry without them is incomplete."""
    return tuple(name for name in edition.tasks if settings.tasks and name not in settings.tasks)


def edition_of(settings: SubmitSettings) -> Edition:
    """The rules that the settings name."""
    return load_edition(settings.edition or EDITION_OF_TRACK.get(settings.track, COMPETITION_EDITION))


def track_of(settings: SubmitSettings, edition: Edition) -> TrackRule:
    """The track; raises ``UsageError`` where the edition has no such track."""
    if settings.track not in edition.tracks:
        raise UsageError(
            f"edition {edition.id!r} has no track {settings.track!r}; its tracks: {', '.join(sorted(edition.tracks))}"
        )
    return edition.tracks[settings.track]


def models_of(settings: SubmitSettings, track: TrackRule) -> tuple[str, ...]:
    """The base models to work on, in the track's order; raises ``UsageError`` on an unknown one.

    What is the default of tracks with base models stands for all in a track from scratch.
    """
    if settings.models == ("all",) or (settings.models == DEFAULT_MODELS and not track.from_pretrained):
        return track.models
    unknown = sorted(set(settings.models) - set(track.models))
    if unknown:
        raise UsageError(
            f"--models {','.join(unknown)}: not in track {settings.track!r}; allowed: {', '.join(track.models)}, or all"
        )
    return tuple(name for name in track.models if name in settings.models)
