"""``harness show``: an entry on one screen, and the answers of its models as they can be printed."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from harness.cli import show
from harness.cli.reading import plain
from harness.errors import UsageError
from harness.submission.items import pack
from tests.validation.make import item, make
from tests.validation.violations import ITEMS


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    return make(tmp_path_factory.mktemp("entry"))


@pytest.fixture
def harness():
    app = typer.Typer()
    show.register(app)

    def run(*words, **settings):
        return CliRunner().invoke(app, list(map(str, words)), **settings)

    return run


class TestOverview:
    def test_has_every_model_role_and_column(self, harness, entry):
        """The story in numbers, and how to read the answers."""
        shown = harness(entry.path)
        assert shown.exit_code == 0, shown.exception
        for word in ("llama", "qwen2", "phi", "base", "compressed", "final", "control", "GSM8K", "bits/byte"):
            assert word in shown.stdout
        assert "--task gsm8k --wrong" in shown.stdout

    def test_json_is_the_manifest(self, harness, entry):
        """For scripts."""
        assert json.loads(harness(entry.path, "--json").stdout)["id"] == entry.path.name


class TestItems:
    def test_wrong_and_right_are_the_two_parts_of_all(self, harness, entry):
        """Every item is one of them."""
        counts = {
            option: json.loads(harness(entry.path, "--task", "gsm8k", *option, "--json").stdout)["chosen_count"]
            for option in ((), ("--wrong",), ("--right",))
        }
        assert counts["--wrong",] + counts["--right",] == counts[()] == 40
        assert 0 < counts["--wrong",] < 40

    def test_shows_what_was_said_read_and_right(self, harness, entry):
        """Wrapped, with the rest counted; no colour where it is no terminal."""
        shown = harness(entry.path, "--task", "gsm8k", "--wrong", "--limit", 2).stdout
        assert shown.count("So the answer is 42.") == 2
        assert shown.count("41") == 2
        assert "27 more" in shown
        assert "\x1b" not in shown

    def test_what_a_model_wrote_moves_no_cursor(self, harness, tmp_path):
        """Escapes are spelled out, lines stay lines."""
        made = make(tmp_path)
        evil = "\x1b[2Jgone\nsecond line\u202e" + "x" * 9000
        rows = [item(number, correct=number < 11, prediction=evil) for number in range(40)]
        made.put(ITEMS, pack(rows))
        shown = harness(made.path, "--task", "gsm8k", "--limit", 1, color=True).stdout
        assert "\\x1b[2Jgone" in shown
        assert "\x1b[2J" not in shown
        assert "\u202e" not in shown
        assert any(line.strip().startswith("second line\\u202e") for line in shown.splitlines())
        assert max(map(len, shown.splitlines())) <= 130
        assert "more" in shown

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--task", "chid"), "holds no items of chid"),
            (("--task", "mmlu"), "the entry has commonsense_qa"),
            (("--task", "gsm8k", "--role", "teacher"), "the entry has base"),
            (("--task", "gsm8k", "--model", "gpt"), "the entry has llama"),
            (("--task", "gsm8k", "--wrong", "--right"), "give one of them"),
            (("--wrong",), "add --task"),
        ],
    )
    def test_what_is_not_there_is_said(self, harness, entry, words, said):
        """With what there is."""
        error = harness(entry.path, *words).exception
        assert isinstance(error, UsageError)
        assert said in str(error)

    def test_a_folder_that_is_no_bundle(self, harness, tmp_path):
        """Named, with what was expected."""
        with pytest.raises(UsageError, match=r"submission\.json"):
            raise harness(tmp_path).exception


class TestPlain:
    @pytest.mark.parametrize("text", ["\x1b[31m", "a\rb", "\u202eabc", "\x00"])
    def test_nothing_that_is_not_printable_is_left(self, text):
        """Whatever it was."""
        assert plain(text).isprintable()
