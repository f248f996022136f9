"""A toolchain of one small package, installed from a folder of wheels: nothing is fetched."""

from __future__ import annotations

import sys
import zipfile

import pytest

from harness.toolchains.catalogue import Toolchain

WHEEL_METADATA = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write_wheel(folder, name, version, source):
    """A wheel with one module."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", source)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", WHEEL_METADATA)
        wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """The only place that pip is told to look at, through its own variables; uv has to be told by us."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    write_wheel(folder, "smallengine", "1.0", "VALUE = 1\n")
    write_wheel(folder, "smallengine", "2.0", "VALUE = 2\n")
    for name in ("UV_FIND_LINKS", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    return folder


@pytest.fixture
def small(tmp_path, wheels):
    """A toolchain that pins the older of the two versions."""
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "requirements.txt").write_text("-c constraints.txt\nsmallengine\n")
    (folder / "constraints.txt").write_text("smallengine==1.0\n")
    return Toolchain(
        name="small",
        purpose="is small",
        folder=folder,
        engine="smallengine",
        python_versions=(f"{sys.version_info.major}.{sys.version_info.minor}",),
        check=("-c", "import smallengine; assert smallengine.VALUE == 1"),
        download_bytes=1_000,
        disk_bytes=1_000_000,
    )
