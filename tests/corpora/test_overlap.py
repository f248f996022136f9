"""Passes add up: whichever way the text of a step is parted, its overlap with the scored tasks is the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.corpora.contamination import GRAM_CHARACTERS, GRAM_WORDS, Lookup, Scanner, sketch
from harness.corpora.evaluation_sets import EvaluationText
from harness.corpora.ledger import Ledger, LedgerEntry, ScannedEntry
from harness.corpora.overlap import MAX_EXAMPLES, merged

LONG = [f"w{number}" for number in range(3 * GRAM_WORDS)]
PASSAGE = "".join(chr(0x4E00 + number) for number in range(2 * GRAM_CHARACTERS))
ITEMS = (
    EvaluationText(task="gsm8k", item="test.jsonl:1", segments=(" ".join(LONG),)),
    EvaluationText(task="gsm8k", item="test.jsonl:2", segments=("nine short words that stand here all alone today",)),
    EvaluationText(task="chid", item="dev.json:1", segments=(PASSAGE,)),
)
SKETCH = sketch(ITEMS)
TEXTS = st.lists(
    st.one_of(
        st.builds(lambda a, b: " ".join(LONG[a:b]), st.integers(0, 30), st.integers(10, 39)),
        st.builds(lambda a, b: PASSAGE[a:b], st.integers(0, 10), st.integers(10, 26)),
        st.sampled_from(("", "nothing", ITEMS[1].segments[0])),
    ),
    max_size=12,
)


def scanned(texts, lookup=None):
    scanner = Scanner(lookup or SKETCH)
    for text in texts:
        scanner.add(text)
    return scanner


def entry(texts, **fields):
    values = {
        "data": "c4",
        "hub_id": "allenai/c4",
        "revision": "abc",
        "origin": "local",
        "split": "train",
        "first_row": 0,
        "last_row": len(texts),
        "sample_count": len(texts),
        "token_count": 1,
        "text_digest": "0" * 64,
    }
    return ScannedEntry.model_validate({**values, "matches": scanned(texts).matches(), **fields})


class TestMerged:
    @given(TEXTS, st.integers(0, 12))
    def test_two_passes_are_one(self, texts, cut):
        """An item of which each pass has a part is counted as if it had been read at once; places go on counting."""
        parts = texts[:cut], texts[cut:]
        whole = scanned(texts).overlaps()
        assert merged([(0, scanned(parts[0]).matches()), (len(parts[0]), scanned(parts[1]).matches())]) == whole

    @given(TEXTS)
    def test_the_same_text_again_holds_no_more(self, texts):
        """A second pass over the same rows adds samples and nothing else."""
        once, twice = scanned(texts).overlaps(), scanned(texts * 2).overlaps()
        for first, second in zip(once, twice, strict=True):
            assert (second.held_count, second.touched_count) == (first.held_count, first.touched_count)
            assert second.sample_count == 2 * first.sample_count

    def test_halves_in_two_passes_hold_an_item(self):
        """Neither pass holds it, the step does."""
        halves = [" ".join(LONG[:21]), " ".join(LONG[18:])]
        assert [one.held_count for half in halves for one in scanned([half]).overlaps() if one.task == "gsm8k"] == [
            0,
            0,
        ]
        together = {one.task: one for one in Ledger(entries=tuple(entry([half]) for half in halves)).overlaps()}
        assert (together["gsm8k"].held_count, together["gsm8k"].sample_count) == (1, 2)
        assert [example.sample for example in together["gsm8k"].examples] == [0, 1]

    def test_examples_stay_few(self):
        """However many places there are, the record has the first ones."""
        passes = [(number, scanned([PASSAGE] * 15).matches()) for number in (0, 15)]
        chid = next(one for one in merged(passes) if one.task == "chid")
        assert [example.sample for example in chid.examples] == list(range(MAX_EXAMPLES))
        assert chid.sample_count == 30


class TestLookup:
    @given(TEXTS)
    def test_the_short_cut_finds_what_the_long_way_finds(self, texts):
        """Looking for first words first loses nothing: an item is touched if and only if a run of it stands there."""
        lookup = Lookup(SKETCH)
        for text in texts:
            touched = {owner for owner, _ in lookup.found(text)}
            words, runs = text.split(), {tuple(LONG[n : n + GRAM_WORDS]) for n in range(len(LONG) - GRAM_WORDS + 1)}
            has_long = any(tuple(words[n : n + GRAM_WORDS]) in runs for n in range(len(words)))
            has_passage = any(text[n : n + GRAM_CHARACTERS] in PASSAGE for n in range(len(text) - GRAM_CHARACTERS + 1))
            assert touched == {n for n, one in enumerate((has_long, text == ITEMS[1].segments[0], has_passage)) if one}

    def test_is_shared(self):
        """What one scanner found is not another's."""
        lookup = Lookup(SKETCH)
        assert scanned([PASSAGE], lookup).overlaps() == scanned([PASSAGE], lookup).overlaps()
        assert not any(one.touched_count for one in scanned(["nothing"], lookup).overlaps())


class TestLedger:
    @given(TEXTS)
    def test_survives_the_file(self, texts):
        """Written and read back, as between processes, it has the same entries and counts the same."""
        ledger = Ledger(entries=(entry(texts), entry(texts).plain()))
        read = Ledger.model_validate_json(ledger.model_dump_json())
        assert read == ledger
        assert read.overlaps() == ledger.overlaps()

    def test_files_plain_entries(self):
        """The record has one count for a step, so what each pass saw is left out."""
        (plain,) = Ledger(entries=(entry(["nothing"]),)).plain_entries()
        assert type(plain) is LedgerEntry
        assert plain.sample_count == 1

    @pytest.mark.parametrize("entries", [(), (entry(["nothing"]).plain(),)])
    def test_says_nothing_where_nobody_looked(self, entries):
        """No scanned entry, no counts: that is not the same as counts of zero."""
        assert Ledger(entries=entries).overlaps() == ()
