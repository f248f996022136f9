"""Any MLC package, ours or a stranger's, against the checkpoint that it says it holds: bit for bit.

    index against files    sizes, MD5, offsets, shapes, totals                        (shards)
    names and shapes       as MLC calls the checkpoint's tensors, in either layout    (names)
    values                 every byte, fused and rounded as the conversion does it    (values)
    settings               dimensions, rotation, stop ids, tokenizer files

Every fault is a finding with file, tensor and offset; the check never stops at the first. MLC's own code is not run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from harness.checkpoint.checkpoint import read_described_config
from harness.checkpoint.reader import CheckpointReader
from harness.checkpoint.shards import read_layout
from harness.deployment.mlc.chat_config import CONFIG_NAME, model_config, stop_ids
from harness.deployment.mlc.faults import fault, shown
from harness.deployment.mlc.index import INDEX_NAME, OLD_INDEX_NAME, Count, PackageIndex
from harness.deployment.mlc.names import naming
from harness.deployment.mlc.options import MlcOptions
from harness.deployment.mlc.shards import check_index, compare, plain_shard
from harness.deployment.mlc.tokenizer import TOKENIZER_NAME
from harness.deployment.mlc.transposed import transposed_shape
from harness.deployment.mlc.values import STORED, stored_shape, tensor_chunks
from harness.errors import CheckpointCorrupt
from harness.progress import silent
from harness.rules.finding import Finding, Place, Severity
from harness.surgery.vocabulary.foreign import read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from harness.deployment.mlc.index import ShardRecord, TensorRecord
    from harness.deployment.mlc.names import MlcTensor, Naming
    from harness.deployment.mlc.options import WeightLayout
    from harness.progress import Progress

MAX_INDEX_BYTES: Final = 16 << 20
LABEL: Final = "comparing with the checkpoint"
CHOSEN_FIELDS: Final = frozenset({"context_window_size", "prefill_chunk_size", "max_batch_size", "dtype"})
"""Fields of ``model_config`` that are no fact of the checkpoint."""
SPLIT_FIELDS: Final = frozenset({"tensor_parallel_shards", "pipeline_parallel_stages", "disaggregation"})
"""Fields that say how a model is split over devices."""

STOP_FIELD: Final = "conv_template.stop_token_ids"

ModelT = TypeVar("ModelT", bound=BaseModel)


class ChatConfig(BaseModel):
    """What is asked of ``mlc-chat-config.json``."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    model_type: str
    quantization: str
    fields: dict[str, JsonValue] = Field(alias="model_config")
    vocab_size: Count
    context_window_size: int
    prefill_chunk_size: int
    tokenizer_files: tuple[str, ...] = ()
    pad_token_id: int | list[int] | None = None
    bos_token_id: int | list[int] | None = None
    eos_token_id: int | list[int] | None = None
    conv_template: JsonValue = None


def check_mlc(package: Path, checkpoint: Path, progress: Progress = silent) -> tuple[Finding, ...]:
    """Everything in which the MLC package in ``package`` is not one of ``checkpoint``; empty where it is.

    Raises:
        UsageError: there is no anatomy for the checkpoint's architecture.
        CheckpointCorrupt: the checkpoint itself is not whole.
    """
    return tuple(_Check(package, checkpoint, progress).findings())


