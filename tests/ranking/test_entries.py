"""The entries of a folder: found, held against the rules, every number with its place."""

from __future__ import annotations

import json
import shutil

import pytest

from harness.errors import UsageError
from harness.ranking.entries import Choice, find, read_field
from harness.rules.edition import edition_text
from harness.submission import layout
from harness.submission.schema import Submission
from tests.hostile.packing import zipped
from tests.validation.violations_foreign import CLEAN, HEADING

OURS = "2026-11-22-alpha-baseline-l1"
FOREIGN = Choice(track="compression")


def look_up(document, field):
    for part in field.split("."):
        document = document[int(part) if part.isdigit() else part]
    return document


def entrants(place, choice=FOREIGN, **more):
    return {one.name: one for one in read_field(place, choice, **more).entrants}


class TestFind:
    def test_bundles_of_tracks_and_entries_made_elsewhere(self, filed, tmp_path):
        """Folders of tracks are looked into; hidden files, links and notes are no entries."""
        folder = tmp_path / "all"
        shutil.copytree(filed, folder)
        (folder / "theirs").mkdir()
        (folder / "theirs" / "Results.csv").write_text(CLEAN)
        (folder / "team.zip").write_bytes(zipped(("Results.csv", CLEAN.encode())))
        (folder / "README.md").write_text("notes")
        (folder / ".hidden").mkdir()
        (folder / "linked").symlink_to(filed)
        names = [path.name for path in find(folder)]
        assert [name for name in names if not name.startswith("2026")] == ["team.zip", "theirs"]
        assert len(names) == 5

    def test_an_entry_itself(self, filed):
        """Its folder is asked for."""
        with pytest.raises(UsageError, match="name the folder that it stands in"):
            find(filed / "demo" / OURS)

    @pytest.mark.parametrize("name", ["nothing", "file.txt"])
    def test_no_folder(self, tmp_path, name):
        """Said at once."""
        (tmp_path / "file.txt").write_text("")
        with pytest.raises(UsageError, match="expected a folder of entries"):
            read_field(tmp_path / name, Choice())


