# ruff: noqa: RUF001 - Chinese punctuation is meant
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.corpora.filters.chinese import ChineseProse
from harness.corpora.filters.code_relevance import CodeRelevant, code_relevance, listed_domain
from harness.corpora.filters.heuristics import Prose

PROSE = "The old house by the river had a garden that people liked to visit, and they came back with friends. " * 4
ZH = "这座老房子在河边，有一个很大的花园。很多人喜欢在周末来这里散步，和朋友们一起喝茶、聊天。"
CHINESE = ZH * 2


class TestProse:
    def test_prose_stays(self):
        """Plain sentences break no rule."""
        assert Prose()(PROSE).text == PROSE

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("Too short.", "few words"),
            ("", "few words"),
            (PROSE * 1500, "many words"),
            ("a b c d e f g. " * 20, "mean word length"),
            (f"{PROSE}{'12 34 5678 ' * 10}", "words without a letter"),
            ("Red shirts, blue shirts, green shirts. Large sizes. " * 20, "stop words"),
            (f"{PROSE}{'#a ' * 20}", "hashes"),
            (f"{PROSE}{'well... ' * 20}", "ellipses"),
            (PROSE.replace("The", "\n- The"), "lines with bullets"),
            (f"{PROSE.strip()}\nthe end of it…\nand then…", "lines with ellipses"),
            (PROSE.replace(".", ","), "few sentences"),
            (f"{PROSE} Lorem ipsum dolor.", "placeholder text"),
        ],
    )
    def test_each_rule_drops_its_document(self, text, reason):
        """A document that breaks one rule goes for that reason."""
        assert Prose()(text).reason == reason

    @given(st.text(max_size=400))
    def test_any_text_has_a_verdict(self, text):
        """Nothing breaks it, nothing is changed, and a reason stands with every drop."""
        for judge in (Prose(fewest_words=0), ChineseProse(fewest_characters=0), CodeRelevant()):
            verdict = judge(text)
            assert (verdict.text == text) == (verdict.reason is None)

    @given(st.integers(50, 120))
    def test_looser_bounds_drop_nothing_more(self, fewest):
        """A document that stays under a bound stays under a looser one."""
        if Prose(fewest_words=fewest)(PROSE).text is not None:
            assert Prose(fewest_words=fewest - 1)(PROSE).text is not None


class TestChineseProse:
    def test_prose_stays(self):
        """Plain sentences break no rule."""
        assert ChineseProse()(CHINESE).text == CHINESE

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (ZH[:20], "few Chinese characters"),
            (CHINESE + "plain English words " * 10, "other scripts"),
            (CHINESE.replace("，", "").replace("。", "").replace("、", ""), "punctuation"),
            (CHINESE + "！" * 40, "punctuation"),
            ("张伟王芳李娜刘洋陈静杨帆赵磊黄蓉，周杰吴刚徐丽孙浩马超朱红。" * 3, "function words"),
            (CHINESE.replace("。", "，"), "few sentences"),
            ("这是好的。我不在了。" * 20, "mean sentence length"),
        ],
    )
    def test_each_rule_drops_its_document(self, text, reason):
        """A document that breaks one rule goes for that reason."""
        assert ChineseProse(smallest_chinese_share=0.5)(text).reason == reason

    def test_sentences_need_a_structure(self):
        """Slogans without a comma or a function word are not prose, however many there are."""
        slogans = (
            "欢迎光临本店选购商品。全场特价优惠酬宾活动。" * 3 + "我们的老客户和新客户都在这里购物的时候得到了优惠。"
        )
        assert ChineseProse()(slogans).reason == "sentence structure"


class TestCodeRelevance:
    @pytest.mark.parametrize(
        "text",
        [
            "In Python a dictionary is a hash table; debugging a recursive function needs the stack and a debugger.",
            "My project is at www.github.com/someone and has a long story about the sea.",
            "Look:\n\ndef f(x):\n    return x + 1\n\nimport math\n",
        ],
    )
    def test_words_domains_and_code_each_suffice(self, text):
        """Any of the three signs is enough."""
        assert CodeRelevant()(text).text == text

    @pytest.mark.parametrize("text", [PROSE, "The class of 2010 had a function at the library.", ""])
    def test_everyday_words_do_not(self, text):
        """A few words that programming shares with the rest of life are not."""
        assert CodeRelevant()(text).reason == "not about code"

    def test_the_address_counts(self):
        """The page's domain is enough by itself, and is named."""
        found = code_relevance(PROSE, url="https://gist.github.com/x")
        assert found.domain == "github.com"
        assert CodeRelevant().relevant(found)

    @pytest.mark.parametrize(
        ("host", "domain"),
        [("github.com", "github.com"), ("a.b.github.com", "github.com"), ("notgithub.com", None), ("com", None)],
    )
    def test_subdomains_count_and_lookalikes_do_not(self, host, domain):
        """A host belongs to an entry at a dot only."""
        assert listed_domain(host) == domain

    def test_keywords_are_whole_words(self):
        """No keyword inside another word; signs that belong to it count."""
        assert code_relevance("pythonic classes, capital").keywords == ()
        assert code_relevance("C++ and C# or Node.js!").keywords == ("c#", "c++", "node.js")
