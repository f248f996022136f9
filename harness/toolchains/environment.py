"""One environment on disk, named by what it was made from, and trusted only with its record.

<root>/opencompass-3f9c0a1b2c4d/        the digest of pins, Python version and machine
    bin/python  lib/…                   made in place: an environment cannot be moved
    environment.json                    the record, written last: without it the rest is half made
<root>/opencompass-3f9c0a1b2c4d.lock    held while it is made or removed
<root>/opencompass-3f9c0a1b2c4d.log     what the installer said
"""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import platformdirs
from pydantic import Field, ValidationError

from harness.document import Document, digest_of

if TYPE_CHECKING:
    from pydantic import JsonValue

    from harness.toolchains.catalogue import Toolchain

ROOT_VARIABLE = "HARNESS_TOOLCHAINS"
RECORD = "environment.json"

Maker = Literal["uv", "pip"]


class EnvironmentRecord(Document):
    """What an environment was made from and what is in it: the last file that is written."""

    toolchain: str
    pins_digest: str
    python: str
    """Minor version of CPython, e.g. ``3.11``."""
    made_by: Maker
    packages: dict[str, str] = Field(min_length=1)
    """Distribution to version, of everything that was installed."""
    metadata_folders: tuple[str, ...]
    """The ``*.dist-info`` folders: one that is gone is a package that was torn out."""
    odd_files: tuple[str, ...] = ()
    """Files that never were as recorded: two packages that bring the same file, scripts that an installer rewrites."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A provisioned toolchain."""

    folder: Path
    record: EnvironmentRecord

    @property
    def python(self) -> Path:
        """The interpreter that workers run with."""
        return python_of(self.folder)


def default_root() -> Path:
    """The folder of all environments: ``HARNESS_TOOLCHAINS``, or below the user's cache folder."""
    named = os.environ.get(ROOT_VARIABLE)
    return Path(named).expanduser() if named else platformdirs.user_cache_path("edge-llm-harness") / "toolchains"


def folder_of(toolchain: Toolchain, python_version: str, root: Path | None) -> Path:
    """Where the environment of ``toolchain`` stands, whether it does or not."""
    made_from: JsonValue = [toolchain.pins_digest(), python_version, platform.system(), platform.machine()]
    # Resolved, because whoever runs its interpreter may stand in another folder.
    return (root or default_root()).resolve() / f"{toolchain.name}-{digest_of(made_from)[:12]}"


def python_of(folder: Path) -> Path:
    """The interpreter of the environment at ``folder``."""
    return folder / "bin" / "python"


def site_packages(folder: Path) -> Path:
    """Where the environment at ``folder`` keeps its packages."""
    return next(iter(sorted(folder.glob("lib/python3*/site-packages"))), folder / "lib")


def read_environment(folder: Path) -> Environment | None:
    """The environment at ``folder``, or None when it is absent, half made or visibly broken (a few file look-ups)."""
    try:
        record = EnvironmentRecord.read(folder / RECORD)
    except (OSError, ValidationError):
        return None
    packages = site_packages(folder)
    whole = python_of(folder).is_file() and all((packages / name).is_dir() for name in record.metadata_folders)
    return Environment(folder=folder, record=record) if whole else None


def describe(folder: Path, toolchain: Toolchain, python_version: str, made_by: Maker) -> EnvironmentRecord:
    """The record of what was just installed at ``folder``."""
    found = list(metadata.distributions(path=[str(site_packages(folder))]))
    infos = tuple(sorted(path.name for path in site_packages(folder).glob("*.dist-info")))
    return EnvironmentRecord(
        toolchain=toolchain.name,
        pins_digest=toolchain.pins_digest(),
        python=python_version,
        made_by=made_by,
        packages=dict(sorted((one.metadata["Name"].lower(), one.version) for one in found)),
        metadata_folders=infos,
        odd_files=tuple(_unlike_record(folder, infos)),
    )


def damaged_files(environment: Environment) -> list[str]:
    """Installed files that are gone or have other bytes than the installer recorded; every byte is read.

    Importing them would not tell: Python runs the compiled copy of a source that has its old size and its old time to
    the second.
    """
    record = environment.record
    return sorted(set(_unlike_record(environment.folder, record.metadata_folders)) - set(record.odd_files))


def _unlike_record(folder: Path, metadata_folders: tuple[str, ...]) -> list[str]:
    packages = site_packages(folder)
    return [
        row.path
        for name in metadata_folders
        for row in _recorded(packages / name / "RECORD")
        if not _is_as_recorded(packages / row.path, row)
    ]


class _Row(NamedTuple):
    """A line of a package's ``RECORD`` (Python packaging specifications, "Recording installed projects")."""

    path: str
    """Relative to the folder of packages."""
    hash: str
    """``sha256=`` and the digest in URL-safe base64 without padding; empty where none is recorded."""
    size: str
    """Bytes; empty where none is recorded."""


def _recorded(path: Path) -> list[_Row]:
    if not path.is_file():
        return [_Row(str(path), "", "0")]
    with path.open(newline="", encoding="utf-8") as stream:
        return [_Row(*row) for row in csv.reader(stream) if len(row) == len(_Row._fields) and any(row[1:])]


def _is_as_recorded(path: Path, row: _Row) -> bool:
    try:
        same_size = not row.size or path.stat().st_size == int(row.size)
        return same_size and _has_hash(path, row.hash)
    except OSError:
        return False


def _has_hash(path: Path, recorded: str) -> bool:
    algorithm, _, expected = recorded.partition("=")
    if algorithm not in hashlib.algorithms_guaranteed:
        return True  # none recorded, or one that cannot be computed here
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, algorithm).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == expected
