"""Filters: what goes, what stays, and that they are functions of what they are shown."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.corpora.filters.cascade import EXAMPLES, Cascade, Counts
from harness.corpora.filters.exact import ExactDuplicates
from harness.corpora.filters.hashing import gram_hashes, word_hashes
from harness.corpora.filters.near import NearDuplicates
from harness.corpora.filters.repetition import (
    LARGEST_DUPLICATE,
    LARGEST_TOP,
    WORD,
    Repetition,
    duplicate_share,
    measures,
    repeated_shares,
    top_share,
)
from harness.corpora.filters.settings import FilterSettings, filters_of, settings_key
from harness.corpora.filters.urls import UrlLines
from harness.corpora.filters.verdict import dropped
from harness.corpora.filters.words import SensitiveWords, default_words, parse_words
from harness.corpora.rows import Sample
from harness.errors import UsageError

PURE = (UrlLines(), SensitiveWords(default_words()), Repetition())
WORDS = st.sampled_from(["sun", "rain", "the", "on", "a", "cloud", "春", "雨", "tree", "goes"])
TEXTS = st.lists(WORDS, min_size=1, max_size=60).map(" ".join)


def sample(text, row=0):
    return Sample(text=text, prompt=None, data="c4", row=row)


def words(count, seed=0):
    rng = np.random.default_rng(seed)
    return [f"w{number}" for number in rng.integers(0, 10**6, count)]


class TestUrlLines:
    @pytest.mark.parametrize(
        "line",
        [
            "see https://a.b/c",
            "www.example.xyz is it",
            "write to example.com/me",
            "Shop.co.uk",
            "(http://x)",
            "t.cn",
            "请看www.a.cn",
        ],
    )
    def test_finds(self, line):
        """Schemes, www and names of the web."""
        verdict = UrlLines()(f"first line\n{line}\nlast line")
        assert verdict.text == "first line\nlast line"
        assert verdict.reason == "lines with a URL"

    @pytest.mark.parametrize(
        "line", ["It rained.The sun came", "3.14 and 2.org7x", "wait...", "e.g. this", "a.b.c", "he said.com-mon sense"]
    )
    def test_lets_be(self, line):
        """Full stops, numbers and abbreviations are no URLs."""
        assert UrlLines()(line).text == line

    def test_drops_lists_of_links(self):
        """Where most lines are links, the rest is no text either."""
        text = "Links\n" + "\n".join(f"http://a.com/{number}" for number in range(5))
        assert UrlLines()(text).text is None

    @given(TEXTS)
    def test_what_is_left_has_none(self, text):
        """Whatever is left is a part of the lines, in order, and passes again unchanged."""
        mixed = f"{text}\nwww.{text.split()[0]}.com now\n{text}"
        left = UrlLines()(mixed).text
        assert left == f"{text}\n{text}"
        assert UrlLines()(left).reason is None


class TestSensitiveWords:
    def test_whole_words_in_any_case(self):
        """A word inside another is another word."""
        find = SensitiveWords(["bad word", "evil"])
        assert find("A BAD WORD here").text is None
        assert find("devilish, evildoer").reason is None
        assert find("Evil.").evidence == "evil"
        assert find("看evil片").text is None

    def test_chinese_anywhere(self):
        """Chinese has no spaces to look for."""
        assert SensitiveWords(["博彩"])("网上博彩公司").text is None

    def test_counts_each_time(self):
        """As many as are let pass, and not one more."""
        find = SensitiveWords(["evil"], largest_count=2)
        assert find("evil evil").reason is None
        assert find("evil evil evil").text is None

    def test_an_empty_list_is_refused(self):
        """It would match everywhere."""
        with pytest.raises(ValueError, match="empty"):
            SensitiveWords(["", "  "])

    def test_list_has_notes(self):
        """Lines that begin with # say something about the list."""
        assert parse_words("# ours\n\na b\n  c\n") == ("a b", "c")
        assert len(default_words()) > 10
        assert not any(word.startswith("#") for word in default_words())


def slow_duplicate_share(listed, size):
    grams = [tuple(listed[start : start + size]) for start in range(len(listed) - size + 1)]
    inside = {
        place for start, gram in enumerate(grams) if grams.count(gram) > 1 for place in range(start, start + size)
    }
    return sum(len(listed[place]) for place in inside) / sum(map(len, listed))


