"""No quantisation: dtypes, what the configuration asks for, packed tensors, and values that only look like floats."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from harness.errors import CheckpointCorrupt
from harness.rules.finding import Finding, Place, Severity
from harness.submission import layout
from harness.validation.catalogue import finding
from harness.validation.check import Check
from harness.validation.smuggling.sampling import suspects
from harness.validation.weights import read_config, read_layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from harness.checkpoint.header import Header
    from harness.rules.edition import Edition
    from harness.validation.entry import Entry
    from harness.validation.smuggling.sampling import Suspect
    from harness.validation.weights import Weights

CONFIG: Final = "config.json"
DTYPE_NAMES: Final = {"float16": "F16", "half": "F16", "bfloat16": "BF16", "float32": "F32", "float": "F32"}
"""As ``config.json`` calls what a safetensors header calls otherwise."""
DTYPE_FIELDS: Final = ("dtype", "torch_dtype")
QUANTIZATION_FIELDS: Final = ("quantization_config", "compression_config", "quantization")
QUANTIZATION_FILES: Final = ("quantize_config.json", "quant_config.json", "hf_quant_config.json", "quant_strategy.json")
"""What GPTQ, AWQ and ModelOpt put beside ``config.json``."""
QUANTISATION: Final = "quantisation"
"""The family of an edition's forbidden methods that rounded values belong to."""
MAX_NESTED: Final = 8
GGUF_MAGIC: Final = (b"GGUF", b"ggml", b"ggjt", b"lmgg", b"tjgg")
_PACKED: Final = (
    ("GPTQ or AWQ", re.compile(r"\.(qweight|qzeros|scales|g_idx)$")),
    (
        "bitsandbytes",
        re.compile(r"\.(SCB|absmax|quant_map|nested_absmax|nested_quant_map|weight_format)$|\.quant_state\."),
    ),
    (
        "compressed-tensors or FP8",
        re.compile(r"\.(weight_packed|weight_scale(_inv)?|weight_zero_point|weight_g_idx|input_scale)$"),
    ),
    ("HQQ", re.compile(r"\.(W_q|meta)$|\.meta\.")),
)
"""Names that quantisers give to codes, scales and zero points."""


def finals(entry: Entry) -> Iterator[tuple[Weights, Path]]:
    """The final checkpoints that were found, and where they stand."""
    for weights in entry.weights:
        if weights.role == "final" and weights.folder is not None:
            yield weights, weights.folder


def _shards(weights: Weights) -> tuple[Header, ...]:
    try:
        return read_layout(weights).shards
    except CheckpointCorrupt:
        return ()  # weights.corrupt says so


def _config(weights: Weights) -> dict[str, Any]:
    try:
        return read_config(weights)
    except CheckpointCorrupt:
        return {}  # weights.corrupt says so


def dtype(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """Every tensor has an allowed dtype; where the files are out of reach, every dtype of the record."""
    for weights in entry.weights:
        if weights.role == "final":
            yield from _tensors(weights, edition) if weights.folder else _claimed(weights, edition)


def _tensors(weights: Weights, edition: Edition) -> Iterator[Finding]:
    for shard in _shards(weights):
        for tensor in shard.tensors:
            if tensor.dtype not in edition.dtypes:
                place = Place(file=weights.file(shard.path.name), tensor=tensor.name, index=0, byte_offset=tensor.start)
                message = f"the tensor is stored as {tensor.dtype}"
                allowed = ", ".join(edition.dtypes)
                yield finding("precision.dtype", place, message, found=tensor.dtype, allowed=allowed)


def _claimed(weights: Weights, edition: Edition) -> Iterator[Finding]:
    for number, name in enumerate(weights.record.dtypes):
        if name not in edition.dtypes:
            place = Place(file=layout.SUBMISSION, field=f"{weights.field}.dtypes.{number}")
            message = f"the record states tensors of dtype {name}"
            yield finding("precision.dtype", place, message, found=name, allowed=", ".join(edition.dtypes))


def config_dtype(entry: Entry, _: Edition) -> Iterator[Finding]:
    """What ``config.json`` calls the dtype is one that matrices have: a loader casts to what it says."""
    for weights, _folder in finals(entry):
        config = _config(weights)
        stored = sorted({t.dtype for shard in _shards(weights) for t in shard.tensors if len(t.shape) > 1})
        for field in DTYPE_FIELDS:
            stated = config.get(field)
            if stated is not None and stored and DTYPE_NAMES.get(str(stated).removeprefix("torch.")) not in stored:
                place = Place(file=weights.file(CONFIG), field=field)
                message = "the configuration states another dtype than the tensors have"
                allowed = f"the dtype of the tensors: {', '.join(stored)}"
                yield finding("precision.config_dtype", place, message, found=stated, allowed=allowed)


def quantization_config(entry: Entry, _: Edition) -> Iterator[Finding]:
    """The final checkpoint asks for no quantisation, neither in ``config.json`` nor in a file of its own."""
    for weights, folder in finals(entry):
        for field, found in _asked(_config(weights)):
            place = Place(file=weights.file(CONFIG), field=field)
            message = "the configuration asks a loader to quantise"
            yield finding("precision.quantization_config", place, message, found=found, allowed="no such field")
        for name in QUANTIZATION_FILES:
            if (folder / name).exists():
                place = Place(file=weights.file(name))
                message = "the file is the configuration of a quantiser"
                yield finding("precision.quantization_config", place, message, found=name, allowed="no such file")


def _asked(config: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, object]]:
    """Fields that ask for quantisation, also those of a model within the model."""
    for name, value in config.items():
        if name in QUANTIZATION_FIELDS and value:
            yield f"{prefix}{name}", value
        elif isinstance(value, dict) and depth < MAX_NESTED:
            yield from _asked(value, f"{prefix}{name}.", depth + 1)


