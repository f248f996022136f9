"""Leaks are found: what is verbatim always, in English and Chinese, and what is merely alike never."""

from __future__ import annotations

import gzip
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.corpora.contamination import (
    GRAM_CHARACTERS,
    GRAM_WORDS,
    MIN_WORDS,
    TEMPLATE_ITEMS,
    Scanner,
    contamination,
    sketch,
)
from harness.corpora.evaluation_sets import EvaluationText, evaluation_texts
from harness.errors import UsageError
from harness.pico.tasks import write

WORDS = st.lists(st.text("abcdefgh", min_size=2, max_size=6), min_size=GRAM_WORDS, max_size=40)
CHARACTERS = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), min_size=GRAM_CHARACTERS, max_size=40)


def item(text, task="gsm8k", name="test.jsonl:1"):
    return EvaluationText(task=task, item=name, segments=(text,))


def held(texts, items):
    return sum(overlap.held_count for overlap in contamination(texts, items))


class TestContamination:
    @given(WORDS, st.text(max_size=30), st.text(max_size=30))
    def test_an_english_leak_is_found(self, words, before, after):
        """A verbatim item is held, whatever stands around it, in other case and with other marks between the words."""
        text = f"{before}\n{', '.join(words).upper()}. {after}"
        assert held(["nothing", text], [item(" ".join(words))]) == 1

    @given(CHARACTERS, CHARACTERS)
    def test_a_chinese_leak_is_found(self, passage, around):
        """The same for Chinese, with marks and spaces between the characters."""
        text = "。".join((around, "、".join(passage), around))
        assert held([text], [item(passage, task="chid")]) == 1

    @given(WORDS, CHARACTERS)
    def test_a_leak_in_mixed_text_is_found(self, words, passage):
        """Characters in an English text and words in a Chinese one are looked for all the same."""
        items = [item(" ".join(words)), item(passage, task="chid", name="x:1")]
        assert held([f"{' '.join(words)} {passage}"], items) == 2

    @given(st.lists(st.integers(0, 10**6), min_size=20, max_size=60, unique=True))
    def test_other_words_are_no_leak(self, numbers):
        """A text without a run of the item's words touches nothing, though it has every one of them."""
        words = [f"word{number}" for number in numbers]
        (overlap,) = contamination([" ".join(words[::-1])], [item(" ".join(words))])
        assert (overlap.touched_count, overlap.held_count, overlap.sample_count) == (0, 0, 0)

    @pytest.mark.parametrize("count", range(MIN_WORDS - 1, GRAM_WORDS + 2))
    def test_a_short_question_is_looked_for_whole(self, count):
        """Below a gram, a question counts from eight words on; less than that says nothing."""
        question = " ".join(f"w{number}" for number in range(count))
        found = contamination([f"so {question} they asked"], [item(question)])
        assert sum(one.held_count for one in found) == (count >= MIN_WORDS)
        assert sum(one.item_count for one in found) == (count >= MIN_WORDS)

    def test_a_part_touches_and_does_not_hold(self):
        """One gram of a long item is a touch; half of its grams are the item."""
        words = [f"w{number}" for number in range(200)]
        (overlap,) = contamination([" ".join(words[:GRAM_WORDS])], [item(" ".join(words))])
        assert (overlap.touched_count, overlap.held_count) == (1, 0)
        (overlap,) = contamination([" ".join(words[:120])], [item(" ".join(words))])
        assert (overlap.touched_count, overlap.held_count) == (1, 1)

    def test_a_template_is_no_leak(self):
        """What many items of a task share is not looked for; what is an item's own is."""
        head = " ".join(f"head{number}" for number in range(GRAM_WORDS))
        items = [
            item(f"{head} {' '.join(f'own{n}x{k}' for k in range(GRAM_WORDS))}", name=f"x:{n}")
            for n in range(TEMPLATE_ITEMS + 1)
        ]
        assert held([head], items) == 0
        assert held([items[2].segments[0]], items) == 1

    def test_nothing_is_looked_for_across_a_blank(self):
        """The two sides of a blank do not make a gram."""
        first, second = ("甲乙丙丁戊己庚", "辛壬癸子丑寅卯")
        cut = EvaluationText(task="chid", item="x:1", segments=(first, second))
        assert contamination([first + second], [cut]) == ()
        assert held([first + second], [item(first + second, task="chid")]) == 1

    def test_names_item_and_sample(self):
        """A finding can be looked up: which item, in which text."""
        texts = ["nothing here", "some words", " ".join(f"w{n}" for n in range(20))]
        (overlap,) = contamination(texts, [item(texts[2], name="test.jsonl:12")])
        assert [(one.item, one.sample) for one in overlap.examples] == [("test.jsonl:12", 2)]
        assert overlap.sample_count == 1

    @given(st.lists(st.text(max_size=80), max_size=8))
    def test_any_text_is_scanned(self, texts):
        """Whatever the text, the counts are possible, and one sketch serves several steps."""
        wanted = sketch([item(" ".join(f"w{n}" for n in range(20))), item("甲" * 5 + "乙" * 20, task="chid")])
        assert contamination(texts, wanted) == contamination(texts, wanted)
        for overlap in contamination(texts, wanted):
            assert 0 <= overlap.held_count <= overlap.touched_count <= overlap.item_count

    def test_a_scanner_says_of_each_text(self):
        """Whoever reads through the door can drop the very sample."""
        leak = " ".join(f"w{n}" for n in range(20))
        scanner = Scanner(sketch([item(leak)]))
        assert [scanner.add(text) for text in ("clean", leak, "clean")] == [False, True, False]