class TestRepetition:
    def test_plain_text_passes(self):
        """Different words in different lines break no rule."""
        assert Repetition()("\n".join(" ".join(words(8, seed)) for seed in range(30))).reason is None

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("\n".join(["one two three"] * 4 + words(5)), "repeated lines"),
            ("\n".join(["a long line " + " ".join(words(9))] * 2 + words(8)), "characters in repeated lines"),
            ("\n\n".join(["x"] * 4) + "\n\n" + "\n".join(words(30)), "repeated paragraphs"),
            (" ".join(["buy now", *words(4)] * 1 + ["buy now"] * 5), "most frequent 2-gram"),
        ],
    )
    def test_names_the_rule(self, text, reason):
        """What repeats itself goes, and the reason says how."""
        assert Repetition()(text).reason == reason

    @given(st.lists(WORDS, min_size=1, max_size=40), st.integers(2, 6))
    def test_duplicate_share_by_counting(self, listed, size):
        """The share is what one finds by writing every n-gram down."""
        lengths = np.array([len(word) for word in listed])
        fast = duplicate_share(gram_hashes(word_hashes(listed), size), lengths, size)
        expected = slow_duplicate_share(listed, size) if len(listed) >= size else 0.0
        assert fast == pytest.approx(expected)

    @given(st.lists(WORDS, min_size=2, max_size=40))
    def test_shares_are_shares(self, listed):
        """Every measure lies between 0 and 1, and is 0 where nothing occurs twice."""
        for _, share, bound in measures("\n".join(listed)):
            assert 0 <= share <= 1
            assert 0 < bound < 1
        if len(set(listed)) == len(listed):
            assert all(share == 0 for _, share, _ in measures(" ".join(listed)))

    def test_all_rules_are_there(self):
        """Lines and paragraphs by count and by characters, n-grams of 2 to 10 words."""
        assert len(list(measures("a b c"))) == 4 + len(LARGEST_TOP) + len(LARGEST_DUPLICATE) == 13

    def test_overlaps_count_once(self):
        """A word in two n-grams is one word."""
        listed = ["a", "a", "a", "a"]
        lengths = np.ones(4, dtype=np.int64)
        assert top_share(gram_hashes(word_hashes(listed), 2), lengths, 2) == 1.0

    def test_repeated_shares(self):
        """The first of equal parts is no repetition."""
        assert repeated_shares(["aa", "b", "aa", "aa"]) == (0.5, pytest.approx(4 / 7))
        assert repeated_shares([]) == (0.0, 0.0)

    def test_chinese_characters_are_words(self):
        """So that Chinese repeats itself too."""
        assert WORD.findall("今天rain 天") == ["今", "天", "rain", "天"]
        assert Repetition()("今天很好" * 12).text is None


class TestExactDuplicates:
    @given(st.lists(TEXTS, max_size=20))
    def test_keeps_each_once(self, texts):
        """Exactly the first of equal documents stays."""
        find = ExactDuplicates()
        left = [text for text in texts if find(text).text is not None]
        assert left == list(dict.fromkeys(texts))

    def test_case_and_spaces_aside(self):
        """A document set otherwise is the same."""
        find = ExactDuplicates()
        assert find("The Sun\n rises").reason is None
        assert find("the sun rises ").text is None

    def test_memory_is_bounded(self):
        """Past its capacity it remembers no more, and still knows what it remembers."""
        find = ExactDuplicates(capacity=2)
        verdicts = [find(text).text is None for text in ("a", "b", "c", "c", "a")]
        assert verdicts == [False, False, False, False, True]


