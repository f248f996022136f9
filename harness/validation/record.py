"""The files of a record, read one by one: what can be read is there, what cannot is a finding."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from harness.document import Document
from harness.rules.finding import Finding, Place
from harness.submission import results_csv
from harness.validation import strict_json
from harness.validation.catalogue import finding, show
from harness.validation.listing import Unreadable, read_plain

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import JsonValue

    from harness.submission.results_csv import ResultsTable

DocumentT = TypeVar("DocumentT", bound=Document)

MAX_FILE_BYTES = 4 << 20
"""Of one file of a record: a thousand times a usual one, and parsed in far less than 300 MiB."""
MAX_FINDINGS_PER_FILE = 50


def read_document(root: Path, name: str, model: type[DocumentT]) -> tuple[DocumentT | None, tuple[Finding, ...]]:
    """The file ``name`` of ``root`` as ``model``, or why it is none."""
    value, faults = read_json(root, name)
    if faults:
        return None, faults
    try:
        return model.model_validate(value), ()
    except ValidationError as error:
        return None, _schema_findings(name, model, error)


def read_json(root: Path, name: str) -> tuple[JsonValue, tuple[Finding, ...]]:
    """The JSON value in the file ``name`` of ``root``, or why there is none."""
    try:
        return strict_json.parse(read_plain(root / name, max_bytes=MAX_FILE_BYTES)), ()
    except Unreadable as error:
        return None, (_unreadable(name, error),)
    except strict_json.NotJson as error:
        return None, (_not_text(name, error, "JSON in UTF-8, no key twice"),)


def read_results(root: Path, name: str) -> tuple[ResultsTable | None, tuple[Finding, ...]]:
    """The results table in the file ``name`` of ``root``, or why there is none."""
    try:
        text = strict_json.decode(read_plain(root / name, max_bytes=MAX_FILE_BYTES))
        return results_csv.parse(text), ()
    except Unreadable as error:
        return None, (_unreadable(name, error),)
    except strict_json.NotJson as error:
        return None, (_not_text(name, error, "comma-separated values in UTF-8"),)
    except csv.Error as error:
        fault = finding(
            "bundle.schema", Place(file=name), f"cannot be read: {error}", found=str(error), allowed="a header, a row"
        )
        return None, (fault,)


def _schema_findings(name: str, model: type[Document], error: ValidationError) -> tuple[Finding, ...]:
    faults = error.errors(include_url=False, include_context=False)[:MAX_FINDINGS_PER_FILE]
    return tuple(
        finding(
            "bundle.schema",
            Place(file=name, field=".".join(str(part) for part in fault["loc"])),
            f"no {model.__name__}: {fault['msg'].lower()}",
            found=_brief(fault["input"]),
            allowed=f"the form of {model.__name__}",
        )
        for fault in faults
    )


def _brief(value: object) -> str:
    """A found value, without spelling out what a stranger nested."""
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, (dict, list)) else show(value)


def _unreadable(name: str, error: Unreadable) -> Finding:
    return finding("bundle.schema", Place(file=name), f"the file {error}", found=str(error), allowed="a plain file")


def _not_text(name: str, error: strict_json.NotJson, allowed: str) -> Finding:
    place = Place(file=name, byte_offset=error.byte_offset, field=error.field)
    return finding("bundle.schema", place, f"the file {error}", found=str(error), allowed=allowed)
