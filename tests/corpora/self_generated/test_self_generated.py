from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.corpora.filters.decontamination import SharedGrams
from harness.corpora.self_generated.exercises import Prompts, generate_exercises, mine_topics
from harness.corpora.self_generated.screen import Checked, Screen, checked_program
from harness.sandbox.outcome import Outcome

STUDENT = "a" * 64
GOOD = "def {name}(a, b):\n    return a + b\n\nassert {name}(1, 2) == 3"
SCORED = "def first_repeated_char(text): return the first character of the text that is repeated in it or None"


def passing(programs, limits):
    """A stand-in for the sandbox where what matters is what comes before and after."""
    return [Outcome(verdict="passed", duration_s=0, peak_memory_bytes=0) for _ in programs]


def failing_all(programs, limits):
    return [Outcome(verdict="failed", duration_s=0, peak_memory_bytes=0) for _ in programs]


def solutions(*numbers):
    """Programs that are not like each other."""
    return [f"def f{n}(x):\n    return x * {n}\n\n{f'# note {n} ' * n}\nassert f{n}(1) == {n}" for n in numbers]


class Student:
    """Answers by its prompts alone, and counts how often it was asked."""

    def __init__(self, dies_at=None):
        self.calls = 0
        self.dies_at = dies_at

    def __call__(self, prompts):
        self.calls += 1
        if self.calls == self.dies_at:
            raise KeyboardInterrupt
        return [f"Exercise: {prompt}" if "Exercise" not in prompt else self.solve(prompt) for prompt in prompts]

    def solve(self, prompt):
        number = int(prompt.split("topic ")[1].split(".")[0])
        return "no code" if number % 3 == 0 else solutions(number)[0]


class TestCheckedProgram:
    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            ("def f(:", "does not parse"),
            ("def f():\n  return 1\0", "does not parse"),
            ("(" * 500, "does not parse"),
            ("print('hello')", "no function"),
            ("def f():\n    return 1", "no check"),
            ("def f():\n    return 1\nassert True", "no check"),
            ("def f():\n    return 1\n" + "#" * 9000, "too long"),
        ],
    )
    def test_what_cannot_be_checked_goes(self, answer, reason):
        """Each with its reason, and nothing is run."""
        assert checked_program(answer).reason == reason

    @pytest.mark.parametrize("fence", ["```python\n{}\n```", "Here:\n```\n{}\n```\nIt adds.", "{}", "```py\n{}"])
    def test_code_is_found(self, fence):
        """In a block, without one, or in a block that the model did not close."""
        code = GOOD.format(name="add")
        assert checked_program(fence.format(code)).code == code

    def test_examples_become_checks(self):
        """What a docstring shows is run; what it shows of other things is not a check."""
        code = 'def f(x):\n    """Double.\n\n    >>> f(2)  # 4\n    4\n    >>> 1 + 1\n    3\n    """\n    return 2 * x'
        assert checked_program(code).program.endswith("assert repr(f(2)) == '4'\n")

    @given(st.text(max_size=200))
    def test_any_answer_is_judged(self, answer):
        """No text of a model breaks it."""
        found = checked_program(answer)
        assert isinstance(found, Checked) or found.reason


class TestScreen:
    def test_a_check_can_be_waived(self):
        """Where no check is asked for, a program that runs is kept, and one that does not is not."""
        plain, broken = "def f(x):\n    return x", "def g(x):\n    return x\n\ng()"
        screen = Screen(SharedGrams([]), needs_check=False)
        assert [one.code for one in screen.judge([plain, broken])] == [plain, None]
        assert Screen(SharedGrams([])).judge([plain])[0].reason == "no check"
        assert screen.key != Screen(SharedGrams([])).key

    def test_the_sandbox_decides(self):
        """What fails, hangs or reaches out goes; what runs is kept as it was written."""
        wrong = "def add(a, b):\n    return a - b\n\nassert add(1, 2) == 3"
        lying = 'def g(x):\n    """Half.\n\n    >>> g(2)\n    7\n    """\n    return x / 2'
        good = GOOD.format(name="add")
        found = Screen(SharedGrams([])).judge([wrong, good, lying])
        assert [one.code for one in found] == [None, good, None]
        assert found[0].reason == found[2].reason == "ran and failed"

    def test_what_is_kept_is_new(self):
        """The same again goes, in one batch and in the next; what failed before bars nothing."""
        screen = Screen(SharedGrams([]), run=passing)
        (good,) = solutions(5)
        assert [one.code for one in screen.judge([good, good])] == [good, None]
        assert screen.judge([good])[0].reason == "like one before"
        failing = Screen(SharedGrams([]), run=failing_all)
        assert failing.judge([good])[0].reason == "ran and failed"
        failing._run = passing
        assert failing.judge([good])[0].code == good

    def test_a_scored_task_is_not_written_down(self):
        """Ten words in a row of a scored task drop a program."""
        code = f"def f():\n    # {SCORED}\n    return 1\n\nassert f() == 1"
        assert Screen(SharedGrams([SCORED]), run=passing).judge([code])[0].reason == "shares text with a scored task"
        assert Screen(SharedGrams([]), run=passing).judge([code])[0].code == code

    def test_nothing_is_run_for_nothing(self):
        """No program, no sandbox."""

        def never(programs, limits):
            raise AssertionError

        assert Screen(SharedGrams([]), run=never).judge(["no code"])[0].reason == "does not parse"
        assert Screen(SharedGrams([]), run=never).judge([]) == []


