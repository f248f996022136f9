"""The machine code is what its source says, and a program sees nothing of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.sandbox.ending import MACHINE_CODE, NONCE_OFFSET, PART_BYTES, _walls


class TestMachineCode:
    @pytest.mark.parametrize("machine", MACHINE_CODE)
    def test_is_its_source_assembled(self, machine, tmp_path):
        """Byte by byte, on both machines."""
        assembler, copier = shutil.which("llvm-mc"), shutil.which("llvm-objcopy")
        if assembler is None or copier is None:
            pytest.skip("no assembler for both machines is here")
        source, built, raw = Path(__file__).with_name(f"ending_{machine}.s"), tmp_path / "x.o", tmp_path / "x.bin"
        subprocess.run([assembler, f"-triple={machine}", "-filetype=obj", "-o", built, source], check=True)
        subprocess.run([copier, "-O", "binary", "--only-section=.text", built, raw], check=True)
        assert raw.read_bytes().hex() == MACHINE_CODE[machine]

    def test_parts_do_not_overlap(self):
        """The code fits before its table, the nonce stands behind the table's eleven addresses."""
        assert all(len(code) // 2 < PART_BYTES for code in MACHINE_CODE.values())
        assert NONCE_OFFSET == PART_BYTES + 11 * 8


class TestWalls:
    LINE = "7f4c6b0c1000-7f4c6b0d1000 {} 00006000 fe:00 29726    {}\n"

    def test_executable_parts_of_ctypes(self):
        """Where they are and how long; nothing that is only read, nothing of others."""
        maps = (
            self.LINE.format("r-xp", "/x/_ctypes.cpython-311.so")
            + self.LINE.format("r--p", "/x/_ctypes.cpython-311.so")
            + self.LINE.format("r-xp", "/x/libc.so.6")
            + "7f4c6b0c1000-7f4c6b0d1000 r-xp 00006000 fe:00 0\n"
        )
        assert _walls(maps) == [(0x7F4C6B0C1000, 0x10000)]

    def test_an_interpreter_with_ctypes_inside(self):
        """Cannot be walled up, and says so."""
        with pytest.raises(OSError, match="0 executable parts"):
            _walls(self.LINE.format("r-xp", "/x/libpython3.11.so"))
