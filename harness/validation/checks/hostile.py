"""What could harm a reader: pickles, code that a loader would run, links, names that hide, JSON without bounds.

Nothing is run, imported or followed; a pickle is decoded and never opened, a module is read and never loaded.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.checkpoint.structure import MODELING_NAME
from harness.rules.finding import Finding, Place
from harness.structured.files import AUTO_MAP, is_ours
from harness.validation import strict_json
from harness.validation.catalogue import finding
from harness.validation.check import Check
from harness.validation.foreign.kind import CHECKPOINT_CONFIG, Kind, checkpoint_folders
from harness.validation.foreign.pickles import SUFFIXES, find_pickle
from harness.validation.listing import MAX_DEPTH, MAX_FILES, Listing, Unreadable, list_folder, read_plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import JsonValue

    from harness.rules.edition import Edition
    from harness.validation.entry import Entry

MAX_JSON_BYTES: Final = 4 << 20
READ_BY_LOADERS: Final = (
    CHECKPOINT_CONFIG,
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "adapter_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "model.safetensors.index.json",
)
"""What a loader parses before anything else; tokenizer.json is larger than a record's bounds and holds no settings."""
MAX_PICKLES: Final = 100
"""That are named in one folder."""
CODE_FIELDS: Final = ("auto_map", "custom_pipelines")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tree:
    """A folder whose files are looked at, and what findings put before their names."""

    listing: Listing
    prefix: str

    def name(self, name: str) -> str:
        return f"{self.prefix}{name}"


def _trees(entry: Entry) -> Iterator[_Tree]:
    """The entry's own folder, and those of the checkpoints that a bundle references."""
    if entry.kind is not Kind.UNKNOWN:
        yield _Tree(listing=entry.listing, prefix="")
    for weights in entry.weights if entry.kind is Kind.BUNDLE else ():
        if weights.folder is not None:
            yield _Tree(listing=list_folder(weights.folder), prefix=weights.file(""))


def pickle(entry: Entry, _: Edition) -> Iterator[Finding]:
    """No file is a pickle: it is a program that runs when it is opened."""
    for tree in _trees(entry):
        yield from itertools.islice(_pickles(tree), MAX_PICKLES)


def _pickles(tree: _Tree) -> Iterator[Finding]:
    for name in tree.listing.files:
        if not name.casefold().endswith(SUFFIXES):
            continue
        found = find_pickle(tree.listing.root / name)
        if found is not None:
            place = Place(file=tree.name(name), field=found.member, byte_offset=found.byte_offset)
            message = "the file is a pickle; it was not opened, and would run code if it were"
            allowed = "safetensors, which cannot run anything"
            yield finding("hostile.pickle", place, message, found=found.opcode, allowed=allowed)


def remote_code(entry: Entry, _: Edition) -> Iterator[Finding]:
    """No model folder brings code that a loader would run; our own modeling file is no stranger's."""
    for tree in _trees(entry):
        folders = checkpoint_folders(tree.listing.files)
        ours = {folder for folder in folders if is_ours(tree.listing.root / folder)}
        yield from _modules(tree, frozenset(folders), ours)
        yield from _code_fields(tree, ours)


def _modules(tree: _Tree, folders: frozenset[str], ours: set[str]) -> Iterator[Finding]:
    for name in tree.listing.files:
        folder, _, leaf = name.rpartition("/")
        is_known = leaf == MODELING_NAME and folder in ours
        if folder in folders and name.endswith((".py", ".so", ".pyc")) and not is_known:
            message = "the model brings code of its own; it was not run"
            allowed = f"a stock class, or our {MODELING_NAME} byte for byte"
            yield finding("hostile.remote_code", Place(file=tree.name(name)), message, found=name, allowed=allowed)


def _code_fields(tree: _Tree, ours: set[str]) -> Iterator[Finding]:
    for name, value, _fault in _parsed(tree):
        settings = value if isinstance(value, dict) else {}
        for field in CODE_FIELDS:
            found = settings.get(field)
            if found and not (name.rpartition("/")[0] in ours and found == AUTO_MAP):
                place = Place(file=tree.name(name), field=field)
                message = "the file asks a loader to run the model's own code"
                yield finding("hostile.remote_code", place, message, found=found, allowed="no such field")


def json_form(entry: Entry, _: Edition) -> Iterator[Finding]:
    """What a loader parses is JSON that every loader parses alike, of bounded size."""
    for tree in _trees(entry):
        for _name, _value, fault in _parsed(tree):
            if fault is not None and (entry.kind is not Kind.BUNDLE or fault.place.field is not None):
                yield fault  # of a bundle's checkpoint weights.corrupt says the rest


def _parsed(tree: _Tree) -> Iterator[tuple[str, JsonValue, Finding | None]]:
    """Name and value of every JSON file of a model folder, or why it has none."""
    folders = checkpoint_folders(tree.listing.files)
    for name in tree.listing.files:
        folder, _, leaf = name.rpartition("/")
        if folder not in folders or leaf not in READ_BY_LOADERS:
            continue
        try:
            yield name, strict_json.parse(read_plain(tree.listing.root / name, max_bytes=MAX_JSON_BYTES)), None
        except Unreadable as error:
            yield name, None, _not_json(Place(file=tree.name(name)), str(error))
        except strict_json.NotJson as error:
            place = Place(file=tree.name(name), byte_offset=error.byte_offset, field=error.field)
            yield name, None, _not_json(place, str(error))


def _not_json(place: Place, reason: str) -> Finding:
    allowed = f"JSON in UTF-8, no key twice, at most {MAX_JSON_BYTES} bytes"
    return finding("hostile.json", place, f"the file {reason}", found=reason, allowed=allowed)


def link(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Nothing is a link or a device."""
    for tree in _outside_bundles(entry):
        for name in tree.listing.links:
            message = "the name stands for a link or a device; it was not followed"
            found = "neither a plain file nor a folder"
            place = Place(file=tree.name(name))
            yield finding("hostile.link", place, message, found=found, allowed="plain files and folders")


def name(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Every name can be printed and says what it is: no control characters, no marks that turn the text round."""
    for tree in _outside_bundles(entry):
        for one in (*tree.listing.files, *tree.listing.links, *tree.listing.folders):
            if not one.isprintable():
                message = "the name holds characters that cannot be seen, or that change what is seen"
                place = Place(file=tree.name(one))
                yield finding("hostile.name", place, message, found=one, allowed="printable UTF-8")


def too_large(entry: Entry, _: Edition) -> Iterator[Finding]:
    """The entry has no more files and folders than are listed."""
    for tree in _outside_bundles(entry):
        if not tree.listing.complete:
            message = "the entry holds more than is listed"
            found = "more files, or folders within folders"
            allowed = f"{MAX_FILES} names, {MAX_DEPTH} deep"
            yield finding("hostile.too_large", Place(file=tree.name(".")), message, found=found, allowed=allowed)


def _outside_bundles(entry: Entry) -> Iterator[_Tree]:
    """The trees whose names no rule of the bundle looks at."""
    return (tree for tree in _trees(entry) if entry.kind is not Kind.BUNDLE or tree.prefix)


CHECKS = (
    Check(rule="hostile.pickle", function=pickle),
    Check(rule="hostile.remote_code", function=remote_code),
    Check(rule="hostile.json", function=json_form),
    Check(rule="hostile.link", function=link),
    Check(rule="hostile.name", function=name),
    Check(rule="hostile.too_large", function=too_large),
)
