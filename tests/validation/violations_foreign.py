"""How to break the rules about entries made elsewhere: each violation puts another entry in the bundle's place."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save

from harness.rules.finding import Place
from tests.validation.violations import RECORD, SCORES, Violation, sets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.validation.make import Made

HEADING = "CommonsenseQA,BIG-Bench-Hard,GSM8K,HumanEval,CHID,TruthfulQA,Throughput,Memory-Usage"
VALUES = "26.54,28.12,21.38,12.80,11.59,0.17,23.1 inf/s,8573.24 MiB"
"""324 of 1221, 282 of 1319, 21 of 164, 232 of 2002."""
CLEAN = f"{HEADING}\n{VALUES}\n"
ALWAYS = frozenset({"edition.assumed"})

CONFIG = {"hidden_size": 8, "tie_word_embeddings": True}
TENSORS = save({"model.embed_tokens.weight": np.arange(32, dtype=np.float16).reshape(4, 8)})
MODEL = {"config.json": json.dumps(CONFIG), "model.safetensors": TENSORS}

SHARD = np.arange(12, dtype="<f2").tobytes()


def package_files(
    config: dict[str, object] | None = None, edit: Callable[[dict], object] | None = None
) -> dict[str, bytes | str]:
    """A small true MLC package, with settings changed by ``config`` and an index changed by ``edit``."""
    settings = {
        "model_type": "llama",
        "quantization": "q0f16",
        "vocab_size": 4,
        "context_window_size": 128,
        "tokenizer_files": ["tokenizer.json"],
        "bos_token_id": 1,
        "eos_token_id": [2, 3],
        "conv_template": {"stop_token_ids": [2]},
    }
    tensors = [
        {"name": "embed", "shape": [4, 2], "dtype": "float16", "nbytes": 16, "byteOffset": 0},
        {"name": "norm", "shape": [4], "dtype": "float16", "nbytes": 8, "byteOffset": 16},
    ]
    digest = hashlib.md5(SHARD, usedforsecurity=False).hexdigest()
    shard = {"dataPath": "params_shard_0.bin", "nbytes": len(SHARD), "md5sum": digest, "records": tensors}
    index = {"metadata": {"ParamSize": 2, "ParamBytes": 24.0}, "records": [shard]}
    if edit is not None:
        edit(index)
    return {
        "mlc-chat-config.json": json.dumps(settings | (config or {})),
        "tensor-cache.json": json.dumps(index),
        "params_shard_0.bin": SHARD,
        "tokenizer.json": "{}",
    }


def write(folder: Path, files: dict[str, bytes | str]) -> None:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())


def elsewhere(made: Made, files: dict[str, bytes | str]) -> Path:
    """Another entry in place of the bundle."""
    folder = made.path.parent / "theirs"
    folder.mkdir()
    write(folder, files)
    object.__setattr__(made, "path", folder)
    return folder


def theirs(files: dict[str, bytes | str], *places: Place, also: set[str] | None = None) -> Violation:
    return Violation(lambda made: elsewhere(made, files), places, ALWAYS | (also or set()))


def results(text: bytes | str, *places: Place, name: str = "Results.csv", also: set[str] | None = None) -> Violation:
    return theirs({name: text}, *places, also=also)


def one_file(name: str, content: bytes, *places: Place, also: set[str] | None = None) -> Violation:
    def breaks(made: Made) -> None:
        object.__setattr__(made, "path", elsewhere(made, {name: content}) / name)

    return Violation(breaks, places, ALWAYS | (also or set()))


def at(field: str | None, file: str = "Results.csv", byte_offset: int | None = None) -> Place:
    return Place(file=file, field=field, byte_offset=byte_offset)


def row(**cells: str) -> str:
    """The clean table with other cells, by the heading's letters."""
    headings = HEADING.split(",")
    values = dict(zip(headings, VALUES.split(","), strict=True))
    values |= {next(name for name in headings if name.replace("-", "") == key): cell for key, cell in cells.items()}
    return f"{HEADING}\n{','.join(values.values())}\n"


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def tar_file(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = "/etc/passwd" if kind in {tarfile.SYMTYPE, tarfile.LNKTYPE} else ""
    return info, content


def zipped(files: dict[str, bytes | str], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=compression)
    return stream.getvalue()


def encrypted(content: bytes) -> bytes:
    """A zip whose first member says that it is encrypted, in both of its headers."""
    marked = bytearray(content)
    central = content.index(b"PK\x01\x02")
    marked[6] |= 1
    marked[central + 8] |= 1
    return bytes(marked)


def clean_tar() -> tuple[tarfile.TarInfo, bytes]:
    return tar_file("Results.csv", CLEAN.encode())


def link_into(made: Made) -> None:
    (elsewhere(made, {"Results.csv": CLEAN}) / "weights").symlink_to("/etc")


def many_folders(made: Made) -> None:
    elsewhere(made, {"Results.csv": CLEAN}).joinpath(*"abcdefgh").mkdir(parents=True)


def duplicate_key(name: str) -> str:
    return json.dumps(CONFIG)[:-1] + f', "{name}": 9}}'


def move_tensor(index: dict) -> None:
    index["records"][0]["records"][1]["byteOffset"] = 14


def grow_tensor(index: dict) -> None:
    index["records"][0]["records"][1]["shape"] = [5]


PERMUTED = "\n".join(
    (
        "Model,CommonsenseQA,BIG-Bench-Hard,GSM8K,HumanEval,CHID,TruthfulQA,Throughput,Memory-Usage",
        *(
            f"{name},{100 * a / 1221:.2f},{bbh},{100 * d / 164:.2f},{100 * c / 1319:.2f},{100 * e / 2002:.2f},"
            "0.21,9 inf/s,900 MiB"
            for name, a, bbh, c, d, e in (("one", 700, 61.2, 833, 65, 1301), ("two", 811, 44.5, 512, 27, 655))
        ),
    )
)
HOSTILE_PICKLE = b"cos\nsystem\n(S'true'\ntR."

FOREIGN_VIOLATIONS: dict[str, tuple[Violation, ...]] = {
    "foreign.kind": (one_file("screenshot.png", b"\x89PNG", at(None, "screenshot.png")),),
    "foreign.file_name": (
        results(CLEAN, at(None, "results.cvs"), name="results.cvs"),
        one_file("Summary.csv", CLEAN.encode(), at(None, "Summary.csv")),
    ),
    "foreign.table_form": (
        results(CLEAN.replace(",", "\t"), at("header")),
        results(CLEAN.replace(",", ";"), at("header")),
        results(
            "GSM8K,CommonsenseQA,BIG-Bench-Hard,HumanEval,CHID,TruthfulQA,Throughput,Memory-Usage\n"
            "21.38,26.54,28.12,12.80,11.59,0.17,23.1 inf/s,8573.24 MiB\n",
            at("header"),
        ),
    ),
    "foreign.column_name": (
        results(CLEAN.replace("BIG-Bench-Hard", "BIG-Bench Hard"), at("line 1, column 2")),
        results(CLEAN.replace("Memory-Usage", "GPU Memory Usage"), at("line 1, column 8")),
        results(CLEAN.replace("CHID", "chid"), at("line 1, column 5")),
    ),
    "foreign.column_extra": (
        results(f"{HEADING},LongBench\n{VALUES},31.2\n", at("line 1, column 9")),
        results(f"{HEADING},Secret\n{VALUES},words\n", at("line 1, column 9")),
    ),
    "foreign.column_missing": (
        results(
            "\n".join(line.split(",", 1)[1] for line in CLEAN.split()[:1]) + "\n" + VALUES.split(",", 1)[1],
            at("header"),
        ),
    ),
    "foreign.column_ambiguous": (results(f"{HEADING},BBH\n{VALUES},99\n", at("line 1, column 9")),),
    "foreign.row": (
        results(f"{CLEAN}1,2,3\n", at("line 3")),
        results(f"{HEADING}\n{VALUES},7\n", at("line 2")),
    ),
    "foreign.rows": (
        results(f"{CLEAN}{VALUES}\n", at("line 3")),
        results(f"Model,{HEADING}\nphi,{VALUES}\nqwen,{VALUES}\n", at("line 3")),
    ),
    "foreign.cell": (
        results(row(GSM8K="~21"), at("line 2, column 3")),
        results(row(GSM8K="-"), at("line 2, column 3")),
        results(row(GSM8K="NaN"), at("line 2, column 3")),
        results(row(MemoryUsage="8 parsecs"), at("line 2, column 8")),
        results(row(Throughput="71.61 GB"), at("line 2, column 7")),
        results(row(GSM8K="9" * 400), at("line 2, column 3")),
    ),
    "foreign.unit": (
        results(row(MemoryUsage="8573.24"), at("line 2, column 8")),
        results(row(Throughput="23.1"), at("line 2, column 7")),
        results(row(Throughput="71.61 inf/s 0.014 s"), at("line 2, column 7")),
        results(row(MemoryUsage="8.755 GB"), at("line 2, column 8")),
        results(row(TruthfulQA="17.0"), at("line 2, column 6")),
    ),
    "foreign.unreadable": (
        results(b"\xff\xfe" + CLEAN.encode("utf-16-le"), at(None, byte_offset=0)),
        results(f"{HEADING}\n" + "1" * 20_000 + "\n", at(None)),
        results(b"a" * (1 << 21), at(None)),
    ),
    "foreign.results_missing": (
        results("", at(None)),
        results(f"{HEADING}\n", at(None)),
        theirs({"theirs/llama/config.json": "{}"}, Place(file=".")),
    ),
    "foreign.results_many": (theirs({"Results.csv": CLEAN, "old/Results.csv": CLEAN}, Place(file=".")),),
    "scores.granularity": (
        sets(RECORD, f"{SCORES}.0.score", 26.1, "scores.mean"),
        results(row(HumanEval="12.50"), at("line 2, column 4")),
        results(row(CHID="11.610"), at("line 2, column 5")),
    ),
    "scores.permuted": (results(PERMUTED, at("column 4"), also={"foreign.rows"}),),
    "scores.swapped": (
        results(row(Throughput="3100", MemoryUsage="41"), at("line 2, column 7"), also={"foreign.unit"}),
    ),
    "scores.template": (results(f"{HEADING}\n0,0,0,0,0,0,0,0\n", at("line 2")),),
    "scores.units": (
        results(row(Throughput="1.8", MemoryUsage="1.9"), at("line 2, column 8"), also={"foreign.unit"}),
        results(row(Throughput="0 inf/s"), at("line 2, column 7")),
        results(
            row(CommonsenseQA="0.26", BIGBenchHard="0.28", GSM8K="0.21", HumanEval="0.13", CHID="0.12"), at("line 2")
        ),
    ),
    "scores.average": (
        results(f"{HEADING},Average\n{VALUES},24.0\n", at("line 2, column 9")),
        results(
            f"Model,{HEADING}\nphi,{VALUES}\nmean,{row(BIGBenchHard='40').split()[1]} inf/s,8573.24 MiB\n",
            at("line 3, column 3"),
        ),
    ),
    "mlc.form": (
        theirs(package_files() | {"mlc-chat-config.json": "{"}, at(None, "mlc-chat-config.json")),
        theirs(package_files(edit=lambda index: index.pop("records")), at("records", "tensor-cache.json")),
    ),
    "mlc.files": (
        theirs(package_files() | {"params_shard_0.bin": SHARD[::-1]}, at(None, "params_shard_0.bin")),
        theirs(package_files() | {"params_shard_0.bin": SHARD[:-2]}, at(None, "params_shard_0.bin")),
        theirs(
            package_files(edit=lambda index: index["records"][0].update(dataPath="../../etc/passwd")),
            at("records.0.dataPath", "tensor-cache.json"),
        ),
        theirs(
            package_files({"tokenizer_files": ["tokenizer.model"]}), at("tokenizer_files.0", "mlc-chat-config.json")
        ),
    ),
    "mlc.records": (
        theirs(
            package_files(edit=move_tensor),
            Place(file="tensor-cache.json", field="records.0.nbytes"),
            Place(file="tensor-cache.json", field="records.0.records.1.byteOffset", tensor="norm", byte_offset=14),
        ),
        theirs(
            package_files(edit=grow_tensor),
            Place(file="tensor-cache.json", field="records.0.records.1.nbytes", tensor="norm", byte_offset=16),
        ),
        theirs(
            package_files(edit=lambda index: index["metadata"].update(ParamBytes=1.0)),
            at("metadata.ParamBytes", "tensor-cache.json"),
        ),
    ),
    "mlc.precision": (theirs(package_files({"quantization": "q4f16_1"}), at("quantization", "mlc-chat-config.json")),),
    "mlc.tokens": (
        theirs(package_files({"eos_token_id": 4}), at("eos_token_id", "mlc-chat-config.json")),
        theirs(
            package_files({"conv_template": {"stop_token_ids": [128001]}}),
            at("conv_template.stop_token_ids.0", "mlc-chat-config.json"),
        ),
    ),
    "archive.member_name": (
        one_file("theirs.tar", tar(clean_tar(), tar_file("../../escaped")), at("../../escaped", "theirs.tar", 1024)),
        one_file("theirs.zip", zipped({"/absolute": "x", "Results.csv": CLEAN}), at("/absolute", "theirs.zip", 0)),
    ),
    "archive.member_kind": (
        one_file("theirs.tar", tar(tar_file("w", kind=tarfile.SYMTYPE), clean_tar()), at("w", "theirs.tar", 0)),
        one_file("theirs.tar", tar(tar_file("d", kind=tarfile.CHRTYPE), clean_tar()), at("d", "theirs.tar", 0)),
    ),
    "archive.bounds": (one_file("theirs.zip", zipped({"zeros": bytes(65 << 20)}), at(None, "theirs.zip")),),
    "archive.duplicate": (
        one_file("theirs.tar", tar(clean_tar(), tar_file("results.CSV")), at("results.CSV", "theirs.tar", 1024)),
        one_file("theirs.tar", tar(clean_tar(), tar_file("Results.csv/a")), at("Results.csv/a", "theirs.tar", 1024)),
    ),
    "archive.encrypted": (
        one_file("theirs.zip", encrypted(zipped({"a": "x", "Results.csv": CLEAN})), at("a", "theirs.zip", 0)),
    ),
    "archive.unreadable": (
        one_file("theirs.tar", tar(clean_tar())[:600], at(None, "theirs.tar", 512)),
        one_file("theirs.zip", b"PK\x03\x04 and nothing more", at(None, "theirs.zip")),
        one_file("theirs.zip", b"BZh9", at(None, "theirs.zip")),
    ),
    "archive.nested": (
        theirs({"Results.csv": CLEAN, "more.zip": b"PK"}, at(None, "more.zip")),
        one_file("theirs.tar", tar(clean_tar(), tar_file("a.tgz")), at("a.tgz", "theirs.tar", 1024)),
    ),
    "hostile.pickle": (
        theirs(MODEL | {"pytorch_model.bin": HOSTILE_PICKLE}, at(None, "pytorch_model.bin", 0)),
        theirs(
            MODEL | {"training_args.bin": zipped({"a/data.pkl": HOSTILE_PICKLE})},
            at("a/data.pkl", "training_args.bin", 0),
        ),
    ),
    "hostile.remote_code": (
        theirs(MODEL | {"modeling.py": "raise SystemExit"}, at(None, "modeling.py")),
        theirs(
            MODEL | {"config.json": json.dumps(CONFIG | {"auto_map": {"AutoModel": "modeling.Model"}})},
            at("auto_map", "config.json"),
        ),
    ),
    "hostile.json": (
        theirs(MODEL | {"config.json": duplicate_key("hidden_size")}, at("hidden_size", "config.json")),
        theirs(MODEL | {"generation_config.json": '{"temperature": 1e999}'}, at(None, "generation_config.json")),
    ),
    "hostile.link": (Violation(link_into, (Place(file="weights"),), ALWAYS),),
    "hostile.name": (theirs({"Results.csv": CLEAN, "photo\u202egpj.csv": ""}, Place(file="photo\\u202egpj.csv")),),
    "hostile.too_large": (Violation(many_folders, (Place(file="."),), ALWAYS),),
}
