"""The competition's configurations, out of the OpenCompass wheel, named with their prompt hashes.

The short names (`humaneval_gen`, `bbh_gen`) mean other files in OpenCompass 0.5.4 than in the competition's 0.3.1; the
files named here are the competition's, and the hash in each name is recomputed before anything runs.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

import opencompass
from mmengine.config import Config
from opencompass.utils import get_prompt_hash

from .channel import Failure
from .human_eval_subset import PackagedSubsetEvaluator
from .subset import Subset
from .task_data import count_rows, subset_files

if TYPE_CHECKING:
    from mmengine.config import ConfigDict

    from .request import Request

CONFIGURATIONS = {
    "commonsense_qa": ("commonsenseqa/commonsenseqa_7shot_cot_gen_734a22", "commonsenseqa_datasets"),
    "chid": ("FewCLUE_chid/FewCLUE_chid_gen_0a29a2", "chid_datasets"),
    "humaneval": ("humaneval/humaneval_gen_8e312c", "humaneval_datasets"),
    "bbh": ("bbh/bbh_gen_5b92b0", "bbh_datasets"),
    "gsm8k": ("gsm8k/gsm8k_gen_1d7fe4", "gsm8k_datasets"),
    "truthful_qa": ("truthfulqa/truthfulqa_gen_5ddc62", "truthfulqa_datasets"),
    "mmlu": ("mmlu/mmlu_gen_4d595a", "mmlu_datasets"),
    "ceval": ("ceval/ceval_gen_5f30c7", "ceval_datasets"),
}
"""Task -> file below OpenCompass's ``configs/datasets`` and the list in it."""

NOT_SCORED = ("chid-dev",)
"""Datasets of those files that no column of the competition's results shows."""


def official_subsets(task: str, request: Request) -> list[Subset]:
    """The subsets of ``task``, limited to the request's rows."""
    file, variable = CONFIGURATIONS[task]
    settings = _load(file, variable)
    return [_subset(task, file.rpartition("/")[2], one, request) for one in settings if one["abbr"] not in NOT_SCORED]


def _load(file: str, variable: str) -> list[ConfigDict]:
    """The dataset configurations in ``file``; fails unless their prompt hash is the one in the file's name."""
    path = Path(opencompass.__file__).parent / "configs" / "datasets" / f"{file}.py"
    settings = list(Config.fromfile(str(path))[variable])
    found = _prompt_hash(settings)
    if not file.endswith(found):
        raise Failure(f"{path}: prompt hash {found} is not the one in the file's name")
    return settings


def _prompt_hash(settings: ConfigDict | list[ConfigDict]) -> str:
    """Of a copy: OpenCompass moves the numbers of the few-shot examples while it reads the configuration."""
    return str(get_prompt_hash(copy.deepcopy(settings))[:6])


def _subset(task: str, configuration: str, settings: ConfigDict, request: Request) -> Subset:
    version = _prompt_hash(settings)
    files = subset_files(task, settings.get("name", ""))
    if request.limit is not None:
        settings["reader_cfg"]["test_range"] = f"[0:{request.limit}]"
    if task == "humaneval":
        settings["eval_cfg"]["evaluator"]["type"] = PackagedSubsetEvaluator
    return Subset(
        task=task,
        name=settings["abbr"],
        configuration=configuration,
        version=version,
        settings=settings,
        item_count=count_rows(request.data_dir, files, request.limit),
    )
