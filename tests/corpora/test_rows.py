from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.corpora.rows import HELD_OUT_BUCKETS, Row, is_held_out, parse
from harness.errors import DataNotAllowed

CHINESE = {"instruction_zh": "说出三原色。", "input_zh": "", "output_zh": "红、蓝、黄。"}
ENGLISH = {"instruction": "Name them.", "input": "", "output": "Red, blue, yellow."}


def row(**fields):
    return Row(number=7, place="a.jsonl:8", fields=fields)


class TestParse:
    def test_a_document_has_no_prompt(self):
        """A C4 row is its text; url and timestamp do not matter."""
        (sample,) = parse("c4", row(text="some text", url="u", timestamp=1), "c4").samples
        assert (sample.text, sample.prompt, sample.data, sample.row) == ("some text", None, "c4", 7)

    def test_the_input_stands_below_the_instruction(self):
        """The user's turn is instruction and input on two lines."""
        (sample,) = parse("alpaca", row(instruction="Add.", input="1, 2", output="3"), "alpaca").samples
        assert (sample.prompt, sample.text) == ("Add.\n1, 2", "3")

    @pytest.mark.parametrize("context", [{}, {"input": None}, {"input": ""}])
    def test_a_missing_input_adds_nothing(self, context):
        """No input, whether absent, null or empty, leaves the instruction alone."""
        (sample,) = parse("alpaca", row(instruction="Say hi.", output="hi", **context), "alpaca").samples
        assert sample.prompt == "Say hi."

    def test_a_bilingual_row_gives_chinese_then_english(self):
        """The competition's Alpaca row is two conversations."""
        parsed = parse("alpaca-zh", row(**ENGLISH, **CHINESE), "alpaca")
        assert [sample.text for sample in parsed.samples] == [CHINESE["output_zh"], ENGLISH["output"]]

    @pytest.mark.parametrize("fields", [ENGLISH, CHINESE])
    def test_either_language_alone_will_do(self, fields):
        """A copy that holds one language is read as that."""
        assert len(parse("alpaca-zh", row(**fields), "alpaca").samples) == 1

    @pytest.mark.parametrize(
        ("schema", "fields"),
        [("c4", {"text": " \n"}), ("alpaca", {"instruction": "Say.", "input": "", "output": ""})],
    )
    def test_an_empty_text_is_skipped_and_counted(self, schema, fields):
        """What has no text is no sample, and is not lost from the count either."""
        parsed = parse(schema, row(**fields), "d")
        assert (parsed.samples, parsed.skipped_count) == ((), 1)

    @pytest.mark.parametrize(
        ("schema", "fields", "message"),
        [
            ("c4", {"body": "x"}, "a.jsonl:8: field 'text' must be text, found only body"),
            ("c4", {"text": 3}, "a.jsonl:8: field 'text' must be text, found int"),
            ("alpaca", {"instruction": "Say.", "input": 1, "output": "x"}, "'input' must be text, found int"),
            ("alpaca", {"instruction": "Say."}, "'output' must be text"),
            ("alpaca-zh", {"instruction_zh": "说", "input_zh": ""}, "'output_zh' must be text"),
            ("alpaca-zh", {}, "'instruction' must be text, found only nothing"),
            ("c4", {"text": "\ud800"}, "surrogate"),
        ],
    )
    def test_a_malformed_row_is_an_error_with_its_place(self, schema, fields, message):
        """The message names file, line and field."""
        with pytest.raises(DataNotAllowed, match=f"^a.jsonl:8: .*|{message}") as caught:
            parse(schema, row(**fields), "d")
        assert message in str(caught.value)


class TestHeldOut:
    @given(st.text(min_size=1), st.integers(0, 10**6), st.integers(0, 10**6))
    def test_the_text_alone_decides(self, text, first, second):
        """Equal documents are on one side wherever they stand."""
        keys = {parse("c4", Row(number=n, place="p", fields={"text": text}), "c4").key for n in (first, second)}
        assert len({is_held_out(key) for key in keys}) == 1

    def test_about_one_row_in_32_is_held_out(self):
        """The share is the stated one, to five standard errors."""
        count = sum(is_held_out(f"document {number}") for number in range(32_000))
        assert abs(count - 32_000 / HELD_OUT_BUCKETS) < 5 * 32

    def test_two_answers_to_one_prompt_stay_together(self):
        """The prompt decides for an instruction, not the answer."""
        keys = {parse("alpaca", row(instruction="Say.", input="", output=answer), "a").key for answer in ("one", "two")}
        assert len(keys) == 1
