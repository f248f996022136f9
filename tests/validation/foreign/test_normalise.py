"""A stranger's table of results: read where that is certain, with what was assumed; refused where it is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.rules.finding import Severity
from harness.validation.foreign.normalise import normalise
from harness.validation.run import validate
from tests.validation.violations_foreign import CLEAN, HEADING, PERMUTED, VALUES, row

REAL = Path(os.environ.get("HARNESS_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data")) / "submissions"
SUBSETS = [f"bbh-part_{number}" for number in range(27)]


def read(text: str):
    return normalise(text.encode(), "Results.csv")


def rules(found) -> set[str]:
    return {finding.rule for finding in found}


def summary(*lines: str, models: str = "phi") -> str:
    """What OpenCompass prints: a picture of the table, then the table, then the raw numbers."""
    block = "\n".join((f"dataset,version,metric,mode,{models}", *lines))
    picture = "20241101_120000\ntabulate format\n^^^^\ndataset  version\n-------\n"
    return f"{picture}csv format\n^^^^^^\n{block}\n$$$$\nraw format\n"


class TestClean:
    def test_says_nothing(self):
        """The competition's final form is read without an assumption."""
        found = read(CLEAN)
        assert found.findings == ()
        assert found.results.values() == {
            "commonsense_qa": 26.54,
            "bbh": 28.12,
            "gsm8k": 21.38,
            "humaneval": 12.80,
            "chid": 11.59,
            "truthful_qa": 0.17,
            "throughput": 23.1,
            "memory": 8573.24 * 2**20,
        }

    def test_every_value_knows_where_it_stood(self):
        """A value names its line, its column and its text."""
        value = read(CLEAN).results.rows[0].values["humaneval"]
        assert (value.source.line, value.source.column, value.source.text) == (2, 4, "12.80")
        assert value.half_step == pytest.approx(0.005)

    @given(st.permutations(range(8)), st.sampled_from([",", "\t", ";"]), st.sampled_from([str.upper, str.lower]))
    def test_order_separator_and_case_do_not_matter(self, order, separator, case):
        """However the columns are ordered, parted and spelt, the values are the same."""
        lines = [separator.join(line.split(",")[at] for at in order) for line in (case(HEADING), VALUES)]
        assert read("\n".join(lines)).results.values() == read(CLEAN).results.values()


class TestUnits:
    @pytest.mark.parametrize(
        ("cell", "size_bytes"),
        [
            ("8.755 GB", 8.755e9),
            ("8.755GiB", 8.755 * 2**30),
            ("8573.243", 8573.243 * 2**20),
            ("8573.243 MB", 8573.243e6),
            ("9e9 B", 9e9),
        ],
    )
    def test_memory_becomes_bytes(self, cell, size_bytes):
        """Every unit that was ever written becomes bytes; none is MiB, as the kit's script prints."""
        assert read(row(MemoryUsage=cell)).results.values()["memory"] == pytest.approx(size_bytes)

    def test_a_unit_in_the_heading_counts(self):
        """A column ``Memory (GiB)`` has cells in GiB."""
        found = read(CLEAN.replace("Memory-Usage", "Memory (GiB)").replace("8573.24 MiB", "8.5"))
        assert found.results.values()["memory"] == 8.5 * 2**30

    def test_a_rate_is_chosen_before_a_duration(self):
        """``71.61 inf/s 0.014 s`` is a throughput of 71.61 inferences per second."""
        value = read(row(Throughput="71.61 inf/s 0.014 s")).results.rows[0].values["throughput"]
        assert (value.value, value.unit) == (71.61, "inferences/s")

    def test_a_percentage_of_truthful_qa_becomes_a_fraction(self):
        """28.0 can be no fraction, so it is a percentage, which is said."""
        found = read(row(TruthfulQA="28.0"))
        assert found.results.values()["truthful_qa"] == pytest.approx(0.28)
        assert rules(found.findings) == {"foreign.unit"}


