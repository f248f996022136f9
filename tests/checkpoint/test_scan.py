"""Every value that is not finite is counted and found again at the byte that the scan names."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from harness.checkpoint.bit_patterns import FORMATS, KINDS
from harness.checkpoint.checkpoint import list_files
from harness.checkpoint.dtypes import to_float32
from harness.checkpoint.scan import STRETCH_BYTES, ScanReport, scan, scan_and_digest, scan_and_list
from harness.checkpoint.tree_digest import tree_digest
from harness.errors import CheckpointCorrupt
from tests.checkpoint.make import write_checkpoint

STORED = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}


def values(dtype, bits):
    """The values of ``bits`` in FP64, by numpy's and torch's own reckoning."""
    stored = bits.view(STORED[dtype])
    with np.errstate(invalid="ignore"):  # a signalling NaN says so when it is widened
        return stored if dtype == "F64" else to_float32(stored, dtype).astype(np.float64)


def expected(dtype, bits):
    """Where each kind is, flat."""
    found, top = values(dtype, bits).ravel(), FORMATS[dtype].value(FORMATS[dtype].infinity - 1)
    return {
        "nan": np.isnan(found),
        "positive_infinity": found == np.inf,
        "negative_infinity": found == -np.inf,
        "saturated": np.abs(found) == top,
    }


def scan_one(folder, dtype, array, **options):
    """The scan of a checkpoint of one tensor."""
    return scan(write_checkpoint(folder, [{"w": (dtype, array)}], **options)).tensors[0]


def patterns(dtype):
    """Bits of any shape of ``dtype``, those of interest more often than chance has them."""
    form = FORMATS[dtype]
    edges = [0, 1, form.infinity - 1, form.infinity, form.infinity + 1]
    element = st.sampled_from([*edges, *(edge | form.sign for edge in edges)]) | st.integers(0, 2 * form.sign - 1)
    return arrays.arrays(form.unsigned, arrays.array_shapes(min_dims=0, max_side=4), elements=element)


@st.composite
def shards(draw):
    """One to three shards of up to four tensors of any float dtype, or of bytes."""
    content = []
    for number in range(draw(st.integers(1, 3))):
        dtypes = draw(st.lists(st.sampled_from([*FORMATS, "U8"]), min_size=1, max_size=4))
        content.append(
            {
                f"s{number}.t{place}": (
                    dtype,
                    np.arange(draw(st.integers(0, 9)), dtype=np.uint8) if dtype == "U8" else draw(patterns(dtype)),
                )
                for place, dtype in enumerate(dtypes)
            }
        )
    return content


class TestScan:
    @given(shards=shards(), padding=st.integers(0, 9))
    def test_every_kind_is_counted_and_placed(self, shards, padding):
        """Counts and first places agree with numpy; the bytes at the place are the value; any alignment."""
        with TemporaryDirectory() as folder:
            result = scan(write_checkpoint(Path(folder), shards, padding=padding))
            wanted = {name: content for shard in shards for name, content in shard.items()}
            assert {tensor.name for tensor in result.tensors} == wanted.keys()
            for tensor in (tensor for tensor in result.tensors if tensor.is_scanned):
                dtype, bits = wanted[tensor.name]
                for kind, where in expected(dtype, bits).items():
                    occurrence = getattr(tensor, kind)
                    assert occurrence.count == where.sum()
                    assert (occurrence.first is None) == (not where.any())
                    if occurrence.first is not None:
                        index = tuple(int(place) for place in np.unravel_index(where.argmax(), bits.shape))
                        assert occurrence.first.index == index
                        with (Path(folder) / occurrence.first.shard).open("rb") as stream:
                            stream.seek(occurrence.first.byte_offset)
                            assert stream.read(bits.itemsize) == bits[index].tobytes()

    @given(dtype=st.sampled_from(sorted(FORMATS)), data=st.data())
    def test_largest_finite_magnitude_and_zero(self, dtype, data):
        """As numpy has them over the finite values; minus zero is zero."""
        bits = data.draw(patterns(dtype))
        with TemporaryDirectory() as folder:
            tensor = scan_one(Path(folder), dtype, bits)
        found = values(dtype, bits)
        finite = np.abs(found[np.isfinite(found)])
        assert tensor.largest_magnitude == (finite.max() if finite.size else None)
        assert tensor.is_zero == (found.size > 0 and bool((found == 0).all()))

    @pytest.mark.parametrize("dtype", ["F16", "BF16"])
    def test_all_16_bit_patterns(self, tmp_path, dtype):
        """Every NaN payload is a NaN, every subnormal is none; agrees with torch."""
        bits = np.arange(1 << 16, dtype=np.uint16)
        tensor = scan_one(tmp_path, dtype, bits)
        kind = torch.float16 if dtype == "F16" else torch.bfloat16
        as_torch = torch.from_numpy(bits.view(np.int16)).view(kind)
        assert tensor.nan.count == as_torch.isnan().sum()
        assert (tensor.positive_infinity.count, tensor.negative_infinity.count) == (1, 1)
        assert tensor.saturated_count == 2
        assert tensor.largest_magnitude == torch.finfo(kind).max

    def test_saturated_half(self, tmp_path):
        """65504 is finite and told apart, with either sign."""
        tensor = scan_one(tmp_path, "F16", np.array([[1, 65504], [-65504, 65472]], np.float16))
        assert tensor.nonfinite_count == 0
        assert tensor.saturated_count == 2
        assert tensor.saturated.first.index == (0, 1)
        assert tensor.largest_magnitude == 65504

    def test_subnormals_are_not_zero(self, tmp_path):
        """The smallest FP16 value is seen."""
        tensor = scan_one(tmp_path, "F16", np.array([1, 0x8000], np.uint16).view(np.float16))
        assert not tensor.is_zero
        assert tensor.largest_magnitude == 2.0**-24

    def test_nothing_finite(self, tmp_path):
        """A tensor of NaN has no largest value and is not zero."""
        tensor = scan_one(tmp_path, "F32", np.full(3, np.nan, np.float32))
        assert (tensor.largest_magnitude, tensor.is_zero, tensor.nonfinite_count) == (None, False, 3)

    def test_integers_are_listed(self, tmp_path):
        """Bytes that would be NaN as floats are no findings in an integer tensor."""
        tensor = scan_one(tmp_path, "I16", np.full(4, 0x7E00, np.int16))
        assert not tensor.is_scanned
        assert (tensor.nonfinite_count, tensor.largest_magnitude, tensor.dtype) == (0, None, "I16")

    def test_far_into_a_large_tensor(self, tmp_path):
        """One NaN in the last of many blocks has its index and byte."""
        array = np.zeros((3000, 1000), np.float16)
        array[2999, 998] = np.nan
        tensor = scan_one(tmp_path, "F16", array, padding=1)
        assert tensor.nan.first.index == (2999, 998)
        assert tensor.nan.first.byte_offset == (tmp_path / "model.safetensors").stat().st_size - 4

    @pytest.mark.parametrize("workers", [2, 5])
    def test_threads_do_not_matter(self, tmp_path, workers):
        """The first place is the first in the file, whoever finds it."""
        array = np.zeros(9 << 20, np.float16)
        array[[5, 3 << 20, 8 << 20]] = np.inf
        write_checkpoint(tmp_path, [{"w": ("F16", array)}])
        assert scan(tmp_path, workers=workers) == scan(tmp_path)

    def test_memory_is_a_few_blocks(self, tmp_path):
        """Forty megabytes are looked at in less than eight."""
        write_checkpoint(tmp_path, [{"w": ("F16", np.zeros(20 << 20, np.float16))}])
        tracemalloc.start()
        scan(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 << 20

    def test_a_file_that_is_cut_meanwhile(self, tmp_path):
        """What is gone is an error, never "no findings"."""
        write_checkpoint(tmp_path, [{"w": ("F16", np.zeros(STRETCH_BYTES, np.float16))}])

        def cut(_label, done, _total, _detail=""):
            if done == 1:
                with (tmp_path / "model.safetensors").open("r+b") as stream:
                    stream.truncate(5 << 20)

        with pytest.raises(CheckpointCorrupt, match="must be a file of"):
            scan(tmp_path, progress=cut)

    def test_needs_no_torch(self):
        """Validation scans without paying for torch."""
        code = "import sys, harness.checkpoint.scan; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestScanAndDigest:
    @given(shards=shards(), padding=st.integers(0, 9), chunk_bytes=st.integers(1, 70))
    def test_one_read_gives_both(self, shards, padding, chunk_bytes):
        """The same as the two apart, wherever the chunks cut through an element."""
        with TemporaryDirectory() as folder:
            path = write_checkpoint(Path(folder), shards, padding=padding)
            scanned, tree = scan_and_digest(path, chunk_bytes=chunk_bytes, workers=1)
            assert scanned == scan(path)
            assert tree == tree_digest(path, chunk_bytes=chunk_bytes, workers=1)

    @given(shards(), st.integers(1, 3))
    def test_with_whole_files(self, shards, workers):
        """A whole file at a time gives its plain digest, and the same scan; empty and hidden files as ever."""
        with TemporaryDirectory() as folder:
            path = write_checkpoint(Path(folder), shards)
            (path / "empty.txt").touch()
            (path / ".hidden").write_text("x")
            assert scan_and_list(path, workers=workers) == (scan(path), list_files(path))


class TestScanReport:
    @pytest.fixture
    def result(self, tmp_path):
        half = np.array([[1, np.nan, np.inf], [-np.inf, np.nan, 65504]], np.float16)
        tensors = {
            "a": ("F16", half),
            "b": ("F32", np.zeros(4, np.float32)),
            "c": ("U8", np.zeros(2, np.uint8)),
            "d": ("F32", np.zeros((0, 3), np.float32)),
        }
        return scan(write_checkpoint(tmp_path, [tensors]))

    def test_totals(self, result):
        """It adds up, and names what has something to say."""
        report = result.report()
        counts = (report.nan_count, report.positive_infinity_count, report.negative_infinity_count)
        assert counts == (2, 1, 1)
        assert (report.tensor_count, report.parameter_count, report.saturated_count) == (4, 12, 1)
        assert report.dtypes == {"F16": 1, "F32": 2, "U8": 1}
        assert (report.unscanned, report.zero_tensors) == (("c",), ("b",))
        assert [tensor.name for tensor in report.nonfinite] == [tensor.name for tensor in report.saturated] == ["a"]
        assert report.largest_magnitude == 65504
        assert not result.is_finite

    def test_round_trip(self, result, tmp_path):
        """Written and read, it is the same."""
        result.report().write(tmp_path / "scan.json")
        assert ScanReport.read(tmp_path / "scan.json") == result.report()

    def test_all_is_well(self, tmp_path):
        """Finite weights make an empty report."""
        report = scan(write_checkpoint(tmp_path, [{"w": ("BF16", np.ones(3, np.uint16))}])).report()
        assert (report.nonfinite, report.saturated, report.unscanned, report.zero_tensors) == ((), (), (), ())


def test_kinds_are_fields():
    """Each kind of the tally is reported under its name."""
    assert set(KINDS) <= ScanReport.model_fields["nonfinite"].annotation.__args__[0].__dataclass_fields__.keys()
