"""An edition: one dated set of rules, as data.

An organiser writes an edition as one TOML file; the shipped ones stand in ``harness/rules/editions``.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from harness.document import Document
from harness.errors import UnknownEdition, UsageError

TaskName = Literal["commonsense_qa", "bbh", "gsm8k", "humaneval", "chid", "truthful_qa"]
SuiteName = Literal["demo", "official"]


class BaseModelRule(Document):
    """One base model of a track."""

    hub_id: str | None = None
    revision: str | None = None
    """Commit of the hub repository."""
    embedded: str | None = None
    """Name of an embedded pico model that stands in for it."""
    kind: Literal["chat", "base"] = "chat"
    """Whether the tasks are put through the chat template."""


class DataRule(Document):
    """One allowed data set."""

    hub_id: str
    config: str | None = None
    revision: str
    data_schema: Literal["c4", "alpaca", "alpaca-zh"]
    """How a row is read: ``text``; ``instruction, input, output``; the same with the suffix ``_zh``."""
    embedded: bool = False
    """Whether the embedded corpus stands in for it where no copy is given."""


class TrackRule(Document):
    """One division of the competition."""

    models: tuple[str, ...]
    """Short names of the base models; the score of an entry is the mean over them."""
    from_pretrained: bool = True


class TaskRule(Document):
    """One scored task."""

    column: str
    """Its column in ``Results.csv``."""
    metric: str
    scale: Literal[1, 100]
    configuration: str
    """OpenCompass configuration with its prompt hash, or the demo's own."""


class MeasurementRule(Document):
    """How memory and speed are stated."""

    memory_limit_bytes: int
    """Peak memory of inference, bytes. 12 GB is read as 12 * 10**9."""
    prefill_tokens: int = 128
    decode_tokens: int = 64
    repeats: int = 5
    throughput_unit: str = "decode tokens/s"
    memory_unit: str = "MB (10**6 bytes)"


class HeldOutRule(Document):
    """The text on which bits per byte are measured."""

    data: str
    """Short name of a data set of this edition."""
    split: str = "validation"
    sample_count: int = Field(gt=0)
    window_tokens: int = Field(gt=0)


class Edition(Document):
    """A dated set of rules."""

    id: str
    title: str
    version: str
    eligible: bool
    """Whether entries under this edition can compete."""
    notice: str = ""
    """Said wherever an entry under this edition is shown."""
    suite: SuiteName
    """The task suite that runs on the edition's own evaluation data."""
    dtypes: tuple[str, ...]
    """Allowed safetensors dtypes of every tensor."""
    tracks: dict[str, TrackRule]
    models: dict[str, BaseModelRule]
    data: dict[str, DataRule]
    tasks: dict[TaskName, TaskRule]
    measurement: MeasurementRule
    held_out: HeldOutRule
    required_files: tuple[str, ...]
    csv_columns: tuple[str, ...]


def edition_ids() -> tuple[str, ...]:
    """The ids of the shipped editions, sorted."""
    folder = resources.files("harness.rules") / "editions"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_edition(id_or_path: str) -> Edition:
    """The edition of that id, or the one in that TOML file.

    Raises:
        UnknownEdition: no shipped edition has that id.
        UsageError: the file is no edition; the message names file and field.
    """
    if id_or_path in edition_ids():
        return parse_edition(
            (resources.files("harness.rules") / "editions" / f"{id_or_path}.toml").read_text(), id_or_path
        )
    path = Path(id_or_path)
    if path.suffix == ".toml" and path.is_file():
        return parse_edition(path.read_text(), str(path))
    raise UnknownEdition(f"no edition {id_or_path!r}; shipped: {', '.join(edition_ids())}; or the path of a .toml file")


def parse_edition(text: str, name: str) -> Edition:
    """An edition from TOML text; ``name`` is what errors call it."""
    try:
        return Edition.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name}: not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{name}: {field}: {first['msg'].lower()}, found {first['input']!r}") from error
