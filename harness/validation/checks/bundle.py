"""The folder and its files: whole, small, plain, readable, and those that the manifest names."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from harness.rules.finding import Finding, Place
from harness.submission import layout
from harness.submission.naming import is_folder_name
from harness.submission.signature import SIGNATURE
from harness.validation.catalogue import finding
from harness.validation.check import Check
from harness.validation.listing import MAX_DEPTH, MAX_FILES, Unreadable, read_plain
from harness.validation.record import MAX_FILE_BYTES, read_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import JsonValue

    from harness.rules.edition import Edition
    from harness.submission.file_record import FileRecord
    from harness.submission.model_result import ModelResult
    from harness.validation.entry import Entry

_MACHINE_PATH = re.compile(r"(?:file://)?(?:/[^/\s:]+){2,}/?|[A-Za-z]:\\[^\s]+|~/[^\s]+")
"""An absolute path of at least two parts, a drive letter or a home: the whole of a word."""


def required_files(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """Every file that the edition requires is there and holds something."""
    for name in edition.required_files:
        size_bytes = entry.listing.files.get(name)
        if not size_bytes:
            found = "no such file" if size_bytes is None else "an empty file"
            yield finding(
                "bundle.required_files",
                Place(file=name),
                "a required file is missing or empty",
                found=found,
                allowed="a file with content",
            )


def unexpected_file(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Nothing stands in the folder that is no part of a bundle."""
    for name in entry.listing.files:
        if not layout.belongs(name):
            yield finding(
                "bundle.unexpected_file",
                Place(file=name),
                "the file is no part of a bundle",
                found=name,
                allowed="the files that README.md lists",
            )


