"""What ``harness deploy`` answers: files, checks, what the real mlc_llm said, what is needed next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import typer

from harness.cli.console import print_json, print_table
from harness.rules.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.cli.model_argument import Found
    from harness.deployment.deliverables import DeliverablesRecord
    from harness.deployment.mlc.driver import MlcRun
    from harness.deployment.packaging import Packaged, Target

NEXT: Final[dict[Target, tuple[str, ...]]] = {
    "executorch": (
        "on this machine  harness measure {out}",
        "on a phone       an app with ExecuTorch's Android library loads the program and its data file",
    ),
    "mlc": (
        "compile          {tool} compile {out}/mlc-chat-config.json --device android -o model-android.tar",
        "or at once       harness deploy … --mlc-python PATH, the Python of mlc_llm's environment",
        "on a phone       the app with that library, then  sh bundle_weight.sh APK  (see --deliverables)",
    ),
    "transformers": ("on this machine  AutoModelForCausalLM.from_pretrained('{out}')",),
}


def is_broken(findings: Sequence[Finding]) -> bool:
    """Whether one of them is an error."""
    return any(finding.severity is Severity.ERROR for finding in findings)


def print_answer_json(found: Found, made: Packaged, run: MlcRun | None, record: DeliverablesRecord | None) -> None:
    """Print the answer as one JSON document."""
    print_json(
        {
            "model": found.name,
            "target": made.target,
            "package": str(made.folder),
            "size_bytes": sum(file["size_bytes"] for file in made.manifest["files"]),
            "manifest": made.manifest,
            "checks": list(made.checks),
            "next": [*_next(made)],
            "mlc_llm": run.model_dump(mode="json") if run else None,
            "deliverables": record.model_dump(mode="json") if record else None,
        }
    )


def print_answer(found: Found, made: Packaged, run: MlcRun | None, record: DeliverablesRecord | None) -> None:
    """Print the answer for people."""
    files: list[dict[str, Any]] = made.manifest["files"]
    typer.echo(f"{found.name} for {made.target}   {made.folder}\n")
    print_table(("file", "MB"), [(file["name"], f"{file['size_bytes'] / 1e6:.3f}") for file in files])
    typer.echo(f"\n{'total':<10} {sum(file['size_bytes'] for file in files) / 1e6:.3f} MB")
    for check in made.checks:
        typer.echo(f"{'checked':<10} {check}")
    for reason in made.manifest.get("custom", ()):
        typer.echo(f"{'needs':<10} {made.manifest['definition']}, a model definition for MLC: {reason}")
    if "state" in made.manifest and run is None:
        typer.echo(f"{'state':<10} {made.manifest['state']}")
    if run is not None:
        _print_run(run)
    if record is not None:
        for item in record.missing:
            typer.echo(f"{'missing':<10} {item.name}: {item.missing}")
    typer.echo()
    for line in _next(made):
        typer.echo(f"{'next':<10} {line}")


def _print_run(run: MlcRun) -> None:
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items()) or "versions unknown"
    typer.echo(f"{'mlc_llm':<10} {', '.join(step.name for step in run.steps)}   ({versions})")
    if run.memory is not None:
        memory = run.memory
        typer.echo(
            f"{'estimate':<10} {memory.total_bytes / 1e6:.1f} MB without the KV cache, by mlc_llm: parameters "
            f"{memory.parameters_bytes / 1e6:.1f}, scratch {memory.temporary_bytes / 1e6:.1f}"
        )
    for note in run.notes:
        typer.echo(f"{'note':<10} {note}")
    print_findings(run.findings)


def print_findings(findings: Sequence[Finding]) -> None:
    """Print what is wrong with a package, two lines each."""
    for finding in findings:
        place = finding.place
        where = " ".join(str(part) for part in (place.file, place.tensor, place.field) if part)
        at = f" at byte {place.byte_offset}" if place.byte_offset is not None else ""
        typer.echo(f"{finding.severity.value:<10} {finding.rule}  {where}{at}: {finding.message}")
        typer.echo(f"{'':<10} found {finding.found}; allowed {finding.allowed}; {finding.fix}")


def _next(made: Packaged) -> list[str]:
    definition = made.manifest.get("definition")
    tool = f"PYTHON {made.folder / definition}" if definition else "mlc_llm"
    return [line.replace("{out}", str(made.folder)).replace("{tool}", tool) for line in NEXT[made.target]]
