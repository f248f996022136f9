"""Entries made to harm their reader, written by this script when they are needed; each with what must be said of it.

``python -m tests.hostile.corpus FOLDER`` writes them all, to be looked at or fed to another validator.
"""

from __future__ import annotations

import gzip
import json
import os
import pickle
import struct
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.hostile.packing import (
    ROW,
    info,
    tar,
    tar_of_headers,
    tar_past_the_end,
    tar_with_huge_header,
    zip_encrypted,
    zip_link,
    zip_lying,
    zip_overlapping,
    zipped,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CANARY = "CANARY"
"""A file of this name beside an entry means that code of the entry ran."""
CONFIG = '{"hidden_size": 8, "tie_word_embeddings": true}'


@dataclass(frozen=True)
class Hostile:
    """One entry: how it is written into a folder, and a rule that must speak of it."""

    write: Callable[[Path], Path | None]
    """Returns what to validate; the folder itself where it returns None."""
    rule: str


class Bait:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return os.system, (f"touch {CANARY}",)


def safetensors(header: bytes | dict, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(start: int, stop: int, shape: list[int] | None = None, dtype: str = "F16") -> dict:
    return {"dtype": dtype, "shape": [4] if shape is None else shape, "data_offsets": [start, stop]}


GOOD_SHARD = safetensors({"a": tensor(0, 8)}, bytes(8))


def files(contents: dict[str, bytes | str], rule: str) -> Hostile:
    def write(folder: Path) -> None:
        for name, content in contents.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content if isinstance(content, bytes) else content.encode())

    return Hostile(write, rule)


def model(contents: dict[str, bytes | str], rule: str) -> Hostile:
    """A Hugging Face folder with one file replaced or added."""
    return files({"config.json": CONFIG, "model.safetensors": GOOD_SHARD} | contents, rule)


def packed(name: str, content: bytes, rule: str) -> Hostile:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return Hostile(write, rule)


def link(name: str, target: str, **contents: bytes | str) -> Hostile:
    def write(folder: Path) -> None:
        files({"config.json": CONFIG, **contents}, "").write(folder)
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return Hostile(write, "hostile.link")


def pipe(name: str) -> Hostile:
    def write(folder: Path) -> None:
        files({"config.json": CONFIG, "model.safetensors": GOOD_SHARD}, "").write(folder)
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return Hostile(write, "hostile.link")


def many_files(folder: Path) -> None:
    for number in range(5_200):
        (folder / f"x{number}.csv").touch()
    (folder / "Results.csv").write_text(ROW)


def raw_name(folder: Path) -> None:
    (folder / "Results.csv").write_text(ROW)
    with open(os.fsencode(folder) + b"/\xff\x1b[2J.csv", "wb"):  # noqa: PTH123 - a name that Path cannot spell
        pass


DEEP = b"[" * 200_000 + b"]" * 200_000
BAIT_PICKLE = pickle.dumps(Bait(), protocol=4)
OLD_BAIT = b"cposix\nsystem\n(S'touch " + CANARY.encode() + b"'\ntR."
CODE = f"import pathlib\npathlib.Path({CANARY!r}).touch()\n"

CORPUS: dict[str, Hostile] = {
    "pickle-weights": model({"pytorch_model.bin": BAIT_PICKLE}, "hostile.pickle"),
    "pickle-protocol-0": model({"training_args.bin": OLD_BAIT}, "hostile.pickle"),
    "pickle-in-zip": model({"model.pt": zipped(("archive/data.pkl", BAIT_PICKLE))}, "hostile.pickle"),
    "pickle-cut-off": model({"a.pth": BAIT_PICKLE[:-3]}, "hostile.pickle"),
    "pickle-broken-after-call": model({"a.ckpt": BAIT_PICKLE[:-1] + b"\xff" * 9}, "hostile.pickle"),
    "pickle-huge-length": model({"a.pkl": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f"}, "hostile.pickle"),
    "pickle-of-nothing": model({"a.pickle": b"N" * 5_000_000}, "hostile.pickle"),
    "pickle-in-array": model({"a.npy": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'shape': (1,)}\n"}, "hostile.pickle"),
    "pickle-zip-damaged": model({"a.bin": b"PK\x03\x04" + bytes(100)}, "hostile.pickle"),
    "remote-code": model({"modeling.py": CODE, "sitecustomize.py": CODE, "conftest.py": CODE}, "hostile.remote_code"),
    "remote-code-auto-map": model(
        {"config.json": '{"auto_map": {"AutoConfig": "modeling.Config"}}', "modeling.py": CODE}, "hostile.remote_code"
    ),
    "remote-code-shared-object": model({"kernel.so": b"\x7fELF"}, "hostile.remote_code"),
    "header-of-two-to-the-40": model({"model.safetensors": safetensors({}, length=1 << 40)}, "weights.corrupt"),
    "header-of-spaces": model({"model.safetensors": safetensors(b" " * (20 << 20))}, "weights.corrupt"),
    "header-deep": model({"model.safetensors": safetensors(DEEP)}, "weights.corrupt"),
    "header-overlapping": model(
        {"model.safetensors": safetensors({"a": tensor(0, 8), "b": tensor(4, 12)}, bytes(12))}, "weights.corrupt"
    ),
    "header-shape-overflow": model(
        {"model.safetensors": safetensors({"a": tensor(0, 8, [1 << 62, 1 << 62])}, bytes(8))}, "weights.corrupt"
    ),
    "header-past-the-end": model(
        {"model.safetensors": safetensors({"a": tensor(0, 800)}, bytes(8))}, "weights.corrupt"
    ),
    "header-key-twice": model({"model.safetensors": safetensors(b'{"a": 1, "a": 2}')}, "weights.corrupt"),
    "index-leads-out": model(
        {"model.safetensors.index.json": '{"weight_map": {"a": "../../../etc/passwd.safetensors"}}'}, "weights.corrupt"
    ),
    "config-deep": model({"config.json": DEEP}, "hostile.json"),
    "config-nan": model({"config.json": '{"rope_theta": NaN}'}, "hostile.json"),
    "config-beyond-floats": model({"config.json": '{"rope_theta": 1e999}'}, "hostile.json"),
    "config-many-digits": model({"config.json": '{"hidden_size": ' + "9" * 4000 + "}"}, "hostile.json"),
    "config-key-twice": model({"config.json": '{"a": 1, "a": 2}'}, "hostile.json"),
    "config-not-utf8": model({"config.json": b'{"a": "\xff"}'}, "hostile.json"),
    "config-half-a-character": model({"config.json": r'{"a": "\ud800"}'}, "hostile.json"),
    "config-enormous": model({"config.json": b'{"a": "' + b"x" * (30 << 20) + b'"}'}, "hostile.json"),
    "config-many-values": model({"config.json": b"[" + b"[]," * 1_300_000 + b"1]"}, "hostile.json"),
    "link-out": link("model.safetensors", "/etc/passwd"),
    "link-loop": link("loop", "."),
    "link-to-zeros": link("config.json", "/dev/zero", **{"model.safetensors": GOOD_SHARD}),
    "pipe-as-config": pipe("config.json"),
    "pipe-as-index": pipe("model.safetensors.index.json"),
    "pipe-as-pickle": pipe("pytorch_model.bin"),
    "name-with-control": files({"Results.csv": ROW, "a\x1b[2J.csv": ""}, "hostile.name"),
    "name-turned-round": files({"Results.csv": ROW, "photo\u202egpj.py": CODE}, "hostile.name"),
    "name-of-raw-bytes": Hostile(raw_name, "hostile.name"),
    "files-without-end": Hostile(many_files, "hostile.too_large"),
    "folders-without-end": files({"Results.csv": ROW, "/".join("abcdefghijkl") + "/x": ""}, "hostile.too_large"),
    "results-of-zero-bytes": files({"Results.csv": bytes(1000)}, "foreign.results_missing"),
    "results-one-endless-line": files({"Results.csv": "1," * 500_000}, "foreign.unreadable"),
    "results-open-quote": files({"Results.csv": ROW + '"' + "x\n" * 100_000}, "foreign.unreadable"),
    "results-enormous": files({"Results.csv": b"0," * (16 << 20)}, "foreign.unreadable"),
    "results-formula": files({"Results.csv": ROW.replace("21.38", "=cmd|' /C calc'!A0")}, "foreign.cell"),
    "mlc-leads-out": files(
        {
            "mlc-chat-config.json": "{}",
            "tensor-cache.json": json.dumps(
                {"records": [{"dataPath": "../../../etc/passwd", "nbytes": 1, "records": []}]}
            ),
        },
        "mlc.files",
    ),
    "mlc-shape-overflow": files(
        {
            "mlc-chat-config.json": "{}",
            "ndarray-cache.json": '{"records": [{"dataPath": "a", "nbytes": 1, "records": [{"name": "a", "shape": '
            + str([2**61] * 16)
            + ', "dtype": "float16", "nbytes": 1, "byteOffset": 0}]}]}',
            "a": "x",
        },
        "mlc.records",
    ),
    "zip-slip": packed("e.zip", zipped(("../../escaped", b"x"), ("Results.csv", ROW.encode())), "archive.member_name"),
    "zip-absolute": packed("e.zip", zipped(("/tmp/escaped", b"x")), "archive.member_name"),  # noqa: S108 - must fail
    "zip-backslash": packed("e.zip", zipped(("..\\..\\escaped", b"x")), "archive.member_name"),
    "zip-drive": packed("e.zip", zipped(("C:/escaped", b"x")), "archive.member_name"),
    "zip-link": packed("e.zip", zip_link(), "archive.member_kind"),
    "zip-bomb": packed("e.zip", zipped(("zeros", bytes(70 << 20))), "archive.bounds"),
    "zip-of-many": packed("e.zip", zipped(*((str(n), b"") for n in range(5_100))), "archive.bounds"),
    "zip-overlapping": packed("e.zip", zip_overlapping(), "archive.unreadable"),
    "zip-lying-about-size": packed("e.zip", zip_lying(), "archive.unreadable"),
    "zip-encrypted": packed("e.zip", zip_encrypted(), "archive.encrypted"),
    "zip-twins": packed("e.zip", zipped(("Results.csv", ROW.encode()), ("RESULTS.csv", b"x")), "archive.duplicate"),
    "zip-cut-off": packed("e.zip", zipped(("Results.csv", ROW.encode()))[:-30], "archive.unreadable"),
    "zip-in-zip": packed(
        "e.zip", zipped(("Results.csv", ROW.encode()), ("in.zip", zipped(("a", b"")))), "archive.nested"
    ),
    "zip-of-pickles": packed(
        "e.zip", zipped(("config.json", CONFIG.encode()), ("pytorch_model.bin", BAIT_PICKLE)), "hostile.pickle"
    ),
    "tar-slip": packed("e.tar", tar(info("../escaped"), (info("Results.csv"), ROW.encode())), "archive.member_name"),
    "tar-too-deep": packed("e.tar", tar((info("a/" * 40 + "b"), b"x")), "archive.member_name"),
    "tar-link": packed("e.tar", tar(info("out", tarfile.SYMTYPE, "/etc"), info("out/passwd")), "archive.member_kind"),
    "tar-hard-link": packed("e.tar", tar(info("out", tarfile.LNKTYPE, "/etc/passwd")), "archive.member_kind"),
    "tar-device": packed("e.tar", tar(info("zero", tarfile.CHRTYPE)), "archive.member_kind"),
    "tar-pipe": packed("e.tar", tar(info("pipe", tarfile.FIFOTYPE)), "archive.member_kind"),
    "tar-bomb": packed("e.tar.gz", gzip.compress(tar((info("zeros"), bytes(80 << 20)))), "archive.bounds"),
    "tar-huge-header": packed("e.tgz", tar_with_huge_header(), "archive.unreadable"),
    "tar-of-headers": packed("e.tar", tar_of_headers(), "archive.unreadable"),
    "tar-past-the-end": packed("e.tar", tar_past_the_end(), "archive.unreadable"),
    "tar-cut-off": packed("e.tar.gz", gzip.compress(tar((info("a"), b"x" * 999)))[:-9], "archive.unreadable"),
    "archive-of-another-kind": packed("e.7z", b"7z\xbc\xaf\x27\x1c" + bytes(99), "archive.unreadable"),
}


def write_all(folder: Path) -> None:
    """Write every entry of the corpus under ``folder``."""
    for name, hostile in CORPUS.items():
        (folder / name).mkdir(parents=True)
        hostile.write(folder / name)


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
