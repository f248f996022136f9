"""Signatures: one changed byte anywhere is named, and nobody else's key passes for the signer's."""

from __future__ import annotations

import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.submission import signature as signatures
from harness.submission.signature import CHUNK_BYTES, SIGNATURE, Signature, is_genuine, sign, tampered

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
NAMES = st.from_regex(r"[a-z]{1,4}(/[a-z]{1,3})?\.json", fullmatch=True)
FILES = st.dictionaries(NAMES, st.binary(max_size=3 * CHUNK_BYTES), min_size=1, max_size=4)


def differences(made, files):
    return tampered(made, files, files.get)


class TestSign:
    @given(FILES)
    def test_what_is_untouched_is_true(self, files):
        """The same files by the same key: genuine, nothing tampered with, and the same through a file."""
        made = sign(files.items(), KEY)
        assert is_genuine(made)
        assert differences(made, files) == ()
        assert Signature.model_validate_json(made.model_dump_json()) == made

    @given(FILES, st.data())
    def test_a_changed_byte_is_named(self, files, data):
        """Flip any byte of any file: that file is named, and the byte lies within the span."""
        made = sign(files.items(), KEY)
        name = data.draw(st.sampled_from([name for name, content in files.items() if content] or [None]))
        if name is None:
            return
        place = data.draw(st.integers(0, len(files[name]) - 1))
        content = bytearray(files[name])
        content[place] ^= 1
        (change,) = differences(made, files | {name: bytes(content)})
        assert (change.name, change.change) == (name, "changed")
        assert change.first_byte <= place <= change.last_byte < len(content)
        assert change.last_byte - change.first_byte < CHUNK_BYTES

    @given(FILES, st.data())
    def test_a_file_more_or_less_is_named(self, files, data):
        """A file that went or came is named as such."""
        made = sign(files.items(), KEY)
        name = data.draw(st.sampled_from(sorted(files)))
        fewer = {key: content for key, content in files.items() if key != name}
        assert [(one.name, one.change) for one in differences(made, fewer)] == [(name, "missing")]
        assert [(one.name, one.change) for one in differences(made, files | {"x": b""})] == [("x", "added")]

    @given(FILES)
    def test_another_list_or_key_is_false(self, files):
        """Neither the list of files nor the key can be exchanged under a signature."""
        made = sign(files.items(), KEY)
        public = sign(files.items(), OTHER).public_key
        assert not is_genuine(made.model_copy(update={"public_key": public}))
        first = made.files[0].model_copy(update={"size_bytes": made.files[0].size_bytes + 1})
        assert not is_genuine(made.model_copy(update={"files": (first, *made.files[1:])}))
        assert not is_genuine(made.model_copy(update={"files": made.files[1:]}))

    def test_a_longer_file_is_named(self):
        """Appended bytes are a change at the end."""
        made = sign([("a", b"x" * CHUNK_BYTES)], KEY)
        (change,) = differences(made, {"a": b"x" * (CHUNK_BYTES + 1)})
        assert (change.first_byte, change.last_byte) == (CHUNK_BYTES, CHUNK_BYTES)


class TestBundle:
    def test_signs_everything_but_itself(self, tmp_path):
        """Signed twice, the signature does not cover the first one; the bundle stays as it was."""
        (tmp_path / "models").mkdir()
        (tmp_path / "submission.json").write_text("{}")
        (tmp_path / "models" / "llama.json").write_text("{}")
        first = signatures.sign_bundle(tmp_path, KEY)
        second = signatures.sign_bundle(tmp_path, KEY)
        assert first == second == Signature.read(tmp_path / SIGNATURE)
        assert [file.name for file in first.files] == ["models/llama.json", "submission.json"]

    @pytest.mark.parametrize("target", ["/etc", "/etc/passwd", "nowhere"])
    def test_a_link_is_not_signed(self, tmp_path, target):
        """What leads out of the bundle is refused."""
        (tmp_path / "x").symlink_to(target)
        with pytest.raises(UsageError, match="plain files"):
            signatures.sign_bundle(tmp_path, KEY)

    def test_no_folder_is_a_usage_error(self, tmp_path):
        """The path is named."""
        with pytest.raises(UsageError, match="nowhere"):
            signatures.bundle_files(tmp_path / "nowhere")


class TestKeys:
    def test_a_new_key_is_its_owners_alone(self, tmp_path):
        """The private half is not readable by others, and the public half belongs to it."""
        public = signatures.new_key(tmp_path / "keys" / "mine")
        assert stat.S_IMODE((tmp_path / "keys" / "mine").stat().st_mode) == 0o600
        key = signatures.read_private_key(tmp_path / "keys" / "mine")
        assert key.public_key().public_bytes_raw().hex() == signatures.read_public_key(public)

    @pytest.mark.parametrize("standing", ["mine", "mine.pub"])
    def test_no_key_is_ever_replaced(self, tmp_path, standing):
        """A file that is there stays as it is, and nothing is written beside it."""
        (tmp_path / standing).write_text("precious")
        with pytest.raises(UsageError, match="never replaced"):
            signatures.new_key(tmp_path / "mine")
        assert [path.name for path in tmp_path.iterdir()] == [standing]
        assert (tmp_path / standing).read_text() == "precious"

    @pytest.mark.parametrize(
        "content", [b"", b"\xff\xfe", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"]
    )
    def test_what_is_no_key_is_a_usage_error(self, tmp_path, content):
        """The file and what was expected are named, as either half."""
        (tmp_path / "key").write_bytes(content)
        for read in (signatures.read_private_key, signatures.read_public_key):
            with pytest.raises(UsageError, match=r"key: expected a key"):
                read(tmp_path / "key")

    def test_the_halves_are_told_apart(self, tmp_path):
        """A public key signs nothing."""
        public = signatures.new_key(tmp_path / "mine")
        with pytest.raises(UsageError, match="expected a key"):
            signatures.read_private_key(public)
