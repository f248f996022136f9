"""Ids in settings follow their tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import CheckpointCorrupt, UsageError
from harness.surgery.vocabulary.settings import Renumbering, remap_config, token_ids_in

KEEP = (0, 2, 5, 7, 9)


class TestRenumbering:
    @given(keep=st.sets(st.integers(0, 500), min_size=1).map(sorted))
    def test_new_id_is_the_position(self, keep):
        """Old ids come back from new ones by ``keep`` itself, and the order of tokens stays."""
        new_ids = Renumbering.of(keep).new_ids
        assert all(keep[new] == old for old, new in new_ids.items())
        assert sorted(new_ids.values()) == list(range(len(keep)))

    @pytest.mark.parametrize("keep", [(), (1, 1), (2, 1), (-1, 0)])
    def test_what_is_no_selection(self, keep):
        """Kept ids ascend."""
        with pytest.raises(ValueError, match="keep must be ascending"):
            Renumbering.of(keep)


class TestRemapConfig:
    @pytest.mark.parametrize(
        ("key", "old", "new"),
        [
            ("bos_token_id", 5, 2),
            ("eos_token_id", [9, 7], [4, 3]),
            ("pad_token_id", None, None),
            ("pad_token_id", -1, -1),
            ("decoder_start_token_id", 2, 1),
            ("forced_eos_token_id", [2], [1]),
            ("force_words_ids", [[[5, 7], [9]], [[2]]], [[[2, 3], [4]], [[1]]]),
            ("forced_decoder_ids", [[1, 5], [2, None]], [[1, 2], [2, None]]),
            ("suppress_tokens", [-1, 2, 3, 5], [-1, 1, 2]),
            ("begin_suppress_tokens", [3], None),
            ("bad_words_ids", [[2, 5], [2, 3]], [[1, 2]]),
            ("bad_words_ids", [[3]], None),
            ("sequence_bias", [[[2, 5], -1.5], [[3], 2.0]], [[[1, 2], -1.5]]),
            ("sequence_bias", [[[3], 2.0]], None),
            ("max_position_embeddings", 5, 5),
            ("vocab_size", 9, 9),
        ],
    )
    def test_fields(self, key, old, new):
        """Ids are renumbered at any depth; where a dropped token is only kept from coming, it goes; all else stays."""
        assert remap_config({key: old, "other": [5]}, KEEP) == {key: new, "other": [5]}

    @pytest.mark.parametrize(
        "config",
        [
            {"eos_token_id": 3},
            {"eos_token_id": [5, 3]},
            {"bos_token_id": 3},
            {"force_words_ids": [[3]]},
            {"forced_decoder_ids": [[1, 3]]},
        ],
    )
    def test_a_dropped_token_that_must_stay(self, config):
        """What begins or ends a text cannot be given up; the error says where it stands and what to do."""
        with pytest.raises(UsageError, match=r"config.json: \w+: token 3 is not kept; keep it, or name another"):
            remap_config(config, KEEP)

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"eos_token_id": "2"}, "eos_token_id: must be an integer, found '2'"),
            ({"eos_token_id": True}, "eos_token_id: must be an integer, found True"),
            ({"eos_token_id": 2.0}, "must be an integer, found 2.0"),
            ({"eos_token_id": [[[[[2]]]]]}, "lists are read 4 deep, found more"),
            ({"bad_words_ids": [[[[[[2]]]]]]}, "lists are read 4 deep, found more"),
            ({"suppress_tokens": 2}, "must be a list, found 2"),
            ({"sequence_bias": [[2, 1.0]]}, r"must be \[ids, bias\], found a list"),
            ({"forced_decoder_ids": [3]}, r"must be \[position, id\], found 3"),
            ({"forced_decoder_ids": {"1": 3}}, "must be a list, found an object"),
        ],
    )
    def test_what_is_no_id(self, config, message):
        """A field of the wrong type is named, and no deep nesting is followed."""
        with pytest.raises(CheckpointCorrupt, match=message):
            remap_config(config, KEEP)

    @given(ids=st.lists(st.sampled_from(KEEP), min_size=1))
    def test_keeping_all_changes_nothing(self, ids):
        """With every token kept the settings are the same."""
        config = {"eos_token_id": ids, "suppress_tokens": ids, "bad_words_ids": [ids], "bos_token_id": ids[0]}
        assert remap_config(config, range(10)) == config


class TestTokenIdsIn:
    def test_finds_what_must_stay(self):
        """Beginning, ends and forced tokens are found; null, negative and suppressed ids are not."""
        config = {"eos_token_id": [9, 7], "pad_token_id": -1, "bos_token_id": None, "suppress_tokens": [3]}
        assert token_ids_in({**config, "forced_decoder_ids": [[1, 5], [2, None]]}, "config.json") == (9, 7, 5)