class TestEvaluationTexts:
    def test_reads_the_demos_tasks(self, tmp_path):
        """Every task of the edition has items, in the layout that OpenCompass reads."""
        write(tmp_path)
        items = evaluation_texts(tmp_path)
        assert {one.task for one in items} == {"commonsense_qa", "bbh", "gsm8k", "humaneval", "chid", "truthful_qa"}
        assert len({(one.task, one.item) for one in items}) == len(items)
        assert all(any(segment.strip() for segment in one.segments) for one in items)
        assert not any("#idiom" in segment for one in items for segment in one.segments)

    def test_a_missing_task_is_named(self, tmp_path):
        """Half of the sets would give half of an answer."""
        write(tmp_path)
        (tmp_path / "data" / "gsm8k" / "test.jsonl").unlink()
        with pytest.raises(UsageError, match=r"gsm8k/test\.jsonl: expected the items of gsm8k"):
            evaluation_texts(tmp_path)

    def test_other_fields_are_named(self, tmp_path):
        """What OpenCompass could not read either is no evaluation set."""
        write(tmp_path)
        (tmp_path / "data" / "gsm8k" / "test.jsonl").write_text('{"q": 1}\n')
        with pytest.raises(UsageError, match="KeyError"):
            evaluation_texts(tmp_path)


@pytest.fixture(scope="module")
def real(request):
    """The six real sets, sketched once; the folder of training data beside them."""
    import os
    from pathlib import Path

    root = Path(os.environ.get("HARNESS_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (root / "eval" / "data").is_dir():
        pytest.skip("no real data here")
    items = evaluation_texts(root / "eval")
    return root / "train", items, sketch(items)


def rows(path, count):
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        for _, line in zip(range(count), stream, strict=False):
            row = json.loads(line)
            yield row.get("text") or f"{row['instruction']}\n{row['input']}\n{row['output']}"


class TestRealSets:
    def test_every_planted_item_is_held(self, real):
        """Real items in the middle of real documents, every one that is long enough: recall is 1."""
        train, items, wanted = real
        documents = list(rows(train / "c4_en.jsonl.gz", 300))
        places = {place for _, place in wanted.items}
        planted = random.Random(0).sample([one for one in items if one.item in places], 300)
        texts = [
            f"{document[:400]}\n{' '.join(one.segments)}\n{document[400:800]}"
            for one, document in zip(planted, documents, strict=True)
        ]
        known = set(wanted.items)
        found = contamination(texts, wanted)
        looked_for = {(one.task, one.item) for one in planted} & known
        assert sum(one.held_count for one in found) >= len(looked_for)

    @pytest.mark.parametrize("name", ["c4_en.jsonl.gz", "alpaca_zh.jsonl.gz", "alpaca_en.jsonl.gz"])
    def test_clean_text_holds_next_to_nothing(self, real, name):
        """Allowed data as it is: at most one item in a thousand of a task is held."""
        train, _, wanted = real
        for overlap in contamination(rows(train / name, 3000), wanted):
            assert overlap.held_count <= overlap.item_count / 1000