class TestNothingIsFilledIn:
    @pytest.mark.parametrize("cell", ["", "-", "n/a", "NaN", "=1+1", "12,8", "1e999"])
    def test_a_cell_without_a_number_has_no_value(self, cell):
        """What is not a number is an error at its cell, and no zero."""
        found = read(row(GSM8K=f'"{cell}"'))
        assert "gsm8k" not in found.results.values()
        assert [one.place.field for one in found.findings] == ["line 2, column 3"]

    def test_the_template_is_worth_nothing(self):
        """A row of zeros has no value at all."""
        found = read(f"{HEADING}\n0,0,0,0,0,0,0,0.0\n")
        assert found.results.values() == {}
        assert rules(found.findings) == {"scores.template"}

    def test_one_zero_is_a_score(self):
        """A model may score nothing on one task."""
        assert read(row(HumanEval="0")).results.values()["humaneval"] == 0

    def test_swapped_columns_are_withheld(self):
        """Throughput 3100 and memory 41 are neither used as they stand nor swapped back."""
        found = read(row(Throughput="3100", MemoryUsage="41"))
        assert {"throughput", "memory"}.isdisjoint(found.results.values())
        assert "scores.swapped" in rules(found.findings)
        assert found.results.rows[0].values["throughput"].value == 3100

    @pytest.mark.parametrize(("speed", "memory"), [("23.097", "8573.243"), ("3100 tok/s", "900"), ("41", "3100")])
    def test_the_right_way_round_is_believed(self, speed, memory):
        """A plausible pair is never taken for a swapped one."""
        found = read(row(Throughput=speed, MemoryUsage=memory))
        assert "scores.swapped" not in rules(found.findings)
        assert {"throughput", "memory"} <= found.results.values().keys()


class TestSeveralRows:
    def test_named_models_are_one_entry(self):
        """A row for each model gives their mean, and a note."""
        found = read(f"Model,{HEADING}\nphi,{VALUES}\nqwen,{VALUES.replace('26.54', '30.55')}\n")
        assert found.results.values()["commonsense_qa"] == pytest.approx((26.54 + 30.55) / 2)
        assert [(one.rule, one.severity) for one in found.findings] == [("foreign.rows", Severity.NOTE)]

    @pytest.mark.parametrize("names", ["", "phi"])
    def test_rows_that_could_be_chosen_from_are_refused(self, names):
        """Rows without names, or of one name, are no entry: nobody picks the best."""
        found = read(f"Model,{HEADING}\n{names},{VALUES}\n{names},{VALUES}\n")
        assert found.results.values() == {}
        assert [(one.rule, one.severity) for one in found.findings] == [("foreign.rows", Severity.ERROR)]

    def test_a_row_of_means_is_held_against_the_others(self):
        """The mean is recomputed, and is no model of its own."""
        found = read(f"Model,{HEADING}\nphi,{VALUES}\nmean,{VALUES}\n")
        assert found.findings == ()
        assert len(found.results.rows) == 1


class TestAverages:
    def test_the_mean_of_six_is_silent(self):
        """With TruthfulQA times 100, as everybody counts it."""
        mean = (26.54 + 28.12 + 21.38 + 12.80 + 11.59 + 17) / 6
        assert read(f"{HEADING},Average\n{VALUES},{mean:.2f}\n").findings == ()

    def test_a_task_that_counts_twice_is_found(self):
        """An average that closes only with TruthfulQA times 200 does not recompute."""
        mean = (26.54 + 28.12 + 21.38 + 12.80 + 11.59 + 34) / 6
        found = read(f"{HEADING},Average\n{VALUES},{mean:.2f}\n").findings
        assert [(one.rule, one.place.field) for one in found] == [("scores.average", "line 2, column 9")]


class TestPermuted:
    def test_the_values_are_withheld(self):
        """No score of a permuted table is used under either name."""
        found = read(PERMUTED)
        assert rules(found.findings) == {"scores.permuted", "foreign.rows"}
        assert found.results.values().keys() == {"throughput", "memory"}

    def test_put_right_it_is_silent(self):
        """The same numbers under their own names are believed."""
        found = read(PERMUTED.replace("GSM8K,HumanEval", "HumanEval,GSM8K"))
        assert "scores.permuted" not in rules(found.findings)
        assert "humaneval" in found.results.values()

    @given(st.lists(st.tuples(*(st.integers(0, n) for n in (1221, 1319, 164, 2002, 817))), min_size=1, max_size=5))
    def test_true_scores_are_never_called_permuted(self, counts):
        """Whatever a model gets right, its scores are believed to be its tasks'."""
        lines = [
            f"m{at},{100 * a / 1221:.2f},{100 * b / 1319:.2f},{100 * c / 164:.2f},{100 * d / 2002:.2f},{e / 817:.2f}"
            for at, (a, b, c, d, e) in enumerate(counts)
        ]
        found = read("\n".join(["Model,CommonsenseQA,GSM8K,HumanEval,CHID,TruthfulQA", *lines]))
        assert "scores.permuted" not in rules(found.findings)