class TestBundles:
    def test_every_number_stands_where_it_says(self, filed):
        """Each source leads to a number of the manifest, and the mean over them is the entry's."""
        field = read_field(filed, Choice())
        assert (field.edition.id, field.track, field.models) == ("demo", "demo", ("llama", "qwen2", "phi"))
        for one in field.entrants:
            manifest = json.loads((filed / "demo" / one.name / layout.SUBMISSION).read_text())
            for number in (*one.scores.values(), one.throughput, one.memory, one.parameters):
                stated = [look_up(manifest, source.field) for source in number.sources]
                assert {source.file for source in number.sources} == {layout.SUBMISSION}
                assert number.value == pytest.approx(sum(stated) / 3)
            assert one.barred is None

    def test_scores_are_the_means_that_the_bundle_files(self, filed):
        """The same arithmetic as in the record."""
        for one in read_field(filed, Choice()).entrants:
            means = Submission.read(filed / "demo" / one.name / layout.SUBMISSION).mean
            assert {task.task: task.score for task in means.tasks} == {t: n.value for t, n in one.scores.items()}
            assert one.throughput.value == means.decode_tokens_per_s

    def test_items_make_the_scores(self, filed):
        """All tasks of all models, and the same questions for every entry."""
        found = read_field(filed, Choice()).entrants
        for one in found:
            assert set(one.items) == set(one.scores)
            for task, items in one.items.items():
                scale = 1 if task == "truthful_qa" else 100
                assert items.right.shape == (3, 40)
                assert items.right.mean() * scale == pytest.approx(one.scores[task].value)
        assert len({one.items["gsm8k"].key for one in found}) == 1

    def test_packed_it_is_the_same(self, filed, tmp_path):
        """An archive is opened as validate opens it."""
        shutil.make_archive(str(tmp_path / "alpha"), "zip", filed / "demo", OURS)
        (packed,) = read_field(tmp_path, Choice(edition="demo", track="demo")).entrants
        plain = next(one for one in read_field(filed, Choice()).entrants if one.name == OURS)
        assert (packed.name, packed.scores, packed.digest) == (plain.name, plain.scores, plain.digest)
        assert set(packed.items) == set(plain.items)

    def test_numbers_that_cannot_be_are_absent(self, filed, tmp_path):
        """Even where broken entries are ranked for practice."""
        folder = tmp_path / "entries"
        shutil.copytree(filed, folder)
        path = folder / "demo" / OURS / layout.SUBMISSION
        manifest = json.loads(path.read_text())
        for model in manifest["models"]:
            measured = model["checkpoints"][2]["measurements"]
            measured["evaluation"]["tasks"][0]["score"] = 1e300
            measured["performance"]["decode_tokens_per_s"] = -1
        path.write_text(json.dumps(manifest))
        one = entrants(folder, Choice(with_broken=True))[OURS]
        assert "commonsense_qa" not in one.scores
        assert one.throughput is None

    def test_one_model_alone(self, filed):
        """What is asked for is averaged, whatever else there is."""
        one = read_field(filed, Choice(models=("qwen2",))).entrants[0]
        assert one.items["bbh"].right.shape == (1, 40)
        assert len(one.scores["bbh"].sources) == 1

    def test_items_that_are_not_there_are_not_needed(self, filed, tmp_path):
        """The score stays, with its number of items."""
        folder = tmp_path / "entries"
        shutil.copytree(filed, folder)
        shutil.rmtree(folder / "demo" / OURS / "items")
        one = entrants(folder, Choice(with_broken=True))[OURS]
        assert one.items == {}
        assert one.item_counts["gsm8k"] == 40

    def test_broken_rules_bar(self, filed, tmp_path):
        """With the rule; practice may rank it all the same."""
        folder = tmp_path / "entries"
        shutil.copytree(filed, folder)
        (folder / "demo" / OURS / layout.RESULTS).write_text("GSM8K\n99\n")
        assert "rules broken" in entrants(folder, Choice())[OURS].barred
        assert entrants(folder, Choice(with_broken=True))[OURS].barred is None
        (folder / "demo" / OURS / layout.SUBMISSION).write_text("{}")
        assert "cannot be read" in entrants(folder, Choice())[OURS].barred

    def test_an_entry_of_another_edition_is_barred(self, filed, tmp_path):
        """The rules that it was made under are not those of the ranking."""
        rules = tmp_path / "local.toml"
        rules.write_text(edition_text("demo").replace('id = "demo"', 'id = "local"'))
        reasons = {one.barred for one in read_field(filed, Choice(edition=str(rules), with_broken=True)).entrants}
        assert reasons == {"made under edition demo, ranked is local"}
        with pytest.raises(UsageError, match="edition neurips-2024 has compression, scratch"):
            read_field(filed, Choice(edition="neurips-2024"))

    @pytest.mark.parametrize(
        ("choice", "said"),
        [
            (Choice(track="scratch"), "--track scratch: edition demo has demo"),
            (Choice(models=("gpt",)), "--models gpt: the track demo has llama, qwen2, phi"),
        ],
    )
    def test_what_is_not_there_is_said(self, filed, choice, said):
        """With what there is."""
        with pytest.raises(UsageError, match=said):
            read_field(filed, choice)


