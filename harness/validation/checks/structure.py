"""Size and shape as the files decide them: parameters, budget; tensors against the configuration; tied weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from harness.checkpoint.checkpoint import read_described_config
from harness.checkpoint.reader import CheckpointReader
from harness.checkpoint.structure import MAX_LAYERS, MODELING_NAME, STRUCTURE_NAME, STRUCTURED_TYPE
from harness.errors import CheckpointCorrupt, UsageError
from harness.rules.finding import Finding, Place, Severity
from harness.structured.files import AUTO_MAP, is_ours
from harness.submission import describe, layout
from harness.surgery.anatomy import load
from harness.surgery.count import tensor_shapes
from harness.surgery.table import model_types
from harness.validation.catalogue import finding
from harness.validation.check import Check
from harness.validation.checks import vocabulary
from harness.validation.checks.vocabulary import EMBEDDING
from harness.validation.weights import read_config, read_layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from harness.checkpoint.header import TensorEntry
    from harness.checkpoint.shards import Layout
    from harness.rules.edition import Edition
    from harness.validation.entry import Entry
    from harness.validation.weights import Weights

CONFIG: Final = "config.json"
HEAD: Final = describe.OUTPUT_EMBEDDING
MAX_FINDINGS: Final = 50
"""Of tensors of one checkpoint; a wrong width disagrees with all of them."""
_BUFFERS: Final = ("rotary_emb.inv_freq", "attn.bias", "attn.masked_bias")
"""What older versions of transformers wrote and newer ones recompute."""
_COMPARED_BYTES: Final = 4 << 20


def parameter_count(entry: Entry, _: Edition) -> Iterator[Finding]:
    """The record's parameters, bytes and dtypes recompute from the headers of every checkpoint that was found."""
    for weights in entry.weights:
        if weights.folder is not None:
            yield from _recomputed(weights)
    for number, model in enumerate(entry.models):
        base = model.result("base")
        if base is not None and base.checkpoint.parameter_count != model.base.parameter_count:
            place = Place(file=layout.SUBMISSION, field=f"models.{number}.base.parameter_count")
            message = "the base has two parameter counts"
            allowed = str(base.checkpoint.parameter_count)
            yield finding(
                "structure.parameter_count", place, message, found=model.base.parameter_count, allowed=allowed
            )


def _recomputed(weights: Weights) -> Iterator[Finding]:
    try:
        read, config = read_layout(weights), read_config(weights)
    except CheckpointCorrupt:
        return  # weights.corrupt says so
    record = weights.record
    pairs: dict[str, tuple[object, object]] = {
        "parameter_count": (record.parameter_count, describe.parameter_count(read, config)),
        "weights_bytes": (record.weights_bytes, describe.weights_bytes(read)),
        "dtypes": (", ".join(record.dtypes), ", ".join(describe.dtypes(read))),
    }
    for name, (found, recomputed) in pairs.items():
        if found != recomputed:
            place = Place(file=layout.SUBMISSION, field=f"{weights.field}.{name}")
            message = f"the tensors of {weights.model}.{weights.role} say otherwise"
            yield finding("structure.parameter_count", place, message, found=found, allowed=str(recomputed))


def budget(entry: Entry, _: Edition) -> Iterator[Finding]:
    """No final checkpoint has more parameters than the budget."""
    for number, model in enumerate(entry.models):
        final = model.result("final")
        if final is not None and final.checkpoint.parameter_count > model.parameter_budget:
            place = Place(file=layout.SUBMISSION, field=f"models.{number}.parameter_budget")
            message = f"the final checkpoint of {model.name} has more parameters than its budget"
            found = final.checkpoint.parameter_count
            yield finding("structure.budget", place, message, found=found, allowed=f"at most {model.parameter_budget}")


def _read(entry: Entry) -> Iterator[tuple[Weights, Layout, dict[str, Any]]]:
    """Every checkpoint that can be read, with its headers and its configuration."""
    for weights in entry.weights:
        if weights.folder is not None:
            try:
                yield weights, read_layout(weights), read_config(weights)
            except CheckpointCorrupt:
                continue  # weights.corrupt says so


def _architecture(config: Mapping[str, Any]) -> str | None:
    """The ``model_type`` whose table describes the tensors; None where the configuration names none."""
    name = config.get("base_model_type") if config.get("model_type") == STRUCTURED_TYPE else config.get("model_type")
    return None if name is None else str(name)


def architecture(entry: Entry, _: Edition) -> Iterator[Finding]:
    """The architecture is one whose tensors are known, so that they can be checked."""
    for weights, _layout, config in _read(entry):
        name = _architecture(config)
        if name is not None and name not in model_types():
            place = Place(file=weights.file(CONFIG), field="model_type")
            message = "there is no table of this architecture, so its tensors were not held against its configuration"
            yield finding("structure.architecture", place, message, found=name, allowed=", ".join(model_types()))


def tensors(entry: Entry, _: Edition) -> Iterator[Finding]:
    """The tensors are those that the configuration asks for: none missing, none besides, each of its shape."""
    for weights, read, config in _read(entry):
        if _architecture(config) in model_types():
            found = list(_disagreements(weights, read, config))
            yield from found[:MAX_FINDINGS]
            if len(found) > MAX_FINDINGS:
                message = f"{len(found) - MAX_FINDINGS} more tensors disagree with the configuration"
                place = Place(file=weights.file(CONFIG))
                allowed = "the tensors that the configuration asks for"
                yield finding("structure.tensors", place, message, found=f"{len(found)} tensors", allowed=allowed)