def link(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Nothing in the folder is a link or a device."""
    for name in entry.listing.links:
        yield finding(
            "bundle.link",
            Place(file=name),
            "the name stands for a link or a device; it was not followed",
            found="neither a plain file nor a folder",
            allowed="plain files and folders",
        )


def file_name(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Every name can be printed."""
    for name in (*entry.listing.files, *entry.listing.links, *entry.listing.folders):
        if not name.isprintable():
            yield finding(
                "bundle.file_name",
                Place(file=name),
                "the name holds characters that cannot be printed",
                found=name,
                allowed="printable UTF-8",
            )


def too_large(entry: Entry, _: Edition) -> Iterator[Finding]:
    """The folder keeps to its bounds."""
    if not entry.listing.complete:
        yield finding(
            "bundle.too_large",
            Place(file="."),
            "the folder holds more than is listed",
            found="more files or folders within folders",
            allowed=f"{MAX_FILES} names, {MAX_DEPTH} deep",
        )
    for name, size_bytes in entry.listing.files.items():
        if size_bytes > MAX_FILE_BYTES:
            yield finding(
                "bundle.too_large",
                Place(file=name),
                "the file is larger than a record's file can be",
                found=f"{size_bytes} bytes",
                allowed=f"at most {MAX_FILE_BYTES} bytes",
            )


def schema(entry: Entry, _: Edition) -> Iterator[Finding]:
    """What could not be read when the entry was opened."""
    yield from entry.faults


def files_digest(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Each file is named by the manifest, with the digest of its bytes."""
    if entry.submission is None:
        return
    for number, record in enumerate(entry.submission.files):
        yield from _compare(entry, record, f"files.{number}")
    # The manifest cannot name what is made from it: itself, and the signature (provenance.signature).
    named = {record.name for record in entry.submission.files} | {layout.SUBMISSION, SIGNATURE}
    for name in entry.listing.files:
        if name not in named and layout.belongs(name):
            yield finding(
                "bundle.files_digest",
                Place(file=name),
                "the manifest does not name the file",
                found="a file without a digest",
                allowed="a file that submission.json names",
            )


def _compare(entry: Entry, record: FileRecord, field: str) -> Iterator[Finding]:
    if record.name not in entry.listing.files:
        place = Place(file=layout.SUBMISSION, field=f"{field}.name")
        yield finding(
            "bundle.files_digest",
            place,
            "the manifest names a file that is not there",
            found=record.name,
            allowed="files of the bundle",
        )
        return
    try:
        content = read_plain(entry.path / record.name, max_bytes=MAX_FILE_BYTES)
    except Unreadable:
        return  # bundle.too_large or bundle.schema says so
    digest = hashlib.sha256(content).hexdigest()
    if (len(content), digest) != (record.size_bytes, record.sha256):
        yield finding(
            "bundle.files_digest",
            Place(file=record.name),
            "the file is not the one that the manifest names",
            found=f"{len(content)} bytes, SHA-256 {digest}",
            allowed=f"{record.size_bytes} bytes, SHA-256 {record.sha256}",
        )


def model_files(entry: Entry, _: Edition) -> Iterator[Finding]:
    """There is one file for each model, and it repeats the manifest."""
    expected = {f"{layout.MODELS}/{model.name}.json": model for model in entry.models}
    for name, model in expected.items():
        repeated = entry.model_files.get(name)
        if name not in entry.listing.files or (repeated is not None and not _same(repeated, model)):
            yield finding(
                "bundle.model_files",
                Place(file=name),
                "the file does not repeat the model's result",
                found="no such file" if repeated is None else "another result",
                allowed="the model's result of submission.json",
            )
    for name in entry.model_files:
        if entry.submission is not None and name not in expected:
            yield finding(
                "bundle.model_files",
                Place(file=name),
                "the entry has no model of that name",
                found=name,
                allowed=", ".join(expected),
            )


def _same(one: ModelResult, other: ModelResult) -> bool:
    """Equal as text: a NaN equals itself, so that only the rule about ranges speaks of it."""
    return one.model_dump_json() == other.model_dump_json()


def folder_name(entry: Entry, _: Edition) -> Iterator[Finding]:
    """The folder's name, the id, the team and the plugin agree."""
    submission = entry.submission
    if submission is None:
        return
    day, team, plugin = submission.created.isoformat(), submission.team, submission.plugin.name
    place = Place(file=layout.SUBMISSION, field="id")
    if not (submission.id.startswith(f"{day}-") and is_folder_name(submission.id, team, plugin)):
        yield finding(
            "bundle.folder_name",
            place,
            "the id is not made of date, team and plugin",
            found=submission.id,
            allowed=f"{day}-{team}-{plugin}, or {day}-{team}.N-{plugin} with N from 2",
        )
    elif entry.name != submission.id:
        yield finding(
            "bundle.folder_name",
            Place(file="."),
            "the folder has another name than the entry",
            found=entry.name,
            allowed=submission.id,
        )


def machine_path(entry: Entry, _: Edition) -> Iterator[Finding]:
    """No text value of a JSON file is a path of some machine."""
    for name in entry.listing.files:
        if not (layout.is_bundle_file(name) and name.endswith(".json")) or name.startswith(f"{layout.MODELS}/"):
            continue  # models/ repeats the manifest
        value, _faults = read_json(entry.path, name)
        for field, text in _texts(value):
            yield finding(
                "bundle.machine_path",
                Place(file=name, field=field),
                "the value is a path of a machine",
                found=text,
                allowed="names, and paths relative to the bundle",
            )


def _texts(value: JsonValue) -> Iterator[tuple[str, str]]:
    """The machine paths in ``value`` with their fields; without recursion, nesting is bounded by the reader."""
    waiting: list[tuple[str, JsonValue]] = [("", value)]
    while waiting:
        field, item = waiting.pop()
        if isinstance(item, str) and _MACHINE_PATH.fullmatch(item):
            yield field, item
        elif isinstance(item, dict):
            waiting += [(f"{field}.{key}".lstrip("."), inner) for key, inner in item.items()]
        elif isinstance(item, list):
            waiting += [(f"{field}.{index}".lstrip("."), inner) for index, inner in enumerate(item)]


CHECKS = (
    Check(rule="bundle.required_files", function=required_files),
    Check(rule="bundle.unexpected_file", function=unexpected_file),
    Check(rule="bundle.link", function=link),
    Check(rule="bundle.file_name", function=file_name),
    Check(rule="bundle.too_large", function=too_large),
    Check(rule="bundle.schema", function=schema),
    Check(rule="bundle.files_digest", function=files_digest),
    Check(rule="bundle.model_files", function=model_files),
    Check(rule="bundle.folder_name", function=folder_name),
    Check(rule="bundle.machine_path", function=machine_path),
)