def packed(entry: Entry, _: Edition) -> Iterator[Finding]:
    """No tensor has the name of a quantiser's codes, scales or zero points, and no file is of GGUF."""
    for weights, folder in finals(entry):
        for shard in _shards(weights):
            for tensor in shard.tensors:
                made_by = next((maker for maker, pattern in _PACKED if pattern.search(tensor.name)), None)
                if made_by is not None:
                    file = weights.file(shard.path.name)
                    place = Place(file=file, tensor=tensor.name, index=0, byte_offset=tensor.start)
                    message = f"the tensor is named as {made_by} names what it stores"
                    yield finding("precision.packed", place, message, found=tensor.name, allowed="plain weights")
        yield from _gguf(weights, folder)


def _gguf(weights: Weights, folder: Path) -> Iterator[Finding]:
    for file in sorted(folder.iterdir()):
        if file.is_file() and not file.is_symlink():
            with file.open("rb") as stream:
                magic = stream.read(len(GGUF_MAGIC[0]))
            if magic in GGUF_MAGIC:
                place = Place(file=weights.file(file.name), byte_offset=0)
                message = "the file is of llama.cpp's format, which the judge does not load"
                yield finding("precision.packed", place, message, found=magic.decode(), allowed="safetensors")


def lattice(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """No matrix of floats has values that only a quantiser leaves: on one lattice, or from a small codebook.

    Where the edition does not forbid quantisation, such values are nothing to find.
    """
    if QUANTISATION not in edition.forbidden:
        return
    for weights, _folder in finals(entry):
        for shard in _shards(weights):
            if shard.tensors:
                for suspect in suspects(shard, shard.tensors[-1].stop):
                    yield _smuggled(weights.file(shard.path.name), suspect)


def _smuggled(file: str, suspect: Suspect) -> Finding:
    entry, verdict = suspect.entry, suspect.verdict
    place = Place(file=file, tensor=entry.name, index=verdict.first, byte_offset=suspect.first_byte)
    where = "on a lattice" if verdict.kind == "lattice" else "from a codebook"
    return finding(
        "precision.lattice",
        place,
        f"values stored as {entry.dtype} lie {where}, as {verdict.bits}-bit quantisation leaves them",
        found=f"at most {verdict.distinct} distinct values, zero aside, in {verdict.share:.0%} of {verdict.judged} "
        f"looked at, by {verdict.unit}: {verdict.bits}-bit",
        allowed="values that fall anywhere",
        severity=Severity.ERROR if verdict.is_sure else Severity.WARNING,
    )


CHECKS = (
    Check(rule="precision.dtype", function=dtype),
    Check(rule="precision.config_dtype", function=config_dtype),
    Check(rule="precision.quantization_config", function=quantization_config),
    Check(rule="precision.packed", function=packed),
    Check(rule="precision.lattice", function=lattice),
)
