"""Any bytes at all: the readers of strangers' files raise what they say that they raise, and nothing else."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.checkpoint.header import parse_header
from harness.errors import CheckpointCorrupt
from harness.validation import strict_json
from harness.validation.foreign import archive, tar_members, zip_members
from harness.validation.foreign.members import safe_parts
from harness.validation.foreign.normalise import normalise
from harness.validation.foreign.package import read_package
from harness.validation.foreign.pickles import find_opcode, find_pickle
from harness.validation.foreign.streams import Broken, GzipStream, Oversized, PlainStream
from harness.validation.listing import list_folder
from harness.validation.run import validate
from tests.hostile.corpus import BAIT_PICKLE, CORPUS, OLD_BAIT
from tests.hostile.packing import ROW, info, tar, zipped
from tests.validation.violations_foreign import package_files, write

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FEW = settings(FUZZ, max_examples=40)

HEADINGS = st.sampled_from([*ROW.split("\n", maxsplit=1)[0].split(","), "Model", "Average", "BBH", "LongBench", ""])
CELLS = st.sampled_from(["0", "26.54", "8.7 GB", "71.6 inf/s 0.01 s", "-", "nan", "1e99", "-3", '"', "17%"]) | st.text(
    max_size=8
)


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """``content`` with some bytes replaced, and perhaps its end cut off."""
    changes = st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=6)

    def apply(edits, length):
        changed = bytearray(content)
        for at, byte in edits:
            changed[at] = byte
        return bytes(changed[:length])

    return st.builds(apply, changes, st.integers(0, len(content)) | st.just(len(content)))


TAR = tar((info("Results.csv"), ROW.encode()), info("a" * 150), info("l", tarfile.SYMTYPE, "/etc"))
ZIP = zipped(("Results.csv", ROW.encode()), ("folder/", b""), ("folder/a", b"x" * 300))


class TestJson:
    @FUZZ
    @given(st.binary(max_size=300) | damaged(b'{"a": [1, 2.5, "\\u00e9\\ud83d\\ude00"], "b": {"c": null, "d": 1e9}}'))
    def test_any_bytes(self, content):
        """A value that can be written as UTF-8 again, or ``NotJson``."""
        try:
            value = strict_json.parse(content)
        except strict_json.NotJson:
            return
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()

    @pytest.mark.parametrize(
        "text", [r'"\ud800"', r'"\udc00\ud800"', r'"\\\udabc"', r'{"\ud9ff": 1}', "[1e999]", "[-1e999]"]
    )
    def test_what_no_text_can_hold(self, text):
        """Half a pair of surrogates and numbers beyond all bounds are refused."""
        with pytest.raises(strict_json.NotJson):
            strict_json.parse(text.encode())

    @pytest.mark.parametrize("text", [r'"\ud83d\ude00"', r'"\\ud800"', r'"\\\\ud800"', "[1e300]", "9" * 300])
    def test_what_only_looks_like_it(self, text):
        """A whole pair, an escaped backslash and large numbers are none of these."""
        assert strict_json.parse(text.encode()) == json.loads(text)


class TestHeader:
    @FUZZ
    @given(st.binary(max_size=300) | damaged(b'{"a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}}'))
    def test_any_bytes(self, content):
        """A header, or ``CheckpointCorrupt``."""
        try:
            header = parse_header(content, path=Path("a"), data_start=8, size_bytes=12)
        except CheckpointCorrupt:
            return
        assert all(8 <= tensor.start <= tensor.stop <= 12 for tensor in header.tensors)


class TestTable:
    @FUZZ
    @given(st.binary(max_size=400) | damaged(ROW.encode()))
    def test_any_bytes(self, content):
        """A table or none, findings at any rate, and nothing raised."""
        read = normalise(content, "Results.csv")
        assert read.results is not None or read.findings

    @FUZZ
    @given(
        st.lists(HEADINGS, min_size=1, max_size=12),
        st.lists(st.lists(CELLS, max_size=12), max_size=5),
        st.sampled_from(",;\t"),
    )
    def test_any_columns_and_cells(self, heading, rows, delimiter):
        """Whatever stands under whatever heading, only finite numbers become values."""
        text = "\n".join(delimiter.join(line) for line in [heading, *rows])
        read = normalise(text.encode("utf-8", "replace"), "Results.csv")
        values = read.results.values() if read.results else {}
        assert all(abs(value) < float("inf") for value in values.values())


class TestTar:
    @FUZZ
    @given(st.binary(max_size=2000) | damaged(TAR))
    def test_any_bytes(self, content):
        """Members, or ``Broken``, or ``Oversized``."""
        try:
            members = list(tar_members.members(PlainStream(io.BytesIO(content), len(content))))
        except (Broken, Oversized):
            return
        assert all(member.size_bytes >= 0 for member in members)

    @FUZZ
    @given(st.binary(max_size=200) | damaged(gzip.compress(TAR)))
    def test_any_packed_bytes(self, content):
        """The same of what comes out of gzip."""
        try:
            list(tar_members.members(GzipStream(io.BytesIO(content))))
        except (Broken, Oversized):
            return

    @FUZZ
    @given(
        st.lists(
            st.tuples(
                st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=120),
                st.binary(max_size=600),
            ),
            max_size=5,
        ),
        st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    )
    def test_reads_what_the_library_writes(self, files, form):
        """Names and sizes are those that the standard library put in, long and foreign names included."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=form) as written:
            for name, content in files:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                written.addfile(member, io.BytesIO(content))
        content = stream.getvalue()
        members = list(tar_members.members(PlainStream(io.BytesIO(content), len(content))))
        assert [(one.name, one.size_bytes) for one in members] == [(name, len(body)) for name, body in files]


