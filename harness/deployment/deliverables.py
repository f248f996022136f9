"""The deliverables of the competition's final submission, as one folder.

    Saved_Model.txt                 the checkpoint, by digest; weights are referenced, not copied
    Source-Code/                    what makes the package of the checkpoint: commands, and a model definition if needed
    Compile_Model.txt  package/     the package, by digest; package.sha256 for a last look before it goes to a phone
    bundle_weight.sh                adb: package and app onto the phone
    evidence.txt or error.txt       what ran where, or why there is no picture of the app
    Model_Opencompass.py  Configuration_Opencompass.py
    Results.CSV
    deliverables.json               every item the rules ask for: there, or why not; written last

Items and names as in the kit's example folder and its list of 2024-10-16.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from harness.checkpoint.checkpoint import CheckpointFile, files_digest, list_files, read_config
from harness.checkpoint.writer import replace_folder
from harness.deployment.deliverables_text import (
    MLC_APP_FOLDER,
    bundle_script,
    compile_model_text,
    conversion_script,
    error_text,
    opencompass_configuration,
    opencompass_model,
    readme,
    saved_model_text,
)
from harness.deployment.manifest import MANIFEST_NAME, packaged_files
from harness.deployment.mlc.definition import DEFINITION_NAME
from harness.deployment.mlc.staging import place
from harness.document import Document, sync_folder, write_atomically
from harness.errors import UsageError
from harness.structured.files import is_structured
from harness.surgery.vocabulary.foreign import read_object

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.deployment.packaging import Target

MANIFEST: Final = "deliverables.json"
SAFE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
ItemName = Literal["checkpoint", "conversion", "package", "apk", "bundle", "evidence", "opencompass", "results"]


class Item(Document):
    """One thing that the rules ask for."""

    name: ItemName
    files: tuple[str, ...]
    """Where it stands in the folder; empty where it is missing."""
    missing: str | None = None
    """Why it is not there."""


class DeliverablesRecord(Document):
    """``deliverables.json``."""

    format_version: Literal[1] = 1
    name: str
    target: str
    checkpoint_digest: str
    package_digest: str
    items: tuple[Item, ...]

    @property
    def missing(self) -> tuple[Item, ...]:
        """What is still to be made."""
        return tuple(item for item in self.items if item.missing is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliverables:
    """What the folder is made of."""

    name: str
    """Of the model: letters, digits, dots, dashes; also its name on the phone."""
    target: Target
    checkpoint: Path
    package: Path
    checks: tuple[str, ...]
    """What was found right about the package, in words."""
    results_csv: str | None = None
    """Text of the results file; None where nothing was evaluated."""
    apk: Path | None = None
    evidence: Path | None = None
    """A picture or log of the app running on a phone."""


def write_deliverables(work: Deliverables, folder: Path) -> DeliverablesRecord:
    """Make ``folder`` the deliverables, whole or not at all; such a folder that stood there is replaced.

    Raises:
        UsageError: the name is not safe, or ``folder`` is something else than deliverables.
        CheckpointCorrupt: checkpoint or package is not whole.
    """
    if SAFE_NAME.fullmatch(work.name) is None:
        raise UsageError(f"name {work.name!r:.100}: allowed are up to 100 letters, digits, dots, dashes, underscores")
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise UsageError(f"{folder}: stands in the way and holds no {MANIFEST}; move it away")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        record = _fill(work, partial)
        record.write(partial / MANIFEST)
        sync_folder(partial)
        replace_folder(folder, partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return record


def _fill(work: Deliverables, folder: Path) -> DeliverablesRecord:
    checkpoint = list_files(work.checkpoint)
    digest, package_digest = files_digest(checkpoint), _copy_package(work, folder)
    manifest = read_object(work.package / MANIFEST_NAME)
    texts: dict[str, str] = {
        "Saved_Model.txt": saved_model_text(work.name, digest, checkpoint),
        "Compile_Model.txt": compile_model_text(work.name, work.target, package_digest, packaged_files(work.package)),
        "bundle_weight.sh": bundle_script(work.name, MLC_APP_FOLDER if work.target == "mlc" else ""),
        "Configuration_Opencompass.py": opencompass_configuration(),
        "Model_Opencompass.py": opencompass_model(work.name, **_wrapper(work.checkpoint)),
        **_conversion(work, manifest),
        **_outcome(work),
    }
    if work.results_csv is not None:
        texts["Results.CSV"] = work.results_csv
    items = tuple(_items(work, texts))
    record = DeliverablesRecord(
        name=work.name, target=work.target, checkpoint_digest=digest, package_digest=package_digest, items=items
    )
    texts["README.md"] = readme(work.name, work.target, [(item.name, item.files, item.missing) for item in items])
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
    (folder / "bundle_weight.sh").chmod(0o755)
    _copy_given(work, folder)
    return record


def _copy_package(work: Deliverables, folder: Path) -> str:
    """The package's files, and the list by which a phone's owner can hold them against it; its digest."""
    (folder / "package").mkdir()
    for path in sorted(work.package.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            place(path, folder / "package" / path.name)
    files = packaged_files(folder / "package")
    sums = [f"{file.sha256}  {file.name}\n" for file in files]
    write_atomically(folder / "package.sha256", "".join(sums).encode())
    return files_digest(
        tuple(CheckpointFile(name=file.name, size_bytes=file.size_bytes, sha256=file.sha256) for file in files)
    )


def _wrapper(checkpoint: Path) -> dict[str, bool]:
    """Whether OpenCompass needs the modeling file, and whether the model talks in turns."""
    settings = checkpoint / "tokenizer_config.json"
    template = settings.is_file() and bool(read_object(settings).get("chat_template"))
    chat = template or (checkpoint / "chat_template.jinja").is_file()
    return {"remote": is_structured(checkpoint), "chat": chat}


def _conversion(work: Deliverables, manifest: Mapping[str, Any]) -> dict[str, str]:
    """Source-Code: the commands, and the model definition where MLC has none of that shape."""
    texts = {"Source-Code/convert.sh": conversion_script(work.name, work.target, manifest)}
    definition = work.package / DEFINITION_NAME
    if definition.is_file():
        texts[f"Source-Code/{DEFINITION_NAME}"] = definition.read_text(encoding="utf-8")
    return texts


def _outcome(work: Deliverables) -> dict[str, str]:
    """Why there is no picture, where there is none."""
    if work.evidence is not None:
        return {}
    model = str(read_config(work.checkpoint).get("model_type"))
    return {"error.txt": error_text(work.name, work.target, model, work.checks, apk=work.apk is not None)}


def _items(work: Deliverables, texts: Mapping[str, str]) -> list[Item]:
    evidence = f"evidence{work.evidence.suffix}" if work.evidence else "error.txt"
    made: list[tuple[ItemName, tuple[str, ...]]] = [
        ("checkpoint", ("Saved_Model.txt",)),
        ("conversion", tuple(sorted(name for name in texts if name.startswith("Source-Code/")))),
        ("package", ("Compile_Model.txt", "package", "package.sha256")),
        ("bundle", ("bundle_weight.sh",)),
        ("evidence", (evidence,)),
        ("opencompass", ("Configuration_Opencompass.py", "Model_Opencompass.py")),
    ]
    items = [Item(name=name, files=files) for name, files in made]
    if work.apk is not None:
        items.append(Item(name="apk", files=(work.apk.name,)))
    else:
        items.append(Item(name="apk", files=(), missing="no app was built: that needs Android's SDK and NDK"))
    if work.results_csv is not None:
        items.append(Item(name="results", files=("Results.CSV",)))
    else:
        items.append(Item(name="results", files=(), missing="nothing was evaluated; harness submit writes it"))
    return items


def _copy_given(work: Deliverables, folder: Path) -> None:
    if work.apk is not None:
        shutil.copyfile(work.apk, folder / work.apk.name)
    if work.evidence is not None:
        shutil.copyfile(work.evidence, folder / f"evidence{work.evidence.suffix}")
