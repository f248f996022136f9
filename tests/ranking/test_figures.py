"""The organiser's figures: read strictly, put in the place of claims."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import UsageError
from harness.ranking.figures import applied, read_figures
from tests.ranking.make import EDITION, entrant, items


def read(tmp_path, text):
    path = tmp_path / "figures.toml"
    path.write_text(text)
    return applied_to(read_figures(path))


def applied_to(figures, *entrants):
    return {one.name: one for one in applied(entrants, figures, "figures.toml", EDITION)}


class TestApplied:
    def test_takes_the_place_of_what_the_entry_claims(self, tmp_path):
        """Score, throughput and memory of the file; what it does not state stays. Items of a replaced score go."""
        path = tmp_path / "f.toml"
        path.write_text(
            "[[entry]]\nname = 'a'\nscores = { gsm8k = 12.5 }\nthroughput = 30\npeak_memory_bytes = 5\n"
            "[[entry]]\nname = 'b'\nteam = 'B'\n"
        )
        claims = entrant("a", [10, 20, 30], throughput=99, peak=7)
        claims = replace(claims, items={"gsm8k": items([1]), "bbh": items([1])}, throughput_samples=((99.0,),))
        found = applied_to(read_figures(path), claims)
        assert found["a"].scores["gsm8k"].value == 12.5
        assert found["a"].scores["bbh"].value == 20
        assert (found["a"].throughput.value, found["a"].throughput_samples) == (30, ())
        assert found["a"].peak_memory.value == 5
        assert set(found["a"].items) == {"bbh"}
        assert found["b"].kind == "figures"

    def test_models_are_averaged_with_all_their_places(self, tmp_path):
        """A task that one model lacks has no mean."""
        one = read(
            tmp_path,
            "[[entry]]\nname = 'a'\n[entry.models.llama]\ngsm8k = 10\nbbh = 1\n[entry.models.phi]\ngsm8k = 30\n",
        )["a"]
        assert one.scores["gsm8k"].value == 20
        assert [source.field for source in one.scores["gsm8k"].sources] == [
            "entry.0.models.llama.gsm8k",
            "entry.0.models.phi.gsm8k",
        ]
        assert "bbh" not in one.scores

    def test_disqualified_with_the_reason(self, tmp_path):
        """An entry that could not be reproduced is not ranked."""
        one = read(tmp_path, "[[entry]]\nname = 'a'\ndisqualified = 'not reproduced'\n")["a"]
        assert one.barred == "disqualified: not reproduced"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("[[entry]]\nname = 'a'\nscores = { mmlu_pro = 1 }", "found 'mmlu_pro'"),
            ("[[entry]]\nname = 'a'\nscores = { truthful_qa = 28 }", "allowed 0 to 1, found 28"),
            ("[[entry]]\nname = 'a'\n[[entry]]\nname = 'a'", "found twice: a"),
            ("[[entry]]\nname = 'a'\nspeed = 3", "speed"),
            ("[[entry]]\nname = 'a'\nthroughput = nan", "throughput"),
            ("[[entry", "figures.toml"),
        ],
    )
    def test_what_is_wrong_is_said(self, tmp_path, text, said):
        """Place, allowed, found."""
        with pytest.raises(UsageError, match=said):
            read(tmp_path, text)