class TestZip:
    @FUZZ
    @given(st.binary(max_size=400) | damaged(ZIP))
    @example(b"PK\x05\x06" + b"\xff" * 18)
    def test_any_bytes(self, content):
        """Members, or ``Broken``, or ``Oversized``."""
        try:
            members = zip_members.members(zip_members.open_zip(io.BytesIO(content)))
        except (Broken, Oversized):
            return
        assert all(member.size_bytes >= 0 for member in members)


class TestUnpacking:
    @FEW
    @given(st.sampled_from([TAR, ZIP, gzip.compress(TAR)]).flatmap(damaged))
    def test_never_leaves_its_folder(self, tmp_path_factory, content):
        """However an archive is damaged, what is unpacked lies in the folder and nothing is a link."""
        root = tmp_path_factory.mktemp("unpacked")
        path, folder = root / "e", root / "in"
        path.write_bytes(content)
        folder.mkdir()
        packed_as = archive.format_of(path)
        if packed_as is not None:
            archive.unpack(path, packed_as, folder)
        assert sorted(one.name for one in root.iterdir()) == ["e", "in"]
        listing = list_folder(folder)
        assert listing.links == ()
        assert all(safe_parts(name) for name in listing.files)

    @FEW
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["a", "A", "a/b", "../a", "/a", "b", "a/../b", "é", "e\u0301"]), st.binary(max_size=9)
            ),
            max_size=6,
        )
    )
    def test_unpacks_each_safe_file_once(self, tmp_path_factory, files):
        """Every file on the disk has the bytes of the first member of its name."""
        root = tmp_path_factory.mktemp("unpacked")
        folder = root / "in"
        folder.mkdir()
        (root / "e.tar").write_bytes(tar(*((info(name), content) for name, content in files)))
        archive.unpack(root / "e.tar", "tar", folder)
        for name in list_folder(folder).files:
            assert (folder / name).read_bytes() == next(content for member, content in files if member == name)

    @FUZZ
    @given(
        st.text(max_size=30) | st.lists(st.sampled_from(["..", ".", "a", "/", "\\", "C:", "\0", "\u202e"])).map("".join)
    )
    def test_a_safe_name_stays_inside(self, name):
        """The parts of a safe name never lead up, and can be printed."""
        parts = safe_parts(name)
        assert parts is None or (".." not in parts and all(part.isprintable() and "/" not in part for part in parts))


class TestPickles:
    @FUZZ
    @given(st.binary(max_size=300) | damaged(BAIT_PICKLE) | damaged(OLD_BAIT), st.booleans())
    def test_any_bytes(self, content, is_named):
        """A pickle or none, and nothing raised; what is named one is one."""
        found = find_opcode(content, is_named=is_named)
        assert found is not None or not is_named

    @FEW
    @given(damaged(zipped(("archive/data.pkl", BAIT_PICKLE))))
    def test_any_bytes_in_a_zip(self, tmp_path, content):
        """The same of a checkpoint in a zip."""
        (tmp_path / "a.bin").write_bytes(content)
        find_pickle(tmp_path / "a.bin")

    @FUZZ
    @given(st.binary(max_size=400).map(lambda noise: noise.replace(b"c", b"d").replace(b"i", b"j")))
    def test_raw_tensors_are_none(self, noise):
        """Bytes without the mark of a pickle or an opcode that fetches are none, whatever they decode to."""
        assert find_opcode(b"\x00" + noise) is None


class TestPackage:
    @FEW
    @given(st.data())
    def test_any_bytes_in_the_index(self, tmp_path, data):
        """A package with a damaged index has findings or is sound, and nothing is raised."""
        files = package_files()
        name = data.draw(st.sampled_from(["tensor-cache.json", "mlc-chat-config.json"]))
        write(tmp_path, files | {name: data.draw(damaged(files[name].encode()))})
        package = read_package(list_folder(tmp_path), "")
        assert package.findings or (package.index and package.config)


class TestWhole:
    @FEW
    @given(
        st.sampled_from(["entry.zip", "entry.tar", "Results.csv", "x.bin"]),
        st.binary(max_size=600) | damaged(ZIP) | damaged(TAR),
    )
    def test_no_file_makes_a_check_crash(self, tmp_path, name, content):
        """Whatever file is filed, there is a report, and every check ran to its end."""
        (tmp_path / name).write_bytes(content)
        report = validate(tmp_path / name)
        assert "validation.check_crashed" not in {finding.rule for finding in report.findings}
        assert report.findings

    def test_every_kind_of_attack_has_a_case(self):
        """The corpus covers pickles, code, headers, settings, links, names, tables, packages and archives."""
        families = {hostile.rule.partition(".")[0] for hostile in CORPUS.values()}
        assert families == {"archive", "foreign", "hostile", "mlc", "weights"}