class _Check:
    """One package and one checkpoint."""

    def __init__(self, package: Path, checkpoint: Path, progress: Progress) -> None:
        self._package = package
        self._checkpoint = checkpoint
        self._progress = progress
        self._config = read_described_config(checkpoint)
        self._layout = read_layout(checkpoint)
        self._naming = naming(self._config, self._layout)
        self._faults: list[Finding] = []

    def findings(self) -> Iterator[Finding]:
        index_name = INDEX_NAME if (self._package / INDEX_NAME).exists() else OLD_INDEX_NAME
        config, index = self._document(CONFIG_NAME, ChatConfig), self._document(index_name, PackageIndex)
        yield from self._faults
        if config is not None:
            yield from self._settings(config)
            yield from self._token_ids(config)
            yield from self._tokenizer(config)
        if index is not None:
            yield from check_index(self._package, index, index_name)
            yield from self._tensors(index, index_name, config)

    def _document(self, name: str, model: type[ModelT]) -> ModelT | None:
        path, place = self._package / name, Place(file=name)
        if path.is_symlink() or not path.is_file():
            message = "a file of the package is missing"
            self._faults.append(fault("mlc.files", place, message, found="no such file", allowed="a plain file"))
            return None
        try:
            return model.model_validate_json(read_bytes(path, MAX_INDEX_BYTES))
        except CheckpointCorrupt as error:
            self._faults.append(fault("mlc.form", place, "the file cannot be read", found=str(error), allowed="JSON"))
        except ValidationError as error:
            for item in error.errors(include_url=False, include_context=False)[:20]:
                at = Place(file=name, field=shown(".".join(str(part) for part in item["loc"])))
                self._faults.append(
                    fault("mlc.form", at, item["msg"].lower(), found=item["input"], allowed="a package")
                )
        return None

    def _settings(self, config: ChatConfig) -> Iterator[Finding]:
        """What the package says of the model is what the checkpoint's configuration says."""
        if config.quantization not in STORED:
            at = Place(file=CONFIG_NAME, field="quantization")
            allowed = ", ".join(STORED)
            yield fault("mlc.precision", at, "the package is quantised", found=config.quantization, allowed=allowed)
        asked = {"model_type": self._naming.model_type, "vocab_size": self._config["vocab_size"]}
        for name, value in asked.items():
            if getattr(config, name) != value:
                yield _setting(name, getattr(config, name), value)
        if config.model_type != self._naming.model_type:
            return  # another class of MLC has other fields
        for name, value in self._expected_fields().items():
            found = config.fields.get(name)
            if found != value:
                yield _setting(f"model_config.{name}", found, value)

    def _expected_fields(self) -> Mapping[str, Any]:
        options = MlcOptions(context_window_size=1, prefill_chunk_size=1)
        expected = model_config(self._config, self._naming, options)
        skipped = CHOSEN_FIELDS | SPLIT_FIELDS
        return {name: value for name, value in expected.items() if name not in skipped}

    def _token_ids(self, config: ChatConfig) -> Iterator[Finding]:
        for field, token in _token_ids(config):
            if not 0 <= token < self._config["vocab_size"]:
                at, allowed = Place(file=CONFIG_NAME, field=field), f"0 to {self._config['vocab_size'] - 1}"
                yield fault("mlc.tokens", at, "the token is not in the vocabulary", found=token, allowed=allowed)
        stops = {token for field, token in _token_ids(config) if field.startswith(STOP_FIELD)}
        if lacking := set(stop_ids(self._checkpoint, self._config)) - stops:
            at = Place(file=CONFIG_NAME, field=STOP_FIELD)
            message = "a token that ends an answer by the checkpoint's settings does not end it here"
            severity = Severity.WARNING if stops else Severity.ERROR
            found, allowed = sorted(stops), f"{sorted(lacking)} among them"
            yield fault("mlc.tokens", at, message, found=found, allowed=allowed, severity=severity)

    def _tokenizer(self, config: ChatConfig) -> Iterator[Finding]:
        """The tokenizer's files are the checkpoint's, byte for byte."""
        names = dict.fromkeys((TOKENIZER_NAME, *config.tokenizer_files))
        for name in names:
            at = Place(file=shown(name))
            plain = name and not name.startswith(".") and name.isprintable() and not set("/\\") & set(name)
            packed, own = self._package / name, self._checkpoint / name
            if not plain or packed.is_symlink() or not packed.is_file():
                yield fault("mlc.files", at, "a file of the package is missing", found=name, allowed="a plain file")
            elif not own.is_file():
                message = "the checkpoint has no such file"
                yield fault("mlc.tokenizer", at, message, found=name, allowed="files of the checkpoint")
            elif packed.stat().st_size != own.stat().st_size or packed.read_bytes() != own.read_bytes():
                message = "the tokenizer's file is not the checkpoint's"
                yield fault("mlc.tokenizer", at, message, found="other bytes", allowed="the checkpoint's own")

    def _tensors(self, index: PackageIndex, index_name: str, config: ChatConfig | None) -> Iterator[Finding]:
        found = {tensor.name: (shard, tensor) for shard in index.records for tensor in shard.records}
        asked = {tensor.name: tensor for tensor in self._naming.tensors}
        for name in sorted(found.keys() - asked.keys()):
            at = Place(file=index_name, tensor=shown(name))
            message = "the checkpoint has no tensor that MLC calls so"
            yield fault("mlc.names", at, message, found=name, allowed=_some(self._naming))
        stated = STORED.get(config.quantization) if config else None  # type: ignore[call-overload] # a stranger's word
        layout = _layout_of(asked, found)
        for number, (name, tensor) in enumerate(asked.items()):
            self._progress(LABEL, number, len(asked), name)
            if name in found:
                at = Place(file=index_name, tensor=name, byte_offset=found[name][1].byte_offset)
                yield from _form_faults(tensor, found[name][1], at, layout, stated)
                yield from self._values(tensor, *found[name], layout)
            else:
                at = Place(file=index_name, tensor=name)
                message = "a tensor of the checkpoint is missing"
                yield fault("mlc.names", at, message, found="none", allowed=f"{name} {list(tensor.shape)}")
        self._progress(LABEL, len(asked), len(asked))

    def _values(
        self, tensor: MlcTensor, shard: ShardRecord, record: TensorRecord, layout: WeightLayout
    ) -> Iterator[Finding]:
        path = plain_shard(self._package, shard)
        inside = record.byte_offset + record.nbytes <= shard.nbytes
        if path is None or not inside or record.stored is None or record.shape != stored_shape(tensor, layout):
            return  # what is wrong there was said already
        with CheckpointReader(self._layout) as reader:
            offset = compare(path, shard, record, tensor_chunks(reader, tensor, record.stored, layout))
        if offset is not None:
            at = Place(file=path.name, tensor=tensor.name, byte_offset=record.byte_offset + offset)
            message = "the tensor's bytes are not the checkpoint's"
            found = f"another byte, {offset} bytes into the tensor"
            yield fault("mlc.values", at, message, found=found, allowed=f"rows of {', '.join(tensor.sources)}")


