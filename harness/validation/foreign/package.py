"""An MLC package, held against its own index: files, digests, offsets, dtypes and token ids; no tensor is read.

    mlc-chat-config.json   model_type, quantization, vocab_size, tokenizer_files, ...
    tensor-cache.json      {"metadata": {"ParamSize", "ParamBytes"}, "records": [shard, ...]}
      shard                dataPath, nbytes, md5sum, records: [{name, shape, dtype, nbytes, byteOffset}, ...]
    params_shard_0.bin     raw tensors, one after the other

Facts of the format: a package that mlc_llm wrote; ``ndarray-cache.json`` is the index's older name.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from harness.deployment.mlc.index import PackageIndex
from harness.deployment.mlc.values import WIDTH_BYTES
from harness.rules.finding import Finding, Place
from harness.validation import strict_json
from harness.validation.catalogue import finding, show
from harness.validation.foreign.kind import PACKAGE_CONFIG, PACKAGE_INDEXES
from harness.validation.listing import Unreadable, read_plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.deployment.mlc.index import ShardRecord, TensorRecord
    from harness.validation.listing import Listing

MAX_JSON_BYTES: Final = 4 << 20
CHUNK_BYTES: Final = 1 << 20
DTYPES: Final = ("float16", "float32")
"""What is no quantisation."""
QUANTIZATIONS: Final = ("q0f16", "q0f32")
_TOKEN_FIELDS: Final = ("pad_token_id", "bos_token_id", "eos_token_id")

Count = Annotated[int, Field(ge=0, lt=1 << 62)]
ModelT = TypeVar("ModelT", bound=BaseModel)


class _Open(BaseModel):
    """A stranger's object: what is asked for must be there, what else stands in it is not looked at."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class PackageConfig(_Open):
    """What is asked of ``mlc-chat-config.json``."""

    model_type: str
    quantization: str
    vocab_size: Count
    context_window_size: int
    tokenizer_files: tuple[str, ...] = ()
    pad_token_id: int | list[int] | None = None
    bos_token_id: int | list[int] | None = None
    eos_token_id: int | list[int] | None = None
    conv_template: JsonValue = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An MLC package: where it stands and what could be read of it."""

    folder: str
    """Relative to the entry; empty for the entry itself."""
    config: PackageConfig | None
    index: PackageIndex | None
    index_name: str
    findings: tuple[Finding, ...]


def read_package(listing: Listing, folder: str) -> Package:
    """The package in ``folder`` of the entry, with everything that is wrong with it."""
    return _Reader(listing, folder).package()


class _Reader:
    """Reads one package and gathers what is wrong with it."""

    def __init__(self, listing: Listing, folder: str) -> None:
        self._listing = listing
        self._prefix = f"{folder}/" if folder else ""
        self._folder = folder
        self._faults: list[Finding] = []

    def package(self) -> Package:
        names = [name for name in PACKAGE_INDEXES if self._prefix + name in self._listing.files]
        index_name = names[0] if names else PACKAGE_INDEXES[0]
        config = self._document(PACKAGE_CONFIG, PackageConfig)
        index = self._document(index_name, PackageIndex)
        if config is not None:
            self._check_config(config)
        if index is not None:
            self._check_index(index, index_name)
        return Package(
            folder=self._folder, config=config, index=index, index_name=index_name, findings=tuple(self._faults)
        )

    def _say(self, rule: str, place: Place, message: str, found: object, allowed: str) -> None:
        self._faults.append(finding(rule, place, message, found=found, allowed=allowed))

    def _place(self, name: str, field: str | None = None) -> Place:
        return Place(file=self._prefix + name, field=field)

    def _document(self, name: str, model: type[ModelT]) -> ModelT | None:
        if self._prefix + name not in self._listing.files:
            self._say(
                "mlc.files", self._place(name), "a file of the package is missing", "no such file", "a plain file"
            )
            return None
        try:
            content = read_plain(self._listing.root / (self._prefix + name), max_bytes=MAX_JSON_BYTES)
            return model.model_validate(strict_json.parse(content))
        except (Unreadable, strict_json.NotJson) as error:
            self._say("mlc.form", self._place(name), f"the file {error}", str(error), "JSON in UTF-8")
        except ValidationError as error:
            for fault in error.errors(include_url=False, include_context=False)[:20]:
                field = ".".join(str(part) for part in fault["loc"])
                self._say("mlc.form", self._place(name, field), fault["msg"].lower(), show(fault["input"]), "a package")
        return None

    def _check_config(self, config: PackageConfig) -> None:
        if config.quantization not in QUANTIZATIONS:
            place = self._place(PACKAGE_CONFIG, "quantization")
            message = "the package is quantised"
            self._say("mlc.precision", place, message, config.quantization, ", ".join(QUANTIZATIONS))
        for field, token in _tokens(config):
            if not 0 <= token < config.vocab_size:
                message = "the token is not in the vocabulary"
                allowed = f"0 to {config.vocab_size - 1}"
                self._say("mlc.tokens", self._place(PACKAGE_CONFIG, field), message, token, allowed)
        for number, name in enumerate(config.tokenizer_files):
            if self._prefix + name not in self._listing.files:
                place = self._place(PACKAGE_CONFIG, f"tokenizer_files.{number}")
                self._say("mlc.files", place, "a file of the package is missing", name, "files of the package")

    def _check_index(self, index: PackageIndex, index_name: str) -> None:
        seen: dict[str, str] = {}
        for number, shard in enumerate(index.records):
            self._check_shard_file(shard, self._place(index_name, f"records.{number}"))
            self._check_tensors(shard, index_name, number)
            for inner, tensor in enumerate(shard.records):
                if tensor.name in seen:
                    place = self._tensor_place(index_name, f"records.{number}.records.{inner}", tensor)
                    message = "the tensor stands in the index twice"
                    self._say("mlc.records", place, message, f"{seen[tensor.name]} and {shard.data_path}", "once")
                seen[tensor.name] = shard.data_path
        self._check_total(index, index_name)

    def _check_shard_file(self, shard: ShardRecord, place: Place) -> None:
        name = self._prefix + shard.data_path
        size_bytes = self._listing.files.get(name) if "/" not in shard.data_path else None
        if size_bytes is None:
            at = place.model_copy(update={"field": f"{place.field}.dataPath"})
            self._say(
                "mlc.files", at, "the shard is no file of the package", shard.data_path, "plain files beside the index"
            )
        elif size_bytes != shard.nbytes:
            at = Place(file=name)
            self._say("mlc.files", at, "the shard has another size", f"{size_bytes} bytes", f"{shard.nbytes} bytes")
        elif shard.md5sum is not None and (digest := self._md5(name)) != shard.md5sum:
            self._say(
                "mlc.files", Place(file=name), "the shard has other bytes", f"MD5 {digest}", f"MD5 {shard.md5sum}"
            )

    def _md5(self, name: str) -> str:
        """MD5 is what the format has; it guards against accidents, never against people."""
        digest = hashlib.md5(usedforsecurity=False)
        with (self._listing.root / name).open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()

    def _check_tensors(self, shard: ShardRecord, index_name: str, number: int) -> None:
        """The tensors lie one after the other, from the shard's first byte to its last, each as large as its shape."""
        end = 0
        for inner, tensor in sorted(enumerate(shard.records), key=lambda pair: pair[1].byte_offset):
            field = f"records.{number}.records.{inner}"
            for rule, name, message, found, allowed in _tensor_faults(tensor, end):
                self._say(rule, self._tensor_place(index_name, f"{field}.{name}", tensor), message, found, allowed)
            end = tensor.byte_offset + tensor.nbytes
        if end != shard.nbytes:
            place = self._place(index_name, f"records.{number}.nbytes")
            self._say(
                "mlc.records", place, "the tensors do not fill the shard", f"{end} bytes", f"{shard.nbytes} bytes"
            )

    def _check_total(self, index: PackageIndex, index_name: str) -> None:
        stated = index.metadata.get("ParamBytes")
        tensors = [tensor for shard in index.records for tensor in shard.records]
        # mlc_llm counts a float32 with four bytes, also where it stores two.
        total = sum(tensor.nbytes * (2 if tensor.stored == "BF16" else 1) for tensor in tensors)
        if stated is not None and stated != total:
            place = self._place(index_name, "metadata.ParamBytes")
            self._say("mlc.records", place, "the total is not that of the tensors", show(stated), f"{total}")

    def _tensor_place(self, index_name: str, field: str, tensor: TensorRecord) -> Place:
        return Place(file=self._prefix + index_name, field=field, tensor=tensor.name, byte_offset=tensor.byte_offset)


