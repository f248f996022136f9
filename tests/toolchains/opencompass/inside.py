"""Run inside the OpenCompass environment by the tests beside it: ``inside.py oracle|bleu|early REQUEST``."""

from __future__ import annotations

import csv
import json
import random
import sys
from pathlib import Path

from worker.channel import Channel
from worker.preparation import prepare
from worker.request import read_request


class Answers:
    """The right answer to every row of a task's scored file."""

    def __init__(self, data_dir):
        self.data_dir = Path(data_dir)

    def of(self, subset):
        rows = self.rows(subset)[: subset.item_count]
        return [getattr(self, subset.task)(row) for row in rows]

    def rows(self, subset):
        from worker.task_data import FILES, HEADED, bbh_file, subset_files

        if subset.task == "bbh":
            file = self.data_dir / bbh_file(subset.name.removeprefix("bbh-"))
            return json.loads(file.read_text(encoding="utf-8"))["examples"]
        if subset.task in {"mmlu", "ceval"}:
            table = self.data_dir / subset_files(subset.task, subset.settings["name"])[-1]
            with table.open(encoding="utf-8", newline="") as stream:
                return list(csv.reader(stream))[subset.task == HEADED :]
        text = (self.data_dir / FILES[subset.task][-1]).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def commonsense_qa(self, row):
        return f"Everybody knows. So the answer is {row['answerKey']}."

    def chid(self, row):
        return f"选{'ABCDEFG'[row['answer']]}。"

    def mmlu(self, row):
        return f"{row[5]}. of course"

    def ceval(self, row):
        return f"选{row[6]}。"

    def humaneval(self, row):
        return f"```python\n{row['prompt']}{row['canonical_solution']}\n```"

    def bbh(self, row):
        return f"Let me see. So the answer is {row['target']}."

    def gsm8k(self, row):
        return f"So many. #### {row['answer'].split('#### ')[1]}"

    def truthful_qa(self, row):
        best = max(row["correct_answers"], key=lambda answer: len(answer.split()))
        # OpenCompass counts this among the right answers of every question.
        return best if len(best.split()) > 4 else "I have no comment."


def oracle(request):
    """Score a model that knows the answers, and one that never does, through the real pipeline."""
    from opencompass.models.base import BaseModel
    from opencompass.models.base_api import APITemplateParser
    from worker.__main__ import _name_sandbox, _subsets
    from worker.engine.answer import Row
    from worker.scoring import score_task

    class Oracle(BaseModel):
        def __init__(self, wrong):
            self.wrong, self.answers, self.on_batch, self.prompts = wrong, [], None, []
            self.rows = []
            self.template_parser = APITemplateParser(
                {
                    "round": [
                        {"role": "HUMAN", "api_role": "HUMAN"},
                        {"role": "BOT", "api_role": "BOT", "generate": True},
                    ]
                }
            )

        def begin(self, subset, on_batch):  # noqa: ARG002 - as the worker calls it
            self.on_batch, self.rows = on_batch, []

        def generate(self, inputs, max_out_len):  # noqa: ARG002 - as OpenCompass calls it
            self.prompts += [str(text) for text in inputs]
            row = Row(prompt_tokens=1, generated_tokens=1, ended_by="eos", prompt_ids=(1,), answer_ids=(1,))
            self.rows += [row] * len(inputs)
            answers, self.answers = self.answers[: len(inputs)], self.answers[len(inputs) :]
            self.on_batch(len(inputs))
            return ["I cannot say" if self.wrong else answer for answer in answers]

        def get_token_len(self, prompt):
            return len(prompt)

    _name_sandbox(request)
    answers, channel, scores, prompts = Answers(request.data_dir), Channel(), {}, []
    for task in request.tasks:
        subsets = _subsets(task, request)
        for model, wrong in zip(request.models, (False, True), strict=True):
            loaded = Oracle(wrong)
            loaded.answers = [answer for subset in subsets for answer in answers.of(subset)]
            scores.setdefault(model.name, {})[task] = score_task(model, loaded, subsets, request, channel)
            prompts += loaded.prompts[:1]
    request.result.write_text(json.dumps({"scores": scores, "prompts": prompts}), encoding="utf-8")


def bleu(result):
    """Our BLEU and sacrebleu's on random texts with one reference each, where the two definitions agree."""
    import evaluate
    import sacrebleu

    generator, words = random.Random(0), ["red", "the", "table,", "it's"]
    texts = [" ".join(generator.choices(words, k=generator.randint(4, 12))) for _ in range(400)]
    metric, theirs = evaluate.load("bleu"), sacrebleu.BLEU(smooth_method="none", tokenize="13a")
    pairs = [
        (metric.compute(predictions=[one], references=[other])["bleu"], theirs.corpus_score([one], [[other]]).score)
        for one, other in zip(texts[::2], texts[1::2], strict=True)
    ]
    corpus = (
        metric.compute(predictions=texts[::2], references=texts[1::2])["bleu"],
        theirs.corpus_score(texts[::2], [texts[1::2]]).score,
    )
    edge = metric.compute(predictions=["a b c d"], references=[["a b c d e f", "a b c d e f g h"]])["brevity_penalty"]
    Path(result).write_text(json.dumps({"pairs": pairs, "corpus": corpus, "brevity": edge}), encoding="utf-8")


def early(result):
    """How often each rule decided a random text, and how often the real extractor then changed its mind."""
    from opencompass.datasets import bbh_mcq_postprocess, gsm8k_postprocess, humaneval_postprocess_v2
    from opencompass.utils.text_postprocessors import first_capital_postprocess, match_answer_pattern
    from worker.engine.early import COMMONSENSE_PATTERN, RULES

    extractors = {
        "match_answer_pattern": lambda text: match_answer_pattern(text, COMMONSENSE_PATTERN),
        "first_capital_postprocess": first_capital_postprocess,
        "humaneval_postprocess_v2": humaneval_postprocess_v2,
        "bbh_mcq_postprocess": bbh_mcq_postprocess,
        "gsm8k_postprocess": gsm8k_postprocess,
    }
    pieces = [
        *"SoABCZ(). \n`7-.ia",
        "so the answer is",
        "answer is ",
        "answer i",
        "```",
        "```py\n",
        "Question:",
        "tion:",
    ]
    generator, decided, changed = random.Random(0), dict.fromkeys(RULES, 0), dict.fromkeys(RULES, 0)
    for _ in range(20_000):
        start, rest = ("".join(generator.choices(pieces, k=generator.randint(0, 12))) for _ in range(2))
        for name, rule in RULES.items():
            if rule(start):
                decided[name] += 1
                changed[name] += extractors[name](start) != extractors[name](start + rest)
    Path(result).write_text(json.dumps({"decided": decided, "changed": changed}), encoding="utf-8")


if __name__ == "__main__":
    read = read_request(Path(sys.argv[2]))
    prepare(read)
    if sys.argv[1] == "oracle":
        oracle(read)
    elif sys.argv[1] == "early":
        early(read.result)
    else:
        bleu(read.result)
