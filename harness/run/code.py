"""The code's own version, as a digest: a changed line makes every step that runs it another step."""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path

SUFFIXES = (".py", ".toml", ".json", ".txt")
LIBRARY = (
    "methods",
    "surgery",
    "structured",
    "corpora",
    "checkpoint",
    "pico/corpus",
    "contracts.py",
    "options.py",
    "run/calls.py",
)
"""What of the harness a step's bytes depend on."""
ENGINES = ("torch", "transformers", "tokenizers", "safetensors", "peft", "accelerate", "numpy", "datasets")
"""What of the environment they depend on."""


def tree_digest(paths: list[Path]) -> str:
    """SHA-256 over the names and contents of the source files at or below ``paths``."""
    digest = hashlib.sha256()
    for path in paths:
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES)
        for file in files:
            digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def harness_folder() -> Path:
    """The folder of the harness's own package."""
    return Path(__file__).parent.parent


def library_digest() -> str:
    """Digest of the part of the harness that decides a step's bytes."""
    return tree_digest([harness_folder() / part for part in LIBRARY])


def judge_digest() -> str:
    """Digest of the part of the harness that measures."""
    return tree_digest([harness_folder() / part for part in ("judge", "structured", "toolchains")])


def packaging_digest() -> str:
    """Digest of the part of the harness that makes packages and holds them against their checkpoints."""
    return tree_digest([harness_folder() / part for part in ("deployment", "structured")])


def engine_versions() -> dict[str, str]:
    """Versions of the libraries that decide a step's bytes."""
    return {name: metadata.version(name) for name in ENGINES}
