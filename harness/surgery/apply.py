"""Carry a plan out: stream a checkpoint tensor by tensor into another, in the memory of a few chunks.

    source/*.safetensors ──chunks──> kept rows and columns, fused, factorised ──append──> output/*.safetensors
    source/config.json   ──────────── reduced, structure parted off ────────────────────> output/config.json
    tokenizer files      ──────────── as they are, or for the rows that stay ───────────> output/

Tensors are written in the order in which the source has them, so that it is read once from front to back. Where all
units stay, so does every bit. A killed run leaves no ``output``; the next one goes on after the last whole shard.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from harness.checkpoint.checkpoint import read_described_config
from harness.checkpoint.reader import CheckpointReader, open_checkpoint
from harness.checkpoint.structure import MODELING_NAME, STRUCTURE_NAME, Structure
from harness.checkpoint.writer import CheckpointWriter, TensorSpec
from harness.document import digest_of
from harness.errors import CheckpointCorrupt
from harness.progress import Progress, silent
from harness.structured.files import EMBEDDED_FIELD, config_bytes, modeling_bytes
from harness.surgery.ahead import ahead
from harness.surgery.assembly import Blueprint, blueprint
from harness.surgery.count import tensor_shapes
from harness.surgery.streaming import CHUNK_BYTES, Factorise, Stream, no_factors
from harness.surgery.table import VOCABULARY_AXIS
from harness.surgery.vocabulary.settings import remap_config
from harness.surgery.vocabulary.tokenizer_files import SUPERSEDED, rewrite_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.surgery.anatomy import Anatomy
    from harness.surgery.plan import Plan

WEIGHT_SUFFIXES: Final = (".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".pt", ".pth", ".gguf")
"""Files that hold the weights of the source and so are not copied."""
MADE_ANEW: Final = frozenset({"config.json", STRUCTURE_NAME, MODELING_NAME})


def apply(  # noqa: PLR0913 - the request of a library function, all but the first three by name
    checkpoint_path: Path,
    plan: Plan,
    output: Path,
    progress: Progress = silent,
    *,
    factorise: Factorise = no_factors,
    max_shard_bytes: int | None = None,
) -> Path:
    """Write what ``plan`` keeps of the checkpoint at ``checkpoint_path`` to the folder ``output``.

    Whole or absent, and the same bytes each time; a checkpoint that stood at ``output`` is replaced. What an earlier
    run of the same plan on the same files had finished before it was killed is not done again.

    Args:
        checkpoint_path: the source; stock or structured.
        plan: what stays, what is fused, what is factorised.
        output: folder of the result.
        progress: told every tensor.
        factorise: the method behind ``plan.ranks``.
        max_shard_bytes: largest shard, bytes; the writer's own if absent.

    Returns:
        ``output``.

    Raises:
        UsageError: the plan does not fit the checkpoint, or the disk has no room for the result.
        CheckpointCorrupt: the checkpoint is not what its ``config.json`` says.
    """
    drawn = blueprint(read_described_config(checkpoint_path), plan)
    with open_checkpoint(checkpoint_path) as reader, ExitStack() as stack:
        check_shapes(reader, drawn.source)
        specs = _specs(reader, drawn)
        files = _files(checkpoint_path, drawn, plan)
        writer = stack.enter_context(
            CheckpointWriter(
                output, specs, max_shard_bytes=max_shard_bytes, resume_key=_resume_key(checkpoint_path, plan, reader)
            )
        )
        stream = Stream(reader, factorise)
        for done, spec in enumerate(specs):
            progress("slicing", done, len(specs), spec.name)
            if not writer.has(spec.name):
                chunks = stream.chunks(drawn.assemblies[spec.name], spec.dtype)
                writer.append(spec.name, ahead(chunks) if spec.size_bytes > CHUNK_BYTES else chunks)
        for name, content in files.made.items():
            writer.write_file(name, content)
        for path in files.copied:
            writer.copy_file(path)
    progress("slicing", len(specs), len(specs))
    return output


def check_shapes(reader: CheckpointReader, anatomy: Anatomy) -> None:
    """The tensors in the files are the ones that the configuration asks for; raises ``CheckpointCorrupt``."""
    path = reader.layout.path
    for name, shape in tensor_shapes(anatomy).items():
        found = reader.entry(name).shape
        if found != shape:
            raise CheckpointCorrupt(
                f"{path}: tensor {name!r} must be {list(shape)} by config.json, found {list(found)}"
            )
    for entry in reader.layout.tensors:
        if entry.name not in anatomy.tensors:
            raise CheckpointCorrupt(f"{path}: tensor {entry.name!r} is not part of a {anatomy.table.architecture}")


def described_files(config: Mapping[str, Any]) -> dict[str, bytes]:
    """``config.json``, and for a structured model its structure and its modeling file."""
    files = {"config.json": config_bytes({name: value for name, value in config.items() if name != EMBEDDED_FIELD})}
    if EMBEDDED_FIELD in config:
        structure = Structure.model_validate_json(json.dumps(config[EMBEDDED_FIELD]))
        files[STRUCTURE_NAME] = (structure.model_dump_json(indent=2) + "\n").encode()
        files[MODELING_NAME] = modeling_bytes()
    return files


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """What is written beside the weights."""

    made: Mapping[str, bytes]
    copied: tuple[Path, ...]


def _files(source: Path, drawn: Blueprint, plan: Plan) -> _Files:
    keep, config = plan.kept(VOCABULARY_AXIS, None), dict(drawn.result.config)
    rewritten: dict[str, bytes] = {}
    if keep is not None and len(keep) < drawn.source.sizes[VOCABULARY_AXIS]:
        units = tuple(keep.tolist())
        config = remap_config(config, units)
        rewritten = dict(rewrite_files(source, units))
    made = {**described_files(config), **rewritten}
    # Formats of the vocabulary that are not rewritten would contradict the rest.
    gone = {*made, *(SUPERSEDED if rewritten else ())}
    return _Files(made=made, copied=tuple(path for path in _small_files(source) if path.name not in gone))


def _small_files(source: Path) -> list[Path]:
    """Tokenizer, generation settings and all else that is neither weights nor made anew."""
    return [
        entry
        for entry in sorted(source.iterdir())
        if entry.is_file()
        and not entry.is_symlink()
        and not entry.name.startswith(".")
        and entry.name not in MADE_ANEW
        and not entry.name.endswith(WEIGHT_SUFFIXES)
    ]


def _specs(reader: CheckpointReader, drawn: Blueprint) -> list[TensorSpec]:
    """The result's tensors, in the order in which their sources lie in the files."""
    places = {entry.name: place for place, entry in enumerate(reader.layout.tensors)}
    shapes = tensor_shapes(drawn.result)
    ordered = sorted(drawn.assemblies.items(), key=lambda item: places[item[1].first_source])
    return [
        TensorSpec(name=name, dtype=reader.entry(assembly.first_source).dtype, shape=shapes[name])
        for name, assembly in ordered
    ]


def _resume_key(path: Path, plan: Plan, reader: CheckpointReader) -> str:
    """Names this work: the plan, and the source's files by size and time of change."""
    stats = [(shard.path.name, shard.path.stat()) for shard in reader.layout.shards]
    config = (path / "config.json").read_bytes().hex()
    return digest_of([plan.content_digest(), config, [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]])
