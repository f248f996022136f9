"""Pickles are named by what they would run; what only looks like one is left alone."""

from __future__ import annotations

import collections
import json
import pickle
import pickletools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.structured.files import modeling_bytes
from harness.validation.foreign.pickles import find_opcode, find_pickle
from harness.validation.run import validate
from tests.hostile.corpus import Bait
from tests.hostile.packing import zipped
from tests.validation.violations_foreign import CONFIG, MODEL, package_files, write


class TestFindOpcode:
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_names_the_call_in_every_protocol(self, protocol):
        """Whatever the protocol, the function that would be called is named, at its byte."""
        content = pickle.dumps(Bait(), protocol=protocol)
        found = find_opcode(content)
        opcodes = {at: opcode.name for opcode, _, at in pickletools.genops(content)}
        assert "system" in found.opcode
        assert opcodes[found.byte_offset] in {"GLOBAL", "STACK_GLOBAL"}

    def test_names_the_first_of_several(self):
        """An ordered dictionary before the attack does not hide it: the first fetch is named."""
        found = find_opcode(pickle.dumps([collections.OrderedDict(a=1), Bait()], protocol=2))
        assert found.opcode == "GLOBAL 'collections OrderedDict'"

    @given(st.recursive(st.integers() | st.text() | st.binary(), st.lists))
    def test_plain_data_calls_nothing(self, value):
        """A pickle of plain data is a pickle, and said to call nothing."""
        found = find_opcode(pickle.dumps(value, protocol=4))
        assert found.opcode == "no call in what was scanned"

    @given(st.integers(0, 2**32 - 1))
    @example(8214)  # begins like an opcode and holds an escape that Python warns of
    def test_raw_weights_are_none(self, seed):
        """A shard of random FP16 weights is no pickle."""
        weights = np.random.default_rng(seed).standard_normal(500).astype("<f2").tobytes()
        assert find_opcode(weights) is None


class TestFindPickle:
    def test_in_a_checkpoint_that_pytorch_would_write(self, tmp_path):
        """The member is named; the tensors beside it are not read."""
        (tmp_path / "a.pt").write_bytes(zipped(("a/data/0", bytes(99)), ("a/data.pkl", pickle.dumps(Bait()))))
        assert find_pickle(tmp_path / "a.pt").member == "a/data.pkl"

    def test_a_link_is_not_followed(self, tmp_path):
        """A link to a pickle is a link."""
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(Bait()))
        (tmp_path / "b.pkl").symlink_to(tmp_path / "a.pkl")
        assert find_pickle(tmp_path / "b.pkl") is None

    def test_the_shards_of_a_package_are_none(self, tmp_path):
        """MLC's .bin files hold raw tensors."""
        write(tmp_path, package_files())
        assert "hostile.pickle" not in {one.rule for one in validate(tmp_path).findings}


class TestOurModelingFile:
    AUTO_MAP = {
        "AutoConfig": "modeling_structured.StructuredConfig",
        "AutoModelForCausalLM": "modeling_structured.StructuredForCausalLM",
    }

    def files(self):
        return MODEL | {
            "config.json": json.dumps(CONFIG | {"auto_map": self.AUTO_MAP}),
            "modeling_structured.py": modeling_bytes(),
        }

    def found(self, folder, files):
        write(folder, files)
        return {one.place.file for one in validate(folder).findings if one.rule == "hostile.remote_code"}

    def test_is_no_strangers_code(self, tmp_path):
        """Byte for byte ours, it is not reported."""
        assert self.found(tmp_path, self.files()) == set()

    def test_changed_by_a_byte_it_is(self, tmp_path):
        """Any other file of that name is a stranger's, and so is what asks for it."""
        changed = {"modeling_structured.py": modeling_bytes() + b"\n"}
        assert self.found(tmp_path, self.files() | changed) == {"modeling_structured.py", "config.json"}

    def test_covers_nothing_beside_it(self, tmp_path):
        """Other modules in the folder are reported all the same."""
        assert self.found(tmp_path, self.files() | {"evil.py": "x"}) == {"evil.py"}