def _tensor_faults(tensor: TensorRecord, end: int) -> Iterator[tuple[str, str, str, str, str]]:
    """Rule, field, message, found and allowed of what is wrong with one tensor that should begin at ``end``."""
    stored = tensor.stored
    width = WIDTH_BYTES[stored] if stored else 0
    if stored is None:
        yield "mlc.precision", "dtype", f"the tensor is stored as {tensor.dtype}", tensor.dtype, ", ".join(DTYPES)
    elif math.prod(tensor.shape) * width != tensor.nbytes:
        allowed = f"{math.prod(tensor.shape) * width} bytes"
        yield "mlc.records", "nbytes", "the tensor is not as large as its shape", f"{tensor.nbytes} bytes", allowed
    if tensor.byte_offset != end:
        message = "the tensor overlaps the one before or leaves a gap"
        yield "mlc.records", "byteOffset", message, f"byte {tensor.byte_offset}", f"byte {end}"


def _tokens(config: PackageConfig) -> Iterator[tuple[str, int]]:
    """Every token id that the runtime would use, with its field."""
    for field in _TOKEN_FIELDS:
        stated = getattr(config, field)
        many = stated if isinstance(stated, list) else [] if stated is None else [stated]
        yield from ((field, token) for token in many)
    template = config.conv_template if isinstance(config.conv_template, dict) else {}
    for name in ("stop_token_ids", "system_prefix_token_ids"):
        tokens = template.get(name)
        for number, token in enumerate(tokens if isinstance(tokens, list) else ()):
            if isinstance(token, int):
                yield f"conv_template.{name}.{number}", token