class TestGenerateExercises:
    def made(self, folder, student, topics=tuple(f"topic {n}" for n in range(10)), **changes):
        request = {
            "screen": Screen(SharedGrams([]), run=passing),
            "folder": folder,
            "parent": STUDENT,
            "batch": 3,
        } | changes
        return generate_exercises(student, topics, **request)

    def test_every_topic_is_accounted_for(self, tmp_path):
        """What was asked for is what was kept and what was dropped, and the kept ones are in order."""
        made = self.made(tmp_path, Student())
        assert made.report.asked == 10
        assert made.report.kept + sum(made.report.dropped.values()) == 10
        assert [exercise.topic for exercise in made.exercises] == [f"topic {n}" for n in range(10) if n % 3]
        assert "topic 4" in made.exercises[2].exercise
        assert made.exercises[0].text.startswith("```python\ndef f1(x)")

    @pytest.mark.parametrize("dies_at", range(1, 9))
    def test_resumed_equals_uninterrupted(self, tmp_path, dies_at):
        """Killed at any call, the same samples come out, and no batch that stands is asked for again."""
        whole = self.made(tmp_path / "whole", Student())
        with pytest.raises(KeyboardInterrupt):
            self.made(tmp_path / "cut", Student(dies_at=dies_at))
        again = Student()
        assert self.made(tmp_path / "cut", again) == whole
        assert again.calls == 8 - 2 * ((dies_at - 1) // 2)

    def test_a_torn_line_is_made_again(self, tmp_path):
        """Half a line at the journal's end is no batch."""
        whole = self.made(tmp_path, Student())
        journal = tmp_path / "journal.jsonl"
        journal.write_text(journal.read_text()[:-20])
        student = Student()
        assert self.made(tmp_path, student) == whole
        assert student.calls == 2

    @pytest.mark.parametrize(
        "change", [{"parent": "b" * 64}, {"batch": 4}, {"prompts": Prompts(exercise="{topic}. Exercise")}]
    )
    def test_another_request_begins_anew(self, tmp_path, change):
        """What another student, or other words, made is not taken for this one's."""
        self.made(tmp_path, Student())
        student = Student()
        self.made(tmp_path, student, **change)
        assert student.calls > 0

    def test_an_exercise_for_each_topic(self, tmp_path):
        """A student that gives fewer texts than prompts is not guessed about."""
        with pytest.raises(ValueError, match="for each prompt"):
            self.made(tmp_path, lambda prompts: prompts[1:])

    def test_a_silent_student_makes_nothing(self, tmp_path):
        """Empty exercises are counted, not solved."""
        made = self.made(tmp_path, lambda prompts: [" "] * len(prompts))
        assert made.report.dropped == {"no exercise": 10}

    def test_a_given_exercise_is_put_as_it_stands(self, tmp_path):
        """To its last line end: a student may know it in these words alone."""
        topics, heard = ("def one(x):\n", "  def two(x):\n"), []

        def student(prompts):
            heard.extend(prompts)
            return solutions(*range(1, len(prompts) + 1))

        made = self.made(tmp_path, student, topics, prompts=Prompts(exercise="", solution="{exercise}"))
        assert tuple(heard) == topics == tuple(one.exercise for one in made.exercises)


class TestTopics:
    def test_topics_stand_near_keywords_and_in_several_documents(self):
        """A pair without a keyword, or of one document alone, is no topic; the most frequent comes first."""
        documents = ["We sort arrays in Python. Alice met Bob.", "How to sort arrays in Python?", "Python again."]
        topics = mine_topics(documents, count=10)
        assert topics[0] == "python"
        assert "sort arrays" in topics
        assert not any("alice" in topic or "bob" in topic for topic in topics)

    @given(st.lists(st.text("abc python", max_size=40), max_size=6), st.integers(0, 5))
    def test_as_many_as_asked_and_none_twice(self, documents, count):
        """At most ``count``, whatever the order of the documents."""
        topics = mine_topics(documents, count=count)
        assert len(topics) == len(set(topics)) <= count
        assert mine_topics(documents[::-1], count=count) == topics
