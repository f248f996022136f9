"""The demo's configurations: OpenCompass's dataset classes, extractors and metrics with short prompts.

The few-shot prompts of the competition do not fit a pico model's context. Here a prompt is one user turn (its wording
comes with the request, where the pico corpus has the same) and the answer may be as long as ``MAX_OUT_LEN`` tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmengine.config import ConfigDict
from opencompass.utils import get_prompt_hash

from .subset import Subset
from .task_data import FILES, bbh_file, count_rows, present_bbh_subsets

if TYPE_CHECKING:
    from .request import Request

MAX_OUT_LEN = {"commonsense_qa": 64, "chid": 32, "humaneval": 128, "bbh": 96, "gsm8k": 96, "truthful_qa": 64}
"""New tokens at most; a whole answer of the pico corpus is shorter."""

DATASETS = "opencompass.datasets."
TEXT = "opencompass.utils.text_postprocessors."
OPENICL = "opencompass.openicl."

MULTIPLE_CHOICE = (
    "date_understanding",
    "disambiguation_qa",
    "geometric_shapes",
    "hyperbaton",
    "logical_deduction_five_objects",
    "logical_deduction_seven_objects",
    "logical_deduction_three_objects",
    "movie_recommendation",
    "penguins_in_a_table",
    "reasoning_about_colored_objects",
    "ruin_names",
    "salient_translation_error_detection",
    "snarks",
    "temporal_sequences",
    "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects",
    "tracking_shuffled_objects_three_objects",
)
FREE_FORM = (
    "boolean_expressions",
    "causal_judgement",
    "dyck_languages",
    "formal_fallacies",
    "multistep_arithmetic_two",
    "navigate",
    "object_counting",
    "sports_understanding",
    "web_of_lies",
    "word_sorting",
)


def demo_subsets(task: str, request: Request) -> list[Subset]:
    """The subsets of ``task``; of BBH those whose file is in the data folder."""
    if task != "bbh":
        return [_subset(task, _DATASETS[task](), FILES[task], request.prompts[task], request)]
    return [
        _subset("bbh", _bbh(name), (bbh_file(name),), request.prompts[f"bbh-{_form(name)}"], request)
        for name in present_bbh_subsets(request.data_dir, (*MULTIPLE_CHOICE, *FREE_FORM))
    ]


def _subset(task: str, settings: dict[str, Any], files: tuple[str, ...], prompt: str, request: Request) -> Subset:
    settings["infer_cfg"] = _inference(prompt, MAX_OUT_LEN[task])
    if request.limit is not None:
        settings["reader_cfg"]["test_range"] = f"[0:{request.limit}]"
    whole = ConfigDict(settings)
    return Subset(
        task=task,
        name=settings["abbr"],
        configuration=f"demo_{task}",
        version=get_prompt_hash(whole)[:6],
        settings=whole,
        item_count=count_rows(request.data_dir, files, request.limit),
    )


def _inference(prompt: str, max_out_len: int) -> dict[str, Any]:
    return {
        # Plain text is one user's turn as it stands; a round of turns would get a line break behind it, which the
        # embedded models never saw in training.
        "prompt_template": {"type": f"{OPENICL}icl_prompt_template.PromptTemplate", "template": prompt},
        "retriever": {"type": f"{OPENICL}icl_retriever.ZeroRetriever"},
        "inferencer": {"type": f"{OPENICL}icl_inferencer.GenInferencer", "max_out_len": max_out_len},
    }


def _form(name: str) -> str:
    return "mcq" if name in MULTIPLE_CHOICE else "freeform"


def _commonsense_qa() -> dict[str, Any]:
    return {
        "abbr": "commonsense_qa",
        "type": f"{DATASETS}commonsenseqaDataset",
        "path": "opencompass/commonsense_qa",
        "reader_cfg": {
            "input_columns": ["question", "A", "B", "C", "D", "E"],
            "output_column": "answerKey",
            "test_split": "validation",
        },
        "eval_cfg": {
            "evaluator": {"type": f"{OPENICL}icl_evaluator.AccEvaluator"},
            "pred_postprocessor": {
                "type": f"{TEXT}match_answer_pattern",
                "answer_pattern": r"(?i)so the answer is\s*([A-P])",
            },
        },
    }


def _chid() -> dict[str, Any]:
    return {
        "abbr": "chid-test",
        "type": f"{DATASETS}CHIDDatasetV2",
        "path": "./data/FewCLUE/chid/test_public.json",
        "reader_cfg": {"input_columns": ["content", *"ABCDEFG"], "output_column": "answer"},
        "eval_cfg": {
            "evaluator": {"type": f"{OPENICL}icl_evaluator.AccEvaluator"},
            "pred_role": "BOT",
            "pred_postprocessor": {"type": f"{TEXT}first_capital_postprocess"},
        },
    }


def _humaneval() -> dict[str, Any]:
    return {
        "abbr": "openai_humaneval",
        "type": f"{DATASETS}HumanevalDataset",
        "path": "opencompass/humaneval",
        "reader_cfg": {"input_columns": ["prompt"], "output_column": "task_id", "train_split": "test"},
        "eval_cfg": {
            "evaluator": {"type": "worker.human_eval_subset.RowsEvaluator"},
            "pred_role": "BOT",
            "k": [1, 10, 100],
            "pred_postprocessor": {"type": f"{DATASETS}humaneval_postprocess_v2"},
        },
    }


def _bbh(name: str) -> dict[str, Any]:
    extract = {"type": f"{DATASETS}bbh_mcq_postprocess"}
    evaluation: dict[str, Any] = {"evaluator": {"type": f"{DATASETS}BBHEvaluator"}, "pred_role": "BOT"}
    if _form(name) == "mcq":
        evaluation["evaluator"]["type"] = f"{DATASETS}BBHEvaluator_mcq"
        evaluation |= {"pred_postprocessor": extract, "dataset_postprocessor": dict(extract)}
    return {
        "abbr": f"bbh-{name}",
        "type": f"{DATASETS}BBHDataset",
        "path": "opencompass/bbh",
        "name": name,
        "reader_cfg": {"input_columns": ["input"], "output_column": "target"},
        "eval_cfg": evaluation,
    }


def _gsm8k() -> dict[str, Any]:
    return {
        "abbr": "gsm8k",
        "type": f"{DATASETS}GSM8KDataset",
        "path": "opencompass/gsm8k",
        "reader_cfg": {"input_columns": ["question"], "output_column": "answer"},
        "eval_cfg": {
            "evaluator": {"type": f"{DATASETS}Gsm8kEvaluator"},
            "pred_postprocessor": {"type": f"{DATASETS}gsm8k_postprocess"},
            "dataset_postprocessor": {"type": f"{DATASETS}gsm8k_dataset_postprocess"},
        },
    }


def _truthful_qa() -> dict[str, Any]:
    return {
        "abbr": "truthful_qa",
        "type": f"{DATASETS}TruthfulQADataset",
        "path": "truthful_qa",
        "name": "generation",
        "reader_cfg": {
            "input_columns": ["question"],
            "output_column": "reference",
            "train_split": "validation",
            "test_split": "validation",
        },
        "eval_cfg": {"evaluator": {"type": f"{DATASETS}TruthfulQAEvaluator", "metrics": "bleu", "key": "ENV"}},
    }


_DATASETS = {
    "commonsense_qa": _commonsense_qa,
    "chid": _chid,
    "humaneval": _humaneval,
    "gsm8k": _gsm8k,
    "truthful_qa": _truthful_qa,
}
