"""What a program may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MOST_FILES: Final = 500
"""More could lie so deep that they are hard to remove."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one program, which is one process; a program that reaches one fails or is ended."""

    wall_s: float = 3.0
    """Time on the clock, from the fork on."""
    cpu_s: int = 4
    """Time on the processor, of all threads; whole seconds, for the kernel counts no finer."""
    memory_bytes: int = 1 << 30
    """Address space beyond that of the bare interpreter, whether it is touched or not."""
    output_bytes: int = 1 << 20
    """Of standard output and standard error together."""
    file_bytes: int = 8 << 20
    """Of one file."""
    folder_bytes: int = 16 << 20
    """Of the private folder."""
    folder_files: int = 64
    """Files and folders that can be made; at most 500."""
    open_files: int = 64
    """Descriptors."""
    threads: int = 32
    """Beyond the first; none where no user namespace counts them for this program alone."""

    def __post_init__(self) -> None:
        if not (self.wall_s > 0 and self.cpu_s > 0):
            raise ValueError(f"a program needs time: wall_s is {self.wall_s}, cpu_s is {self.cpu_s}")
        if not 0 <= self.folder_files <= MOST_FILES:
            raise ValueError(f"folder_files must be 0 to {MOST_FILES}, found {self.folder_files}")
