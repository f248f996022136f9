"""A toolchain of one small package, installed from a folder of wheels: nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
import sys
import zipfile

import pytest

from harness.toolchains.catalogue import Toolchain

WHEEL_METADATA = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write_wheel(folder, name, version, source):
    """A wheel with one module, every file recorded with its hash and size as the format asks."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": WHEEL_METADATA,
    }
    rows = [f"{path},sha256={wheel_hash(text)},{len(text)}\n" for path, text in files.items()]
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
        wheel.writestr(f"{info}/RECORD", "".join(rows) + f"{info}/RECORD,,\n")


def wheel_hash(text):
    """As ``RECORD`` writes it."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


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
