"""Sources, caps and curricula in a step: what is drawn, what is bounded, and what the record says of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from harness_tinytron import reading, train, writing
from harness_tinytron.options import TinytronOptions
from pydantic import ValidationError

from harness.checkpoint.checkpoint import Checkpoint
from harness.corpora.derived import derived_share
from harness.corpora.door import DataDoor
from harness.errors import UsageError
from harness.testing.tiny import write_tiny_checkpoint

STEP = {"method": "distil", "optimizer_steps": 8, "batch_windows": 4, "window_tokens": 64, "compute": "float32"}
LOOSE = {
    "kind": "selection",
    "language": "any",
    "shared_gram_words": None,
    "filters": {"repetition": False, "near_duplicates": False, "exact_duplicates": False},
}
DRILLS = {"kind": "rules", "sample_count": 40, "max_token_share": 0.3}
SOLUTION = "def double_{n}(x):\n    return x * {n}\n\n# {words}\nassert double_{n}(2) == {twice}\n"


def text_of(request, **changes):
    return reading.text_of(request, window_count=32, window_tokens=64, **changes)


class Writing:
    """A student whose answers are known: a program for every exercise, the first of which is wrong."""

    def __init__(self, *_):
        self.solved = 0

    def __call__(self, prompts):
        return [self.answer(prompt) for prompt in prompts]

    def answer(self, prompt):
        if not prompt.startswith("Solve"):
            return f"Exercise of {prompt}"
        self.solved += 1
        words = " ".join(f"{self.solved}word{place}" for place in range(20))
        wrong = self.solved == 1
        return SOLUTION.format(n=self.solved, words=words, twice=-1 if wrong else 2 * self.solved)


class Counting(Writing):
    """The same, begun after three exercises, and counting what it is asked."""

    def __init__(self, *_):
        self.solved, self.prompts = 3, 0

    def __call__(self, prompts):
        self.prompts += len(prompts)
        return super().__call__(prompts)


@pytest.fixture
def asked(tiny_checkpoints, tmp_path, ask):
    """A request of a step with the given fields; its student is not the base."""
    base = write_tiny_checkpoint("qwen2", tmp_path / "base", seed=1)

    def build(name="work", **fields):
        return ask(tiny_checkpoints["qwen2"], {**STEP, **fields}, tmp_path / name, base=base)

    return build


class TestOptions:
    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"mixture": {"c4": 1}, "curriculum": [{"until": 1, "mixture": {"c4": 1}}]}, "exclude each other"),
            ({"sources": {"drills": DRILLS}}, "sources: drills is not mixed"),
            ({"caps": {"c5": 3}}, "caps: c5 is not mixed"),
            ({"mixture": {"c4": 1, "drills": 1}, "sources": {"drills": DRILLS}}, "must stay below max_token_share"),
            ({"mixture": {"c4": 1}, "sources": {"best": {"kind": "selektion"}}}, "selection"),
        ],
        ids=["both", "idle source", "idle cap", "share", "kind"],
    )
    def test_what_does_not_fit_is_told(self, fields, said):
        """Before anything runs, with the name of the field or of the source."""
        with pytest.raises(ValidationError, match=said):
            TinytronOptions.model_validate({"steps": [{**STEP, **fields}]})

    def test_shares_count_over_phases(self):
        """Two tenths of the tokens at a share of two tenths are 4 %, not below 2 %."""
        drills = {**DRILLS, "max_token_share": 0.02}
        late = {"until": 1.0, "mixture": {"c4": 0.8, "drills": 0.2}}
        phases = [{"until": 0.8, "mixture": {"c4": 1}}, late]
        with pytest.raises(ValidationError, match=r"found 4\.00%"):
            TinytronOptions.model_validate({"steps": [{**STEP, "curriculum": phases, "sources": {"drills": drills}}]})


class TestSources:
    def test_rules_and_a_selection(self, asked):
        """Both reach the windows, the rules below their share and with their names in the ledger."""
        request = asked(
            mixture={"best": 0.7, "alpaca": 0.2, "drills": 0.1},
            sources={"drills": DRILLS, "best": {**LOOSE, "keep_fraction": 0.5, "sample": 300}},
        )
        text = text_of(request)
        assert len(text.windows) == 32
        entries = request.data.ledger().entries
        assert {parent for entry in entries for parent in entry.parents} == {"rules:arithmetic@1", "rules:snippets@1"}
        assert 0 < derived_share(entries, "rules") < DRILLS["max_token_share"]
        best = text.report.selections["best"]
        assert best.rater.kind == "stand-in"
        assert 0 < best.filters.kept < best.filters.seen

    def test_resumed_notes_are_the_same(self, asked):
        """Windows that stand are opened, and what the filters did is told as it was."""
        fields = {"mixture": {"c4": 1.0}, "filters": LOOSE["filters"]}
        first, second = (text_of(asked(**fields)) for _ in range(2))
        assert first.windows.key == second.windows.key
        assert first.notes() == second.notes() != {}

    def test_a_curriculum_changes_what_is_read(self, asked):
        """No instruction stands before the last phase, and the windows are taken in order."""
        phases = [{"until": 0.75, "mixture": {"c4": 1}}, {"until": 1, "mixture": {"alpaca": 1}}]
        request = asked(curriculum=phases, loss_on="response")
        text = text_of(request)
        assert (text.windows.loss_mask[:23] == 1).all()
        assert (text.windows.loss_mask[25:] == 0).any()
        result = train(request)
        assert result.notes["optimizer_steps"] == 8

    def test_caps_are_respected(self, asked, tmp_path):
        """After two passes over a short data set the other takes its share, and the ledger shows no third pass."""
        rows = [{"instruction": f"Say {n}.", "input": "", "output": f"{n} it is."} for n in range(20)]
        path = tmp_path / "alpaca.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        request = asked(mixture={"c4": 0.5, "alpaca": 0.5}, caps={"alpaca": 2})
        settings = request.data.settings.model_copy(update={"local": {"alpaca": str(path)}})
        request = replace(request, data=DataDoor(settings))
        assert len(text_of(request).windows) == 32
        passes = [entry for entry in request.data.ledger().entries if entry.data == "alpaca"]
        assert len(passes) == 2
        assert sum(entry.sample_count for entry in passes) <= 2 * 20


class TestSelfGenerated:
    FIELDS = {
        "mixture": {"c4": 0.9, "exercises": 0.1},
        "sources": {
            "exercises": {
                "kind": "self_generated",
                "topics": ["sums", "lists", "words", "dates"],
                "batch": 3,
                "max_token_share": 0.3,
            }
        },
    }

    def test_what_runs_is_trained_on(self, asked, monkeypatch):
        """A program that fails its own check is dropped; the parent is the student, the share bounded."""
        monkeypatch.setattr(writing, "_Student", Writing)
        request = asked(**self.FIELDS)
        report = text_of(request).report.exercises["exercises"]
        assert (report.asked, report.kept, report.dropped) == (4, 3, {"ran and failed": 1})
        entries = request.data.ledger().entries
        parents = {parent for entry in entries for parent in entry.parents}
        assert parents == {request.student.digest, "rules:self-generated@1"}
        assert 0 < derived_share(entries, "model") < 0.3

    def test_killed_while_it_writes(self, asked, monkeypatch):
        """What stands in the journal is not asked for again, and the windows are those of an undisturbed step."""
        monkeypatch.setattr(writing, "_Student", Writing)
        whole = text_of(asked("whole", **self.FIELDS))

        def die(label, done, total, detail=""):
            if (label, done) == ("exercises", 3):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            text_of(replace(asked(**self.FIELDS), progress=die))
        gone_on = Counting()
        monkeypatch.setattr(writing, "_Student", lambda *_: gone_on)
        again = text_of(asked(**self.FIELDS))
        assert gone_on.prompts == 2  # the fourth topic: its exercise, its solution
        assert again.windows.key == whole.windows.key
        assert again.report == whole.report

    def test_the_control_goes_without(self, asked, monkeypatch):
        """The base writes nothing; the others take the share."""

        def never(*_):
            raise AssertionError

        monkeypatch.setattr(writing, "_Student", never)
        request = asked(**self.FIELDS, caps={"exercises": 2})
        assert text_of(request, is_control=True).report.exercises == {}
        assert all(not entry.parents for entry in request.data.ledger().entries)

    def test_the_base_may_not_write(self, tiny_checkpoints, tmp_path, ask):
        """Before any step there is no model that the entry made."""
        request = ask(tiny_checkpoints["qwen2"], {**STEP, **self.FIELDS}, tmp_path / "w")
        with pytest.raises(UsageError, match="let a step that compresses or trains come before"):
            text_of(request)

    def test_a_student_that_knows_nothing_is_trained_all_the_same(self, asked):
        """A random model writes no program; the report says so, and its share goes to the others."""
        source = self.FIELDS["sources"]["exercises"] | {"most_tokens": 8}
        request = asked(**{**self.FIELDS, "sources": {"exercises": source}, "optimizer_steps": 2})
        result = train(request)
        assert result.notes["text"]["exercises"]["exercises"]["kept"] == 0
        assert Checkpoint.of(result.checkpoint).digest != request.student.digest