def _form_faults(
    tensor: MlcTensor, record: TensorRecord, at: Place, layout: WeightLayout, stated: str | None
) -> Iterator[Finding]:
    """Shape and dtype of one tensor."""
    if record.shape != stored_shape(tensor, layout):
        message, allowed = "the tensor has another shape", list(stored_shape(tensor, layout))
        yield fault("mlc.names", at, message, found=list(record.shape), allowed=allowed)
    if record.stored == "BF16":
        message = "float32 is stored as bfloat16 under f32-to-bf16: half of its bits are lost"
        severity = Severity.WARNING
        yield fault("mlc.precision", at, message, found=record.format, allowed="raw", severity=severity)
    elif stated is not None and record.stored != stated:
        message = "the tensor has another dtype than the quantization says"
        yield fault("mlc.precision", at, message, found=record.dtype, allowed=stated)


def _layout_of(asked: Mapping[str, MlcTensor], found: Mapping[str, tuple[ShardRecord, TensorRecord]]) -> WeightLayout:
    """The layout that more tensors speak for; a square matrix that 128 does not divide looks the same in both."""
    pairs = [(tensor.shape, found[name][1].shape) for name, tensor in asked.items() if name in found]
    plain = sum(shape == stored for shape, stored in pairs)
    return "transposed" if sum(transposed_shape(shape) == stored for shape, stored in pairs) > plain else "plain"


def _setting(field: str, found: object, allowed: object) -> Finding:
    place = Place(file=CONFIG_NAME, field=field)
    return fault("mlc.settings", place, "the setting is not the checkpoint's", found=found, allowed=allowed)


def _some(naming: Naming) -> str:
    names = [tensor.name for tensor in naming.tensors]
    return f"{len(names)} tensors, among them {', '.join(names[1:4])}"


def _token_ids(config: ChatConfig) -> Iterator[tuple[str, int]]:
    """Every token id that the runtime would use, with its field."""
    for field in ("pad_token_id", "bos_token_id", "eos_token_id"):
        stated = getattr(config, field)
        yield from ((field, token) for token in (stated if isinstance(stated, list) else [stated]) if token is not None)
    template = config.conv_template if isinstance(config.conv_template, dict) else {}
    for name in ("stop_token_ids", "system_prefix_token_ids"):
        tokens = template.get(name)
        for number, token in enumerate(tokens if isinstance(tokens, list) else ()):
            if isinstance(token, int):
                yield f"conv_template.{name}.{number}", token
