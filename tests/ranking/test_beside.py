"""Another entry beside a new one: its own figures, or the reason why they would mislead."""

from __future__ import annotations

import json
import shutil

import pytest

from harness.errors import UsageError
from harness.ranking.beside import beside, newest, read_beside, terms_asked, terms_of
from harness.rules.edition import load_edition
from harness.submission.items import pack, unpack
from harness.validation.entry import open_entry
from tests.ranking.make import file_bundle

DEMO = load_edition("demo")
TERMS = terms_asked("demo", DEMO, None)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("beside")
    for seed, (team, share) in enumerate({"mine": 0.7, "other": 0.3}.items()):
        file_bundle(root / "demo", team, seed=seed, share=share, speed=100.0 + seed, weights=root / team)
    return root / "demo"


@pytest.fixture
def folder(made, tmp_path):
    """The two entries, to be changed."""
    return shutil.copytree(made, tmp_path / "demo")


@pytest.fixture
def mine(folder):
    return open_entry(folder / "2026-11-22-mine-baseline-l1")


@pytest.fixture
def other(folder):
    return folder / "2026-11-22-other-baseline-l1"


def changed(bundle, change):
    """Change the manifest of ``bundle``."""
    path = bundle / "submission.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    return bundle


def each_model(change):
    return lambda manifest: [change(model) for model in manifest["models"]]


def final_of(model):
    return next(one for one in model["checkpoints"] if one["role"] == "final")["measurements"]


class TestBeside:
    def test_figures_are_those_of_the_other_record(self, mine, other):
        """One line for each base model, nothing of it from the new entry."""
        found = beside(mine, [read_beside(other, TERMS)], DEMO)
        recorded = json.loads((other / "submission.json").read_text())["models"]
        assert [one.model for one in found] == [model["name"] for model in recorded]
        for one, model in zip(found, recorded, strict=True):
            assert one.refused == ()
            assert one.result.model_dump(mode="json")["measurements"] == final_of(model)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda model: model["base"].update(checkpoint_digest="a" * 64), "base model: weights aaaaaaaaaaaa there"),
            (lambda model: final_of(model)["evaluation"].update(engine_version="0.6"), "engine: opencompass 0.6"),
            (lambda model: final_of(model)["evaluation"].update(suite="official"), "suite official there"),
            (lambda model: final_of(model)["evaluation"]["tasks"][2].update(item_count=7), "gsm8k: other items"),
            (lambda model: model.update(name=f"{model['name']}-big"), "it has no llama"),
        ],
    )
    def test_what_would_mislead_is_refused_with_the_reason(self, mine, other, change, said):
        """Other weights, another engine, another suite, other items, no such model."""
        found = beside(mine, [open_entry(changed(other, each_model(change)))], DEMO)
        assert all(one.result is None for one in found)
        assert said in "; ".join(found[0].refused)

    def test_other_questions_of_the_same_number_are_other_items(self, mine, other):
        """What was asked decides, not how much."""
        path = other / "items" / "llama-final-chid.jsonl.gz"
        path.write_bytes(pack([one.model_copy(update={"reference": "else"}) for one in unpack(path.read_bytes())]))
        found = {one.model: one for one in beside(mine, [open_entry(other)], DEMO)}
        assert found["llama"].refused == ("chid: other items or another metric",)
        assert found["phi"].result is not None

    def test_another_machine_is_a_note(self, mine, other):
        """Scores can be compared all the same."""
        slower = changed(other, each_model(lambda model: final_of(model)["performance"].update(thread_count=9)))
        found = beside(mine, [open_entry(slower)], DEMO)
        assert all("9 threads" in one.notes[0] and one.result for one in found)


class TestTerms:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda manifest: manifest["edition"].update(rules_digest="b" * 64), "rules bbbbbbbbbbbb) there"),
            (lambda manifest: manifest["edition"].update(version="9"), "edition: demo 9"),
            (lambda manifest: manifest.update(track="scratch"), "track: scratch there, demo here"),
            (
                each_model(lambda model: final_of(model)["evaluation"].update(item_limit=4)),
                "the first 4 there, all here",
            ),
        ],
    )
    def test_an_entry_under_other_terms_is_an_error(self, other, change, said):
        """Before anything runs, with both sides and the way out."""
        with pytest.raises(UsageError, match="name an entry made under the same terms") as error:
            read_beside(changed(other, change), TERMS)
        assert said in str(error.value)

    def test_terms_asked_are_those_of_what_comes_out(self, mine):
        """The same run, before and after."""
        assert terms_of(mine.submission) == TERMS

    @pytest.mark.parametrize(("name", "said"), [("nothing", "nothing of that name"), ("", "harness validate")])
    def test_what_is_no_entry(self, folder, name, said):
        """A folder without a manifest, or none at all."""
        with pytest.raises(UsageError, match=said):
            read_beside(folder / name if name else folder, TERMS)


class TestNewest:
    def test_the_newest_that_can_be_compared(self, folder, mine, other):
        """By its day; a newer one on other weights or under other rules is passed over; never the entry itself."""

        def copied(day, change=dict):
            def renamed(manifest):
                manifest["created"] = day
                change(manifest)

            return changed(shutil.copytree(other, folder / f"{day}-x-baseline-l1"), renamed)

        assert newest(folder, "baseline-l1", mine, DEMO).path == other
        newer = copied("2026-11-25")
        copied("2026-11-27", each_model(lambda model: model["base"].update(checkpoint_digest="a" * 64)))
        copied("2026-11-28", lambda manifest: manifest["edition"].update(version="9"))
        copied("2026-11-29", lambda manifest: manifest["plugin"].update(name="nics"))
        assert newest(folder, "baseline-l1", mine, DEMO).path == newer

    def test_none_where_there_is_none(self, folder, mine, tmp_path):
        """Of that plugin, or at all."""
        assert newest(folder, "tinytron", mine, DEMO) is None
        assert newest(tmp_path / "nowhere", "baseline-l1", mine, DEMO) is None