class TestNearDuplicates:
    def test_finds_what_is_nearly_the_same(self):
        """One word in two hundred makes no other document; other words do."""
        find, listed = NearDuplicates(), words(200)
        assert find(" ".join(listed)).reason is None
        assert find(" ".join([*listed[:77], "other", *listed[78:]])).text is None
        assert find(" ".join(words(200, seed=1))).reason is None

    def test_signatures_estimate_the_overlap(self):
        """Two documents share as many smallest values as their sets of n-grams overlap (Jaccard)."""
        find = NearDuplicates(bands=64, rows=16, gram_words=1)
        first, second = words(300), [*words(300)[:200], *words(100, seed=1)]
        overlap = len({*first} & {*second}) / len({*first} | {*second})
        shared = (find.signature(" ".join(first)) == find.signature(" ".join(second))).mean()
        assert abs(shared - overlap) < 4 * np.sqrt(overlap * (1 - overlap) / 1024)

    @pytest.mark.parametrize(("overlap", "least", "most"), [(0.95, 0.95, 1.0), (0.3, 0.0, 0.05)])
    def test_finds_as_often_as_computed(self, overlap, least, most):
        """Near ones nearly always, others nearly never."""
        found = 0
        for seed in range(60):
            shared = round(200 * 2 * overlap / (1 + overlap))
            listed, other = words(200, seed), words(200, 1000 + seed)
            find = NearDuplicates(gram_words=1, seed=seed)
            find(" ".join(listed))
            found += find(" ".join([*listed[:shared], *other[shared:]])).text is None
        assert least <= found / 60 <= most

    def test_short_and_empty(self):
        """A document shorter than an n-gram is compared as it is."""
        find = NearDuplicates()
        assert [find(text).text is None for text in ("one two", "one two", "one three", "。", "。")] == [
            False,
            True,
            False,
            False,
            True,
        ]

    def test_memory_is_bounded(self):
        """Past its capacity it remembers no more."""
        find = NearDuplicates(capacity=1)
        first, second = (" ".join(words(50, seed)) for seed in (0, 1))
        assert [find(text).text is None for text in (first, second, second, first)] == [False, False, False, True]

    def test_long_documents_in_pieces(self, monkeypatch):
        """How many n-grams are hashed at once does not change the result."""
        whole = NearDuplicates().signature(" ".join(words(300)))
        monkeypatch.setattr("harness.corpora.filters.near.CHUNK_GRAMS", 7)
        assert (NearDuplicates().signature(" ".join(words(300))) == whole).all()


class TestEveryFilter:
    @given(TEXTS)
    def test_verdicts_are_functions(self, text):
        """The same document, the same verdict; what is kept is a part of it; only what changes has a reason."""
        for each in PURE:
            verdict = each(text)
            assert each(text) == verdict
            assert (verdict.reason is None) is (verdict.text == text)


class TestCascade:
    def test_counts_add_up(self):
        """What came in was kept or dropped by exactly one filter, with a few examples of each reason."""
        counts = Counts()
        run = Cascade(filters_of(FilterSettings()), counts)
        texts = [" ".join(words(60, seed)) for seed in range(10)]
        texts += texts[:7] + ["casino bonus " * 2] * 2 + [f"{texts[0]} x\nhttp://a.com", "http://a.com"]
        left = [made for row, text in enumerate(texts) if (made := run(sample(text, row))) is not None]
        report = counts.report()
        assert report.seen == len(texts)
        assert report.kept == len(left) == 10
        assert report.seen - report.kept == sum(reason.dropped for reason in report.reasons)
        assert report.characters_kept == sum(len(made.text) for made in left)
        exact = next(reason for reason in report.reasons if reason.filter == "exact duplicates")
        assert exact.dropped == 7
        assert len(exact.examples) == EXAMPLES

    def test_a_shortened_document_goes_on_shortened(self):
        """The next filter sees what the one before left."""
        counts, seen = Counts(), []

        class Watch:
            name = "watch"

            def __call__(self, text):
                seen.append(text)
                return dropped("watched")

        assert Cascade([UrlLines(), Watch()], counts)(sample("a b\nc d\nhttp://x.y")) is None
        assert seen == ["a b\nc d"]
        assert [(reason.filter, reason.dropped, reason.shortened) for reason in counts.report().reasons] == [
            ("urls", 0, 1),
            ("watch", 1, 0),
        ]


class TestSettings:
    def test_all_can_be_switched_off(self):
        """Then everything passes."""
        off = FilterSettings(urls=False, words=False, repetition=False, exact_duplicates=False, near_duplicates=False)
        assert filters_of(off) == ()
        assert len(filters_of(FilterSettings())) == 5

    def test_a_list_of_ones_own(self, tmp_path):
        """Its words count, and its content is part of the key, its place is not."""
        for name in ("one", "two"):
            (tmp_path / name).write_text("grue\n")
        settings = [FilterSettings(words_file=str(tmp_path / name)) for name in ("one", "two")]
        assert filters_of(settings[0])[1]("a GRUE").text is None
        assert settings_key(settings[0]) == settings_key(settings[1]) != settings_key(FilterSettings())

    @pytest.mark.parametrize("content", [None, "# nothing\n"])
    def test_a_list_that_is_none(self, tmp_path, content):
        """The message has the path and the way out."""
        path = tmp_path / "words.txt"
        if content is not None:
            path.write_text(content)
        with pytest.raises(UsageError, match=re.escape(str(path))):
            filters_of(FilterSettings(words_file=str(path)))
