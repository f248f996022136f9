"""The ``mlc_llm`` that is installed: on the search path, or in the environment of a Python that is named.

It never shares our environment: mlc_llm brings a tvm of its own. Its versions are asked for, not guessed, and what a
mismatch looks like in a log is data (``skew.toml``).
"""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

from harness.containment import Limits, run_contained
from harness.document import Document
from harness.errors import ToolchainFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.containment import Event

COMMAND: Final = "mlc_llm"
ASKING: Final = Limits(time_s=120, memory_bytes=4 << 30)
DISTRIBUTIONS: Final = (
    "mlc-llm",
    "mlc-llm-nightly-cpu",
    "mlc-ai-nightly-cpu",
    "mlc-llm-cpu",
    "apache-tvm",
    "apache-tvm-ffi",
    "tvm",
)
"""Under these names mlc_llm and tvm are installed."""
_ASK: Final = (
    "import importlib.metadata as m, json, sys\n"
    "found = {}\n"
    "for name in sys.argv[1:]:\n"
    "    try: found[name] = m.version(name)\n"
    "    except m.PackageNotFoundError: pass\n"
    "print(json.dumps({'event': 'versions', 'python': sys.version.split()[0], 'found': found}))\n"
)


class Symptom(Document):
    """One way in which versions that do not fit each other show."""

    pattern: str
    """A regular expression, searched in the log."""
    cause: str
    way: str
    """What to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MlcTool:
    """How mlc_llm is called."""

    command: tuple[str, ...]
    """What comes before the subcommand."""
    python: str | None
    """Its interpreter; None where the script on the search path does not say."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Distribution to version, as far as they are known."""

    def for_definition(self, definition: Path | None) -> tuple[str, ...]:
        """The command for a model with a definition of its own, which then stands for mlc_llm's own.

        Raises:
            ToolchainFailed: the interpreter is not known.
        """
        if definition is None:
            return self.command
        if self.python is None:
            raise ToolchainFailed(
                f"{' '.join(self.command)}: a model definition of our own is run by mlc_llm's Python, which this "
                "script does not name; give it: --mlc-python PATH"
            )
        return (self.python, str(definition))


def find_tool(python: Path | None, work_dir: Path) -> MlcTool:
    """The mlc_llm of the interpreter ``python``, or the one on the search path.

    Args:
        python: interpreter of the environment that mlc_llm is installed in; None looks on the search path.
        work_dir: for the log of the question about versions; made if absent.

    Raises:
        ToolchainFailed: there is none, or its interpreter does not run.
    """
    if python is not None:
        if not python.is_file():
            raise ToolchainFailed(f"--mlc-python {python}: no such file; name the python of mlc_llm's environment")
        command: tuple[str, ...] = (str(python.absolute()), "-m", COMMAND)
        return MlcTool(command=command, python=command[0], versions=_versions(command[0], work_dir))
    script = shutil.which(COMMAND)
    if script is None:
        raise ToolchainFailed(
            f"no {COMMAND} on the search path; install mlc-llm in an environment of its own and name its interpreter: "
            "--mlc-python PATH. The package is complete without it; what it adds is the compiled library"
        )
    found = _interpreter(script)
    return MlcTool(command=(script,), python=found, versions=_versions(found, work_dir) if found else {})


@cache
def symptoms() -> tuple[Symptom, ...]:
    """What is known of versions that do not fit."""
    text = (resources.files("harness.deployment.mlc") / "skew.toml").read_text(encoding="utf-8")
    return tuple(Symptom.model_validate(entry) for entry in tomllib.loads(text)["symptom"])


def skew_in(log: str) -> Symptom | None:
    """The first known symptom in ``log``."""
    return next((symptom for symptom in symptoms() if re.search(symptom.pattern, log)), None)


def _interpreter(script: str) -> str | None:
    """The Python that the first line of a script names."""
    with open(script, "rb") as stream:  # noqa: PTH123 - what shutil.which gives is a text
        first = stream.readline(4096).decode(errors="replace").strip()
    path = first.removeprefix("#!").strip()
    plain = first.startswith("#!") and "python" in os.path.basename(path) and " " not in path  # noqa: PTH119
    return path if plain and os.path.isfile(path) else None  # noqa: PTH113


def _versions(python: str, work_dir: Path) -> dict[str, str]:
    work_dir.mkdir(parents=True, exist_ok=True)
    answers: list[Event] = []
    report = run_contained(
        [python, "-P", "-c", _ASK, *DISTRIBUTIONS],
        limits=ASKING,
        log=work_dir / "versions.log",
        cwd=work_dir,
        environment=dict(os.environ),
        on_event=answers.append,
    )
    if report.exit_code != 0 or not answers:
        raise ToolchainFailed(f"{python}: does not run ({report.exit_code}); its log is {work_dir / 'versions.log'}")
    found = answers[-1]["found"]
    versions = {str(name): str(version) for name, version in found.items()} if isinstance(found, dict) else {}
    return {"python": str(answers[-1]["python"]), **versions}