class TestSummary:
    LINES = (
        "commonsense_qa,734a22,accuracy,gen,26.54",
        "chid-dev,0a29a2,accuracy,gen,10.89",
        "chid-test,0a29a2,accuracy,gen,11.59",
        "openai_humaneval,8e312c,humaneval_pass@1,gen,12.80",
        "gsm8k,1d7fe4,accuracy,gen,21.38",
        "truthful_qa,5ddc62,bleu_max,gen,7.10",
        "truthful_qa,5ddc62,bleu_acc,gen,0.17",
    )

    def test_is_read_by_data_set_and_metric(self):
        """Each task has the metric of the competition; BBH is the mean of its 27 parts where no row is that."""
        lines = (*self.LINES, *(f"{name},5b92b0,score,gen,{10 + at}.00" for at, name in enumerate(SUBSETS)))
        found = read(summary(*lines))
        assert rules(found.findings) == {"foreign.table_form"}
        assert found.results.values() == {
            "commonsense_qa": 26.54,
            "bbh": 23.0,
            "gsm8k": 21.38,
            "humaneval": 12.80,
            "chid": 11.59,
            "truthful_qa": 0.17,
        }
        assert found.results.rows[0].values["gsm8k"].source.line == 13

    def test_a_part_of_bbh_is_no_average(self):
        """Without all 27 parts there is no value for BBH."""
        lines = (*self.LINES, *(f"{name},5b92b0,score,gen,50.00" for name in SUBSETS[:26]))
        found = read(summary(*lines))
        assert "bbh" not in found.results.values()
        assert "foreign.column_missing" in rules(found.findings)

    def test_a_wrong_average_of_bbh_is_found(self):
        """The stated average is held against its parts."""
        lines = (*(f"{name},5b92b0,score,gen,50.00" for name in SUBSETS), "bbh,-,naive_average,gen,51.00")
        found = read(summary(*self.LINES, *lines)).findings
        assert [(one.place.field, one.found) for one in found if one.rule == "scores.average"] == [
            ("line 43, column 5", "51.00")
        ]

    def test_a_task_that_failed_has_no_value(self):
        """OpenCompass prints '-' and exits with 0: that is an error here, and no zero."""
        found = read(summary(*self.LINES[:-1], "truthful_qa,5ddc62,bleu_acc,gen,-", "bbh,-,naive_average,gen,51.00"))
        assert "truthful_qa" not in found.results.values()
        assert [one.rule for one in found.findings if one.severity is Severity.ERROR] == ["foreign.cell"]

    def test_models_side_by_side_are_rows(self):
        """A summary of three models is their mean."""
        lines = [f"{line},{line.rsplit(',', 1)[1]}" for line in (*self.LINES, "bbh,-,naive_average,gen,51.00")]
        found = read(summary(*lines, models="phi,qwen"))
        assert [one.model for one in found.results.rows] == ["phi", "qwen"]
        assert found.results.values()["bbh"] == 51


@pytest.mark.skipif(not REAL.is_dir(), reason="the real entries are not on this machine")
class TestRealEntries:
    def test_the_kit(self):
        """Its history: an empty file, LongBench, and zeros that were never filled in."""
        found = validate(REAL / "kit").findings
        by_file = {name: rules(one for one in found if one.place.file.startswith(name)) for name in ("01", "02", "03")}
        assert "foreign.results_missing" in by_file["01"]
        assert {"foreign.column_extra", "scores.template", "foreign.column_missing"} <= by_file["02"]
        assert by_file["03"] == {"foreign.file_name", "foreign.column_extra", "scores.template"}
        assert {one.found for one in found if one.rule == "foreign.column_extra"} == {"LongBench", "crowspairs_gen"}

    def test_team_ng(self):
        """Renamed columns, a lower-case name, units missing and a memory that cannot be; its scores are possible."""
        found = validate(REAL / "team-ng-track2").findings
        assert {one.found for one in found if one.rule == "foreign.column_name"} == {
            "BIG-Bench Hard",
            "GPU Memory Usage",
        }
        assert rules(found) == {
            "edition.assumed",
            "foreign.file_name",
            "foreign.column_name",
            "foreign.unit",
            "scores.units",
        }
        assert [one.found for one in found if one.rule == "scores.units"] == ["1.9"]
