"""Make an environment with uv (seconds, a shared cache), or with venv and pip where uv fails or is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import ToolchainFailed
from harness.toolchains.environment import python_of
from harness.toolchains.interpreter import find_python
from harness.toolchains.pip_configuration import read_pip_settings, uv_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from harness.toolchains.catalogue import Toolchain
    from harness.toolchains.environment import Maker

LOG_TAIL_LINES = 12
FOREIGN = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__", "PIP_TARGET", "PIP_PREFIX", "PIP_USER")
"""Variables of the caller's own environment that would lead an installer into it."""

DOWNLOAD = re.compile(r"^\s*Downloading (?P<what>\S+) \((?P<size>[\d.]+ ?[kMG]i?B)\)")
"""How uv (and pip, with a file name) announces what it fetches."""


class CommandFailed(Exception):
    """An installer ended with an error; the argument is the end of what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """One environment in the making."""

    toolchain: Toolchain
    version: str
    """Minor version of Python."""
    folder: Path
    log: Path
    say: Callable[[str], None]
    """Called with a short remark on what is happening."""
    cached: bool = True
    """Whether uv may use its cache: an environment shares its files with it, and so its damage."""

    def make(self) -> Maker:
        """Fill ``folder``; returns who did.

        Raises:
            ToolchainFailed: neither uv nor pip could.
        """
        try:
            self._with_uv()
        except CommandFailed as failed:
            self.say("uv could not make it, trying pip")
            self._with_pip(failed)
            return "pip"
        return "uv"

    def check(self) -> None:
        """Import what the worker imports; raises ``CommandFailed`` when that fails."""
        environment = clean_environment() | {"PYTHONPATH": str(self.toolchain.folder), "HF_HUB_OFFLINE": "1"}
        self._run([str(python_of(self.folder)), *self.toolchain.check], environment)

    def _with_uv(self) -> None:
        try:
            from uv import find_uv_bin

            uv = find_uv_bin()
        except (ImportError, FileNotFoundError) as error:
            raise CommandFailed(f"no uv here: {error}") from error
        environment = uv_environment(read_pip_settings(), clean_environment())
        python = find_python(self.version) or self.version
        self._run([uv, "venv", "--no-project", "--python", python, str(self.folder)], environment)
        requirements = str(self.toolchain.requirements)
        cache = [] if self.cached else ["--no-cache"]
        self._run([uv, "pip", "install", *cache, "--python", str(self.folder), "-r", requirements], environment)

    def _with_pip(self, before: CommandFailed) -> None:
        python = find_python(self.version)
        if python is None:
            raise ToolchainFailed(
                f"toolchain {self.toolchain.name!r} needs Python {' or '.join(self.toolchain.python_versions)} "
                f"and found neither; uv said:\n{before}"
            )
        shutil.rmtree(self.folder, ignore_errors=True)
        options = ["--no-input", "--progress-bar", "off", "--disable-pip-version-check"]
        pip = [str(python_of(self.folder)), "-m", "pip", "install"]
        try:
            self._run([python, "-m", "venv", str(self.folder)], clean_environment())
            self._run([*pip, *options, "-r", str(self.toolchain.requirements)], clean_environment())
        except CommandFailed as failed:
            raise ToolchainFailed(
                f"toolchain {self.toolchain.name!r} could not be installed; with the network (or a package index) at "
                f"hand, run: harness toolchain install {self.toolchain.name}; log: {self.log}\n"
                f"uv: {before}\npip: {failed}"
            ) from failed

    def _run(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Run one command to its end, its words into the log; raises ``CommandFailed`` with the last of them."""
        tail: list[str] = []
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n")
            process = subprocess.Popen(
                command,
                cwd=self.log.parent,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            for line in _lines(process):
                log.write(line)
                tail = [*tail[1 - LOG_TAIL_LINES :], line.rstrip()]
                if remark := remark_on(line):
                    self.say(remark)
        if process.returncode != 0:
            raise CommandFailed("\n".join(f"  {line}" for line in tail if line))


def remark_on(line: str) -> str | None:
    """What a line of an installer's output is worth saying, if anything."""
    if found := DOWNLOAD.match(line):
        return f"downloading {found['what']} ({found['size']})"
    text = line.strip()
    return text.lower() if text.startswith(("Resolved ", "Prepared ", "Installed ", "Building ")) else None


def clean_environment() -> dict[str, str]:
    """The caller's environment without what points into the caller's own Python environment."""
    return {name: value for name, value in os.environ.items() if name not in FOREIGN} | {"NO_COLOR": "1"}


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """Every line that ``process`` says, then its end; an interrupted reader leaves no process behind."""
    try:
        if process.stdout is not None:
            with process.stdout:
                yield from process.stdout
        process.wait()
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()
