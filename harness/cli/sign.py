"""``harness sign`` and ``harness verify``: whether what is there is what was filed, and by whom."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import JsonFlag, print_json
from harness.errors import UsageError

if TYPE_CHECKING:
    from pydantic import JsonValue

    from harness.submission.signature import Signature, Tampering

BROKEN = 4
"""Exit code where the signature does not hold."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(sign)
    app.command()(verify)


def sign(
    bundle: Annotated[Path | None, typer.Argument(help="Folder of the bundle.")] = None,
    key: Annotated[Path | None, typer.Option(help="Private key, ed25519 in PEM form.")] = None,
    new_key: Annotated[
        Path | None, typer.Option(help="Write a new private key to this file, and its public half beside it.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Sign a bundle, or make a key to sign with."""
    from harness.submission import signature

    if new_key is not None and bundle is None and key is None:
        public = signature.new_key(new_key)
        said: dict[str, JsonValue] = {"private_key": str(new_key), "public_key": str(public)}
    elif bundle is not None and key is not None and new_key is None:
        made = signature.sign_bundle(bundle, signature.read_private_key(key))
        said = {"bundle": str(bundle), "signature": signature.SIGNATURE, "files": len(made.files)}
        said["public_key"] = made.public_key
    else:
        raise UsageError("sign: expected BUNDLE --key FILE, or --new-key FILE alone")
    _say(said, as_json=as_json)


def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    public_key: Annotated[Path, typer.Option(help="Public key of the signer, ed25519 in PEM form.")],
    as_json: JsonFlag = False,
) -> None:
    """Hold a bundle against its signature; exit code 4 if it was changed, or not signed by that key."""
    from harness.submission import signature

    expected, names = signature.read_public_key(public_key), signature.bundle_files(bundle)
    signed, fault = _signature(bundle, expected)
    changes = signature.tampered(signed, names, lambda name: (bundle / name).read_bytes()) if signed else ()
    faults = [fault] if fault else [_words(change) for change in changes]
    if as_json:
        print_json({"bundle": str(bundle), "genuine": not faults, "faults": list(faults)})
    else:
        typer.echo("\n".join(faults) if faults else f"{bundle}: {len(names)} files, as they were signed by that key")
    if faults:
        raise typer.Exit(BROKEN)


def _signature(bundle: Path, public_key: str) -> tuple[Signature | None, str]:
    """The bundle's signature where that key made it; else what is wrong with it."""
    from pydantic import ValidationError

    from harness.submission.signature import SIGNATURE, Signature, is_genuine

    if not (bundle / SIGNATURE).is_file():
        return None, f"{SIGNATURE}: is missing; the bundle is not signed"
    try:
        signed = Signature.read(bundle / SIGNATURE)
    except (OSError, ValidationError):
        return None, f"{SIGNATURE}: is not what `harness sign` writes"
    if signed.public_key != public_key:
        return None, f"{SIGNATURE}: was made with another key, {signed.public_key}; allowed: {public_key}"
    if not is_genuine(signed):
        return None, f"{SIGNATURE}: is false; its list of files was changed after signing"
    return signed, ""


def _words(change: Tampering) -> str:
    return f"{change.name}: {change.words}"


def _say(said: dict[str, JsonValue], *, as_json: bool) -> None:
    if as_json:
        print_json(said)
        return
    width = max(map(len, said))
    for name, value in said.items():
        typer.echo(f"{name.replace('_', ' '):<{width}}   {value}")
