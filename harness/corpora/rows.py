"""Rows become samples: the three schemas that an edition knows.

    schema      fields read                                              samples of a row
    c4          text                                                     the document
    alpaca      instruction, input, output                               one answer to one prompt
    alpaca-zh   instruction_zh, input_zh, output_zh, and the three       the Chinese one, then the English one;
                above where present                                      each language that the row has

A sample without text (Alpaca has 28 empty outputs) is skipped and counted. Anything else that does not fit the schema
is an error with file and line: a data set that half fits is not the data set that the edition allows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.errors import DataNotAllowed

if TYPE_CHECKING:
    from collections.abc import Mapping

Schema = Literal["c4", "alpaca", "alpaca-zh"]

HELD_OUT_BUCKETS = 32
"""Where a data set has no validation split of its own, one row in so many is held out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a data set as it was read, before its schema is applied."""

    number: int
    """Counted from 0 over all files of the split, in reading order."""
    place: str
    """Where it stands, for people: ``c4.jsonl.gz:12``."""
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One unit of training or calibration text."""

    text: str
    """The document, or the answer to ``prompt``; never empty."""
    prompt: str | None
    """The user's turn of an instruction; None for a document."""
    data: str
    """Short name of the data set in the edition."""
    row: int
    """Number of the row that it came from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedRow:
    """What a row holds."""

    samples: tuple[Sample, ...]
    skipped_count: int
    """Samples of the row that had no text."""
    key: str
    """The text that decides on which side of a split the row stands."""


def parse(schema: Schema, row: Row, data: str) -> ParsedRow:
    """The samples of ``row`` of the data set called ``data``.

    Raises:
        DataNotAllowed: a field is missing, is no text, or is not valid Unicode; the message names file and line.
    """
    turns = _turns(schema, row)
    samples = tuple(Sample(text=text, prompt=prompt, data=data, row=row.number) for prompt, text in turns if text)
    prompt, text = turns[-1]
    return ParsedRow(samples=samples, skipped_count=len(turns) - len(samples), key=text if prompt is None else prompt)


def is_held_out(key: str) -> bool:
    """Whether rows of this key are validation where the data set has no such split: one in ``HELD_OUT_BUCKETS``.

    The text decides and not the row number, so that two equal documents, or two answers to one prompt, are never parted
    and no validation text is also trained on, in whichever file or order they come.
    """
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % HELD_OUT_BUCKETS == 0


def user_turn(instruction: str, context: str) -> str:
    """The user's turn of an Alpaca row: the input, if any, on a line below the instruction."""
    return f"{instruction}\n{context}" if context else instruction


def _turns(schema: Schema, row: Row) -> list[tuple[str | None, str]]:
    if schema == "c4":
        text = _text(row, "text")
        return [(None, text if text.strip() else "")]
    suffixes = [suffix for suffix in ("_zh", "") if f"instruction{suffix}" in row.fields]
    if schema == "alpaca" or not suffixes:
        suffixes = [""]
    return [_turn(row, suffix) for suffix in suffixes]


def _turn(row: Row, suffix: str) -> tuple[str, str]:
    instruction = _text(row, f"instruction{suffix}")
    context = _text(row, f"input{suffix}", optional=True)
    answer = _text(row, f"output{suffix}")
    return user_turn(instruction, context), answer if answer.strip() else ""


def _text(row: Row, field: str, *, optional: bool = False) -> str:
    value = row.fields.get(field)
    if value is None and optional:
        return ""
    if not isinstance(value, str):
        found = type(value).__name__ if field in row.fields else f"only {', '.join(sorted(row.fields)) or 'nothing'}"
        raise DataNotAllowed(f"{row.place}: field {field!r} must be text, found {found}")
    if not _is_unicode(value):
        raise DataNotAllowed(f"{row.place}: field {field!r} is not valid Unicode: it holds half of a surrogate pair")
    return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
