"""Signatures: ed25519 over the digest of every file of a bundle, so that what was filed can be told from what is there.

    bundle/*  ── SHA-256 of each chunk ──> files ── digest ──> signed by a private key ──> submission.sig
    submission.sig + a public key that you know + bundle/* ──> true, or which bytes of which file are others

The signature stands in the bundle and covers everything else in it, the manifest too, and through the manifest the
weights by their digests. A key that comes with the bundle proves nothing about who signed: name one that you know.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, NonNegativeInt

from harness.document import Document, digest_of
from harness.errors import UsageError
from harness.submission.file_record import Sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pydantic import JsonValue

SIGNATURE: Final = "submission.sig"
CHUNK_BYTES: Final = 1 << 12
"""What a change is traced to."""
MAX_KEY_BYTES: Final = 1 << 14
_CONTEXT: Final = "edge-llm-harness bundle signature 1"
"""Said in what is signed, so that the signature of something else never passes for one of a bundle."""

Change = Literal["missing", "added", "changed"]


class SignedFile(Document):
    """One file, by its chunks."""

    name: str
    """Relative to the bundle, with forward slashes."""
    size_bytes: NonNegativeInt
    chunks: tuple[Sha256, ...]


class Signature(Document):
    """``submission.sig``."""

    format_version: Literal[1] = 1
    algorithm: Literal["ed25519"] = "ed25519"
    public_key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    chunk_bytes: Literal[4096] = 4096
    files: tuple[SignedFile, ...]
    """Every file of the bundle but this one, by name."""
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]

    def message(self) -> bytes:
        """What is signed."""
        return _message(self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tampering:
    """A file that is not as it was signed."""

    name: str
    change: Change
    first_byte: int | None = None
    """Where the first chunk that differs begins."""
    last_byte: int | None = None
    """The last byte of that chunk."""

    @property
    def words(self) -> str:
        """What happened to the file."""
        if self.change == "changed":
            return f"was changed after signing, first within bytes {self.first_byte} to {self.last_byte}"
        return "was added after signing" if self.change == "added" else "was signed and is missing or cannot be read"


def sign(files: Iterable[tuple[str, bytes]], key: Ed25519PrivateKey) -> Signature:
    """The signature of ``files``, names and contents, by ``key``."""
    signed = tuple(sorted((_signed(name, content) for name, content in files), key=lambda file: file.name))
    public = key.public_key().public_bytes_raw().hex()
    return Signature(public_key=public, files=signed, signature=key.sign(_message(signed)).hex())


def is_genuine(signature: Signature) -> bool:
    """Whether the key that the signature names made it, over the files that it lists."""
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signature.public_key))
        public.verify(bytes.fromhex(signature.signature), signature.message())
    except (InvalidSignature, ValueError):
        return False
    return True


def tampered(signature: Signature, names: Iterable[str], read: Callable[[str], bytes | None]) -> tuple[Tampering, ...]:
    """Which files are not as they were signed, by name.

    Args:
        signature: a genuine one.
        names: the files that are there, the signature left out.
        read: the content of one of them; None where it cannot be read.
    """
    signed, present = {file.name: file for file in signature.files}, set(names)
    found = (_compared(name, signed.get(name), present, read) for name in sorted(signed.keys() | present))
    return tuple(change for change in found if change is not None)


def sign_bundle(folder: Path, key: Ed25519PrivateKey) -> Signature:
    """Sign the bundle ``folder`` and write the signature into it.

    Raises:
        UsageError: ``folder`` is no folder of plain files.
    """
    names = bundle_files(folder)
    signature = sign(((name, (folder / name).read_bytes()) for name in names), key)
    signature.write(folder / SIGNATURE)
    return signature


def bundle_files(folder: Path) -> tuple[str, ...]:
    """Every file below ``folder`` but the signature, by name.

    Raises:
        UsageError: it is no folder, or something in it is neither a plain file nor a folder.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: expected the folder of a bundle, found none")
    return tuple(sorted(name for name in _plain(folder) if name != SIGNATURE))


def new_key(path: Path) -> Path:
    """Write a new private key to ``path``, readable by its owner alone, and its public half beside it; gives that path.

    Raises:
        UsageError: one of the files is there already; no key is ever replaced.
    """
    public = path.with_name(f"{path.name}.pub")
    standing = [file for file in (path, public) if os.path.lexists(file)]
    if standing:
        raise UsageError(f"{standing[0]}: is there already; a key is never replaced, name another file")
    key = Ed25519PrivateKey.generate()
    plain, pem = serialization.NoEncryption(), serialization.Encoding.PEM
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return public


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """The private key in the PEM file ``path``; raises ``UsageError`` where it holds none."""
    key = _loaded(path, lambda content: serialization.load_pem_private_key(content, password=None))
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path}: expected an ed25519 private key, found {type(key).__name__}")
    return key


def read_public_key(path: Path) -> str:
    """The public key in the PEM file ``path``, hexadecimal; raises ``UsageError`` where it holds none."""
    key = _loaded(path, serialization.load_pem_public_key)
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{path}: expected an ed25519 public key, found {type(key).__name__}")
    return key.public_bytes_raw().hex()


def _loaded(path: Path, load: Callable[[bytes], object]) -> object:
    try:
        with path.open("rb") as stream:
            return load(stream.read(MAX_KEY_BYTES))
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(
            f"{path}: expected a key in PEM form, unencrypted, as `harness sign --new-key` writes it; "
            f"found {type(error).__name__}"
        ) from error


def _plain(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise UsageError(f"{path}: a bundle that is signed holds plain files and folders only")
        if path.is_file():
            yield path.relative_to(folder).as_posix()


def _message(files: tuple[SignedFile, ...]) -> bytes:
    listed: list[JsonValue] = [[file.name, file.size_bytes, list(file.chunks)] for file in files]
    return digest_of([_CONTEXT, CHUNK_BYTES, listed]).encode()


def _signed(name: str, content: bytes) -> SignedFile:
    return SignedFile(name=name, size_bytes=len(content), chunks=tuple(_chunks(content)))


def _chunks(content: bytes) -> Iterator[str]:
    for start in range(0, len(content), CHUNK_BYTES):
        yield hashlib.sha256(content[start : start + CHUNK_BYTES]).hexdigest()


def _compared(
    name: str, signed: SignedFile | None, present: set[str], read: Callable[[str], bytes | None]
) -> Tampering | None:
    if signed is None:
        return Tampering(name=name, change="added")
    content = read(name) if name in present else None
    if content is None:
        return Tampering(name=name, change="missing")
    found = _signed(name, content)
    if found == signed:
        return None
    pairs = enumerate(zip_longest(signed.chunks, found.chunks))
    first = next((number for number, (old, new) in pairs if old != new), 0) * CHUNK_BYTES
    end = max(signed.size_bytes, len(content), 1)
    return Tampering(name=name, change="changed", first_byte=first, last_byte=min(first + CHUNK_BYTES, end) - 1)