class TestElsewhere:
    def test_takes_part_by_its_table(self, tmp_path):
        """Scores in the edition's scale, places by line and column; a throughput in another unit gets no points."""
        (tmp_path / "theirs").mkdir()
        (tmp_path / "theirs" / "Results.csv").write_text(CLEAN)
        one = entrants(tmp_path)["theirs"]
        assert one.barred is None
        assert one.scores["gsm8k"].value == 21.38
        assert one.scores["truthful_qa"].value == 0.17
        (source,) = one.scores["gsm8k"].sources
        assert (source.file, source.field) == ("Results.csv", "line 2, column 3")
        assert one.throughput is None
        assert "inferences/s" in one.notes[0]
        assert one.peak_memory.value == pytest.approx(8573.24 * 2**20)

    def test_throughput_in_the_editions_unit_counts(self, tmp_path):
        """Decoded tokens are what is ranked."""
        (tmp_path / "results.csv").write_text(CLEAN.replace("inf/s", "tokens/s"))
        assert entrants(tmp_path)["results.csv"].throughput.value == 23.1

    def test_a_row_for_each_model_is_averaged(self, tmp_path):
        """Memory is that of the model that needs most."""
        rows = [
            "llama,72.40,44.47,63.31,40.24,63.64,0.29,9 tokens/s,9 GiB",
            "phi,47.09,41.84,59.44,49.39,34.87,0.23,11 tokens/s,3 GiB",
        ]
        (tmp_path / "Results.csv").write_text(f"Model,{HEADING}\n" + "\n".join(rows) + "\n")
        one = entrants(tmp_path)["Results.csv"]
        assert one.scores["gsm8k"].value == pytest.approx((63.31 + 59.44) / 2)
        assert (one.throughput.value, one.peak_memory.value, one.memory.value) == (10, 9 * 2**30, 6 * 2**30)

    def test_what_is_doubted_gets_no_points(self, tmp_path):
        """What may be fractions in columns of percentages is withheld; the finding is shown with the entry."""
        fractions = "0.2654,0.2812,0.2138,0.1280,0.1159,0.17,9 tokens/s,5 GiB"
        (tmp_path / "Results.csv").write_text(f"{HEADING}\n{fractions}\n")
        one = entrants(tmp_path)["Results.csv"]
        assert set(one.scores) == {"truthful_qa"}
        assert one.throughput.value == 9
        assert "scores.units" in {finding.rule for finding in one.findings}

    def test_a_score_that_cannot_be_gets_no_points(self, tmp_path):
        """No number of HumanEval's items makes 12.90, and nobody has 728 percent: the others count, which is said."""
        (tmp_path / "Results.csv").write_text(CLEAN.replace("12.80", "12.90").replace("11.59", "728"))
        one = entrants(tmp_path)["Results.csv"]
        assert {"humaneval", "chid"} & set(one.scores) == set()
        assert one.scores["gsm8k"].value == 21.38
        assert "a finding doubts it: HumanEval, CHID" in one.notes[-1]
        assert one.barred is None

    def test_no_table_or_several(self, tmp_path):
        """Nobody chooses for the team."""
        (tmp_path / "none" / "code").mkdir(parents=True)
        (tmp_path / "none" / "config.json").write_text("{}")
        for name in ("a", "b"):
            (tmp_path / "two" / name).mkdir(parents=True)
            (tmp_path / "two" / name / "Results.csv").write_text(CLEAN)
        found = entrants(tmp_path)
        assert "a/Results.csv, b/Results.csv" in found["two"].barred
        assert "one table of results is needed" in found["none"].barred

    def test_tracks_cannot_be_guessed(self, tmp_path):
        """An entry made elsewhere names none, and the competition has two."""
        (tmp_path / "Results.csv").write_text(CLEAN)
        with pytest.raises(UsageError, match="no entry names its track; neurips-2024 has compression, scratch"):
            read_field(tmp_path, Choice())

    def test_figures_of_the_organiser_stand_beside_them(self, tmp_path):
        """Of the entry of that name, and of one that only the file has."""
        (tmp_path / "theirs").mkdir()
        (tmp_path / "theirs" / "Results.csv").write_text(CLEAN)
        figures = tmp_path / "phone.toml"
        figures.write_text(
            "[[entry]]\nname = 'theirs'\nthroughput = 31.5\n[[entry]]\nname = 'other'\nthroughput = 30\n"
        )
        found = entrants(tmp_path, figures=figures)
        assert {name: one.throughput.value for name, one in found.items()} == {"theirs": 31.5, "other": 30}
        assert found["theirs"].scores["gsm8k"].value == 21.38
