"""The safetensors header is read without trust."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from harness.checkpoint.header import parse_header, read_header
from harness.errors import CheckpointCorrupt


def file_bytes(content, data=b""):
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(start, stop, shape=None, dtype="U8"):
    return {"dtype": dtype, "shape": [stop - start] if shape is None else shape, "data_offsets": [start, stop]}


class TestReadHeader:
    def test_reads_what_safetensors_writes(self, tmp_path):
        """Names, dtypes, shapes and absolute offsets are the ones of the reference implementation's file."""
        arrays = {"b": np.arange(6, dtype=np.float16).reshape(2, 3), "a": np.arange(4, dtype=np.int64)}
        save_file(arrays, tmp_path / "x.safetensors", metadata={"format": "pt"})
        header = read_header(tmp_path / "x.safetensors")
        raw = (tmp_path / "x.safetensors").read_bytes()
        assert header.metadata == {"format": "pt"}
        assert {tensor.name for tensor in header.tensors} == {"a", "b"}
        for tensor in header.tensors:
            assert tensor.shape == arrays[tensor.name].shape
            assert raw[tensor.start : tensor.stop] == arrays[tensor.name].tobytes()

    @pytest.mark.parametrize(
        ("content", "data", "message"),
        [
            ({"t": entry(0, 4)}, b"123", "truncated"),
            ({"t": entry(0, 4)}, b"12345", "belong to no tensor"),
            ({"t": entry(0, 4), "u": entry(2, 6)}, b"123456", "overlaps"),
            ({"t": entry(0, 2), "u": entry(4, 6)}, b"123456", "gap"),
            ({"t": entry(1, 4)}, b"1234", "gap"),
            ({"t": entry(0, 4, shape=[3])}, b"1234", "make 3"),
            ({"t": entry(0, 4, shape=[1 << 40, 1 << 40])}, b"1234", "make"),
            ({"t": entry(0, 4, dtype="F12")}, b"1234", "dtype must be one of"),
            ({"t": entry(0, 4, shape=[True, 4])}, b"1234", "integers"),
            ({"t": entry(0, 4, shape=[-4])}, b"1234", "integers"),
            ({"t": entry(0, 4, shape=[4.0])}, b"1234", "integers"),
            ({"t": entry(0, 4, shape=[1] * 17)}, b"1234", "at most 16"),
            ({"t": {"dtype": "U8", "shape": [4]}}, b"1234", "exactly"),
            ({"t": entry(0, 4) | {"more": 1}}, b"1234", "exactly"),
            ({"t": entry(4, 0, shape=[0])}, b"", "start <= stop"),
            ({"t\n": entry(0, 4)}, b"1234", "printed"),
            ({"__metadata__": {"a": 1}}, b"", "text to text"),
            ([], b"", "JSON object"),
            (b'{"t":1,"t":2}', b"", "twice"),
            (b'{"t":NaN}', b"", "NaN"),
            (b"[" * 100_000, b"", "not the JSON"),
            (b"\xff", b"", "not the JSON"),
            (b'{"t":' + b"9" * 5000 + b"}", b"", "not the JSON"),
        ],
    )
    def test_names_the_fault(self, tmp_path, content, data, message):
        """Every way in which a header can be wrong is refused, and said."""
        path = tmp_path / "x.safetensors"
        path.write_bytes(file_bytes(content, data))
        with pytest.raises(CheckpointCorrupt, match=message) as caught:
            read_header(path)
        assert str(path) in str(caught.value)

    def test_does_not_allocate_what_a_length_claims(self, tmp_path):
        """A length beyond the file is refused before it is read; so is one beyond what headers have."""
        path = tmp_path / "x.safetensors"
        path.write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
        with pytest.raises(CheckpointCorrupt, match="truncated or foreign"):
            read_header(path)
        with path.open("wb") as stream:
            stream.write((1 << 30).to_bytes(8, "little"))
            stream.truncate((1 << 30) + 8)
        with pytest.raises(CheckpointCorrupt, match="at most"):
            read_header(path)

    def test_a_missing_file_is_corrupt(self, tmp_path):
        """So is one that is no file."""
        with pytest.raises(CheckpointCorrupt, match="cannot be read"):
            read_header(tmp_path / "absent.safetensors")

    def test_sub_byte_elements_fill_whole_bytes(self, tmp_path):
        """Two 4-bit floats are one byte; three are none."""
        path = tmp_path / "x.safetensors"
        path.write_bytes(file_bytes({"t": entry(0, 1, shape=[2], dtype="F4")}, b"1"))
        assert read_header(path).tensors[0].element_count == 2
        path.write_bytes(file_bytes({"t": entry(0, 1, shape=[3], dtype="F4")}, b"1"))
        with pytest.raises(CheckpointCorrupt, match=r"make 1\.5"):
            read_header(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["F16", "U8"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "__metadata__", "t"]), inner, max_size=4)
    ),
    max_leaves=12,
)


class TestFuzz:
    @given(data=st.binary(max_size=200))
    def test_any_bytes(self, tmp_path_factory, data):
        """Whatever a file holds, it is read or it is corrupt."""
        path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
        path.write_bytes(data)
        with pytest.raises(CheckpointCorrupt):
            read_header(path)
        path.write_bytes(len(data).to_bytes(8, "little") + data)
        accepted_or_corrupt(lambda: read_header(path))

    @given(content=JSON)
    def test_any_json(self, tmp_path_factory, content):
        """Whatever JSON a header holds, it is read or it is corrupt."""
        text = json.dumps(content).encode()
        path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
        accepted_or_corrupt(lambda: parse_header(text, path=path, data_start=8 + len(text), size_bytes=8 + len(text)))

    @given(place=st.integers(0, 200), byte=st.integers(0, 255))
    def test_one_changed_byte(self, tmp_path_factory, place, byte):
        """Whichever byte of a good file is changed, offsets never leave the file."""
        content = {"t": entry(0, 4), "u": entry(4, 12, shape=[2, 2], dtype="F16")}
        raw = bytearray(file_bytes(content, bytes(12)))
        raw[place % len(raw)] = byte
        path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
        path.write_bytes(raw)
        header = accepted_or_corrupt(lambda: read_header(path))
        for tensor in header.tensors if header else ():
            assert 8 <= tensor.start <= tensor.stop <= len(raw)


def accepted_or_corrupt(call):
    try:
        return call()
    except CheckpointCorrupt:
        return None
