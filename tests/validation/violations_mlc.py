"""How to break the rules about an MLC package beside its checkpoint: a true pair, and one thing in it changed."""

from __future__ import annotations

import functools
import hashlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from harness.deployment.mlc.export import export_package
from harness.deployment.mlc.options import MlcOptions
from harness.rules.finding import Place
from harness.testing.tiny import write_tiny_checkpoint
from tests.validation.violations import Violation
from tests.validation.violations_foreign import ALWAYS, CLEAN, elsewhere

if TYPE_CHECKING:
    from collections.abc import Callable

SETTINGS, INDEX, SHARD = "package/mlc-chat-config.json", "package/tensor-cache.json", "package/params_shard_0.bin"


@functools.cache
def pair() -> dict[str, bytes]:
    """A tiny checkpoint and the package of it, as files of an entry."""
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        export_package(write_tiny_checkpoint("llama", root / "model"), root / "package", MlcOptions())
        files = {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.glob("*/*"))}
        return files | {"Results.csv": CLEAN.encode()}


def packed(change: Callable[[dict[str, bytes]], object], *places: Place) -> Violation:
    """The pair with one change."""

    def breaks(made):
        files = dict(pair())
        change(files)
        elsewhere(made, files)

    return Violation(breaks, places, ALWAYS)


def edited(name: str, edit: Callable[[dict], object]) -> Callable[[dict[str, bytes]], object]:
    """One JSON file of the pair, edited."""

    def change(files: dict[str, bytes]) -> None:
        document = json.loads(files[name])
        edit(document)
        files[name] = json.dumps(document).encode()

    return change


def flip(files: dict[str, bytes]) -> None:
    """The first bit of a shard, and its MD5 as if nothing had happened."""
    files[SHARD] = bytes([files[SHARD][0] ^ 1]) + files[SHARD][1:]
    digest = hashlib.md5(files[SHARD], usedforsecurity=False).hexdigest()
    edited(INDEX, lambda index: index["records"][0].update(md5sum=digest))(files)


def rename(index: dict) -> None:
    """The final norm under another name."""
    records = [record for shard in index["records"] for record in shard["records"]]
    next(record for record in records if record["name"] == "model.norm.weight")["name"] = "model.last.weight"


MLC_VIOLATIONS = {
    "mlc.names": (
        packed(
            edited(INDEX, rename),
            Place(file=INDEX, tensor="model.last.weight"),
            Place(file=INDEX, tensor="model.norm.weight"),
        ),
    ),
    "mlc.values": (packed(flip, Place(file=SHARD, tensor="model.embed_tokens.weight", byte_offset=0)),),
    "mlc.settings": (
        packed(
            edited(SETTINGS, lambda settings: settings["model_config"].update(rms_norm_eps=0.1)),
            Place(file=SETTINGS, field="model_config.rms_norm_eps"),
        ),
    ),
    "mlc.tokenizer": (
        packed(
            lambda files: files.update({"package/tokenizer.json": files["package/tokenizer.json"] + b" "}),
            Place(file="package/tokenizer.json"),
        ),
    ),
}
