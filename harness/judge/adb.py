"""The dialogue with a phone: ``adb``, one word list at a time, nothing left for a shell to interpret.

devices()          adb devices -l                  serial, state, model
push(file, name)   adb -s SERIAL push FILE NAME    and the phone's own SHA-256 of what arrived
shell(words)       adb -s SERIAL shell 'words'     quoted for the phone's shell, which joins and parses them again
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.errors import MeasurementFailed, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ADB: Final = "adb"
QUICK_S: Final = 30.0
PUSH_S: Final = 3600.0
READY: Final = "device"
"""The state in which a phone takes commands."""
NO_ADB: Final = "adb is not installed here; it is in Android's platform-tools, and in the package adb of Debian"
SHA256: Final = re.compile(r"\b[0-9a-f]{64}\b")
SHOWN_CHARACTERS: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedPhone:
    """One line of ``adb devices -l``."""

    serial: str
    state: str
    """``device`` where it can be used; ``unauthorized``, ``offline`` or what else adb says."""
    model: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Adb:
    """An adb executable, and the phone that it speaks to."""

    executable: str
    serial: str = ""
    """Empty until a phone is chosen."""

    @classmethod
    def find(cls) -> Adb | None:
        """The adb on the search path; none where there is none."""
        found = shutil.which(ADB)
        return None if found is None else cls(executable=found)

    def devices(self) -> tuple[AttachedPhone, ...]:
        """What is attached, usable or not.

        Raises:
            MeasurementFailed: adb does not answer.
        """
        return parse_devices(self._run(["devices", "-l"], QUICK_S))

    def choose(self, serial: str | None = None) -> Adb:
        """This adb, speaking to ``serial``, or to the one phone that is ready.

        Raises:
            UsageError: no phone is ready, several are and none is named, or the named one is not among them.
            MeasurementFailed: adb does not answer.
        """
        attached = self.devices()
        ready = [phone.serial for phone in attached if phone.state == READY]
        seen = ", ".join(f"{phone.serial!r} ({phone.state})" for phone in attached) or "none"
        if serial is not None and serial not in ready:
            raise UsageError(f"--serial {serial!r}: no such phone is ready; attached: {seen}")
        if serial is None and len(ready) != 1:
            way = "name one with --serial" if ready else "attach one, switch USB debugging on and confirm its question"
            raise UsageError(
                f"--device adb: expected one phone that is ready, found {len(ready)}; {way}; attached: {seen}"
            )
        return Adb(executable=self.executable, serial=serial or ready[0])

    def shell(self, words: Sequence[str], *, timeout_s: float = QUICK_S) -> str:
        """What the command ``words`` prints on the phone.

        Raises:
            MeasurementFailed: it ended with something else than 0, or took too long.
        """
        return self.script(shlex.join(words), timeout_s=timeout_s)

    def script(self, text: str, *, timeout_s: float = QUICK_S) -> str:
        """As ``shell``, of a script that the caller has quoted."""
        return self._run(["-s", self.serial, "shell", text], timeout_s)

    def push(self, file: Path, target: str) -> None:
        """Copy ``file`` to ``target`` on the phone.

        Raises:
            MeasurementFailed: adb failed.
        """
        self._run(["-s", self.serial, "push", str(file.resolve()), target], PUSH_S)

    def sha256(self, target: str) -> str:
        """SHA-256 of a file on the phone, computed there; raises ``MeasurementFailed``."""
        said = self.shell(["sha256sum", target], timeout_s=PUSH_S)
        found = SHA256.search(said)
        if found is None:
            raise MeasurementFailed(f"adb: sha256sum of {target!r} on the phone said {said[:SHOWN_CHARACTERS]!r}")
        return found.group()

    def _run(self, words: Sequence[str], timeout_s: float) -> str:
        command = [self.executable, *words]
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, timeout=timeout_s, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired as error:
            raise MeasurementFailed(f"{shlex.join(command)}: no answer within {timeout_s:.0f} s") from error
        except OSError as error:
            raise MeasurementFailed(f"{self.executable}: cannot be run: {error.strerror}") from error
        if done.returncode != 0:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()[-SHOWN_CHARACTERS:]
            raise MeasurementFailed(f"{shlex.join(command)}: ended with {done.returncode}: {said}")
        return done.stdout.decode(errors="replace")


def parse_devices(text: str) -> tuple[AttachedPhone, ...]:
    """The phones in the output of ``adb devices -l``; the daemon's own remarks are none."""
    phones = []
    for line in text.partition("List of devices attached")[2].splitlines():
        serial, _, rest = line.strip().partition(" ") if "\t" not in line else line.strip().partition("\t")
        if serial and rest and not serial.startswith("*"):
            phones.append(_phone(serial, rest.strip()))
    return tuple(phones)


def _phone(serial: str, rest: str) -> AttachedPhone:
    model = next((word.removeprefix("model:") for word in rest.split() if word.startswith("model:")), None)
    # "no permissions (…); see […]" is a state of several words.
    state = "no permissions" if rest.startswith("no permissions") else rest.split(maxsplit=1)[0]
    return AttachedPhone(serial=serial, state=state, model=model)