def _disagreements(weights: Weights, read: Layout, config: Mapping[str, Any]) -> Iterator[Finding]:
    layers = config.get("num_hidden_layers")
    if isinstance(layers, int) and layers > MAX_LAYERS:
        place, message = Place(file=weights.file(CONFIG), field="num_hidden_layers"), "there are too many layers"
        yield finding("structure.tensors", place, message, found=layers, allowed=f"at most {MAX_LAYERS}")
        return
    try:
        asked = tensor_shapes(load(read_described_config(weights.require_folder())))
    except (UsageError, CheckpointCorrupt) as error:
        message = str(error).replace(f"{weights.folder}/", "")
        place = Place(file=weights.file(STRUCTURE_NAME if message.startswith(STRUCTURE_NAME) else CONFIG))
        yield finding("structure.tensors", place, message, found=message, allowed="a shape that the architecture has")
        return
    stored = {entry.name: (shard.path.name, entry) for shard in read.shards for entry in shard.tensors}
    for name in sorted(asked.keys() - stored.keys()):
        place = Place(file=weights.file(CONFIG), tensor=name)
        message = "the configuration asks for a tensor that is not there"
        allowed = f"a tensor of shape {list(asked[name])}"
        yield finding("structure.tensors", place, message, found="no such tensor", allowed=allowed)
    for name, (file, entry) in stored.items():
        allowed = f"shape {list(asked[name])}" if name in asked else "no such tensor"
        is_other = name not in asked and not _is_known_besides(name, config)
        if is_other or (name in asked and asked[name] != entry.shape):
            message = "the configuration does not ask for this tensor, or for another shape of it"
            yield finding(
                "structure.tensors",
                _of(weights, file, entry),
                message,
                found=f"shape {list(entry.shape)}",
                allowed=allowed,
            )


def _is_known_besides(name: str, config: Mapping[str, Any]) -> bool:
    """Buffers, and an output embedding that ``structure.tied`` speaks of."""
    return name.endswith(_BUFFERS) or (name == HEAD and config.get("tie_word_embeddings") is True)


def _of(weights: Weights, file: str, entry: TensorEntry) -> Place:
    return Place(file=weights.file(file), tensor=entry.name, index=0, byte_offset=entry.start)


def tied(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Where the configuration ties the output embedding to the input's, none is stored; a different one is an error."""
    for weights, read, config in _read(entry):
        stored = {one.name: (shard.path.name, one) for shard in read.shards for one in shard.tensors}
        if config.get("tie_word_embeddings") is True and HEAD in stored and EMBEDDING in stored:
            differs = _first_difference(read)
            file, head = stored[HEAD]
            place = _of(weights, file, head)
            if differs is not None:
                place = place.model_copy(
                    update={
                        "index": differs,
                        "byte_offset": head.start + differs * head.size_bytes // head.element_count,
                    }
                )
            yield finding(
                "structure.tied",
                place,
                "the configuration ties the output embedding to the input's, and one is stored",
                found="the same values again" if differs is None else "other values than the input embedding",
                allowed=f"no {HEAD}, or tie_word_embeddings = false",
                severity=Severity.WARNING if differs is None else Severity.ERROR,
            )


def _first_difference(read: Layout) -> int | None:
    """Flat index of the first element in which the two embeddings differ; None where they are the same."""
    with CheckpointReader(read) as reader:
        head, embedding = reader.entry(HEAD), reader.entry(EMBEDDING)
        if (head.dtype, head.shape) != (embedding.dtype, embedding.shape) or not head.element_count:
            return 0
        row = head.element_count // head.shape[0]
        step = max(1, _COMPARED_BYTES * head.shape[0] // head.size_bytes)
        for first in range(0, head.shape[0], step):
            last = min(first + step, head.shape[0])
            differs = (reader.rows(HEAD, first, last) != reader.rows(EMBEDDING, first, last)).reshape(-1)
            if differs.any():
                return first * row + int(differs.argmax())
    return None


def modeling(entry: Entry, _: Edition) -> Iterator[Finding]:
    """A structured checkpoint has the modeling file that loads it, exactly ours, and names it."""
    for weights, _layout, config in _read(entry):
        if config.get("model_type") == STRUCTURED_TYPE:
            yield from _unloadable(weights, weights.require_folder(), config)


def _unloadable(weights: Weights, folder: Path, config: Mapping[str, Any]) -> Iterator[Finding]:
    if not is_ours(folder):
        found = "another file" if (folder / MODELING_NAME).exists() else "no such file"
        message = "the modeling file of a structured checkpoint is not the harness's"
        place = Place(file=weights.file(MODELING_NAME))
        yield finding("structure.modeling", place, message, found=found, allowed="the file that the harness writes")
    if not (folder / STRUCTURE_NAME).exists():
        message = "a structured checkpoint has no record of its structure"
        place = Place(file=weights.file(STRUCTURE_NAME))
        yield finding("structure.modeling", place, message, found="no such file", allowed="the shape of every layer")
    if config.get("auto_map") != AUTO_MAP:
        message = "the configuration of a structured checkpoint names other code than the harness's"
        place = Place(file=weights.file(CONFIG), field="auto_map")
        yield finding("structure.modeling", place, message, found=config.get("auto_map"), allowed=str(AUTO_MAP))


CHECKS = (
    Check(rule="structure.parameter_count", function=parameter_count),
    Check(rule="structure.budget", function=budget),
    Check(rule="structure.architecture", function=architecture),
    Check(rule="structure.tensors", function=tensors),
    Check(rule="structure.tied", function=tied),
    Check(rule="structure.modeling", function=modeling),
    *vocabulary.CHECKS,
)
