"""The JSON Schemas of the files that people write and runs leave behind: ``harness schemas`` writes them.

They are generated into ``schemas/`` and committed; a test fails when a model and its schema differ.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from harness.document import write_atomically
from harness.rules.edition import Edition
from harness.submission.measurements import ItemRecord
from harness.submission.model_result import ModelResult
from harness.submission.provenance import LedgerRecord, Lock, RecipeRecord
from harness.submission.schema import Submission

if TYPE_CHECKING:
    from pathlib import Path

    from harness.document import Document

DIALECT = "https://json-schema.org/draft/2020-12/schema"

MODELS: dict[str, type[Document]] = {
    "edition": Edition,
    "items": ItemRecord,
    "ledger": LedgerRecord,
    "lock": Lock,
    "model": ModelResult,
    "recipe": RecipeRecord,
    "submission": Submission,
}
"""The model of each schema, by the schema's name."""


def schema_texts() -> dict[str, str]:
    """The text of every schema by its file name."""
    return {f"{name}.schema.json": _text(model) for name, model in MODELS.items()}


def write_schemas(folder: Path) -> tuple[Path, ...]:
    """Write every schema into ``folder``."""
    paths = []
    for name, text in schema_texts().items():
        write_atomically(folder / name, text.encode())
        paths.append(folder / name)
    return tuple(paths)


def _text(model: type[Document]) -> str:
    schema = {"$schema": DIALECT, **model.model_json_schema(mode="validation")}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
