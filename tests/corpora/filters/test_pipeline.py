from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.corpora.contamination import Lookup, sketch
from harness.corpora.evaluation_sets import EvaluationText
from harness.corpora.filters.cascade import Cascade, Counts
from harness.corpora.filters.decontamination import ScoredText, SharedGrams
from harness.corpora.filters.exact import ExactDuplicates
from harness.corpora.filters.heuristics import Prose
from harness.corpora.filters.pipeline import CHUNK, Pipeline
from harness.corpora.filters.urls import UrlLines
from harness.corpora.rows import Sample

QUESTION = "how many apples does the third child of the farmer get when there are twelve in every basket"

LOOSE = {"shortest_mean_word": 0, "fewest_stop_words": 0, "fewest_sentences": 0}


def samples(texts):
    return [Sample(text=text, prompt=None, data="c4", row=row) for row, text in enumerate(texts)]


def words(count):
    return " ".join(f"word{number}" for number in range(count))


class TestPipeline:
    @settings(deadline=None)
    @given(st.lists(st.sampled_from(["a b", "c d e", "see http://a.b/c", "a b\nsee http://x.y/z", ""]), max_size=30))
    def test_is_a_cascade(self, texts):
        """In one process it gives what a cascade of all its filters gives, and counts the same."""
        mine, theirs = Counts(), Counts()
        pure = [UrlLines(), Prose(fewest_words=0, **LOOSE)]
        found = list(Pipeline(pure, [ExactDuplicates()]).sift(samples(texts), mine))
        cascade = Cascade([*pure, ExactDuplicates()], theirs)
        assert found == [left for sample in samples(texts) if (left := cascade(sample)) is not None]
        assert mine.report() == theirs.report()

    def test_processes_change_nothing(self):
        """Two processes give the same samples in the same order and the same counts, also past a chunk's end."""
        texts = [f"{words(3 + n % 50)} {n % 90}" for n in range(2 * CHUNK + 7)]
        results = []
        for processes in (1, 2):
            counts = Counts()
            pipeline = Pipeline([UrlLines(), Prose(fewest_words=20, **LOOSE)], [ExactDuplicates()], processes=processes)
            results.append((list(pipeline.sift(samples(texts), counts)), counts.report()))
        assert results[0] == results[1]
        assert 0 < results[0][1].kept < len(texts)

    def test_reads_no_further_than_it_must(self):
        """One process takes a sample when the one before was given out."""
        taken = []

        def reading():
            for sample in samples(["a", "b", "c"]):
                taken.append(sample.text)
                yield sample

        next(Pipeline([]).sift(reading(), Counts()))
        assert taken == ["a"]

    def test_needs_a_process(self):
        """None is refused."""
        with pytest.raises(ValueError, match="at least 1"):
            Pipeline([], processes=0)


class TestDecontamination:
    def test_a_scored_question_drops_its_document(self):
        """The item is named; other text stays."""
        item = EvaluationText(task="gsm8k", item="test.jsonl:1", segments=(QUESTION,))
        scored = ScoredText(Lookup(sketch([item])))
        verdict = scored(f"Homework. {QUESTION.upper()}?")
        assert (verdict.text, verdict.reason, verdict.evidence) == (None, "gsm8k", "test.jsonl:1")
        assert scored(words(40)).text == words(40)

    @given(st.integers(0, 8), st.integers(1, 18))
    def test_ten_words_in_a_row_are_found(self, start, count):
        """A run of the text as long as a gram is found wherever it begins, a shorter one never."""
        run = QUESTION.split()[start : start + count]
        verdict = SharedGrams([QUESTION], gram_words=10)(f"{words(4)} {', '.join(run)} {words(7)}")
        assert (verdict.text is None) == (len(run) >= 10)

    def test_the_gram_is_shown(self):
        """The evidence is the words themselves."""
        assert SharedGrams([QUESTION])(f"Well: {QUESTION}").evidence == " ".join(QUESTION.split()[:10])

    def test_no_texts_drop_nothing(self):
        """Held against nothing, everything stays."""
        assert SharedGrams([])(QUESTION).text == QUESTION
