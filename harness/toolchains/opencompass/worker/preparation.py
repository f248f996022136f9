"""Before OpenCompass is imported: nothing may reach the network, and every relative path must lead to our files."""

from __future__ import annotations

import os
import random
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from .task_data import FILES

if TYPE_CHECKING:
    from .request import Request

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_EVALUATE_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

TRUTHFUL_QA_CARD = """---
configs:
- config_name: generation
  data_files:
  - split: validation
    path: generation/validation.jsonl
---
"""
"""What tells Hugging Face `datasets` to read the folder as the configuration that OpenCompass asks for."""


def prepare(request: Request) -> None:
    """Set the environment, close the network, lay out the current folder; the current folder must be fresh."""
    here = Path.cwd()
    os.environ.update(OFFLINE)
    os.environ.pop("DATASET_SOURCE", None)
    os.environ["COMPASS_DATA_CACHE"] = str(request.data_dir)
    os.environ["HF_HOME"] = str(here / "huggingface")
    close_network()
    shutil.copytree(Path(__file__).parent / "hub" / "bleu", here / "bleu")
    if "truthful_qa" in request.tasks:
        _place_truthful_qa(request.data_dir, here)


def close_network() -> None:
    """Let sockets of this process, and of processes forked from it, connect to local ones only."""
    connect = socket.socket.connect

    def connect_locally(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX:
            raise OSError(f"the network is closed during an evaluation: {address}")
        connect(self, address)  # type: ignore[arg-type]

    socket.socket.connect = connect_locally  # type: ignore[assignment,method-assign]


def _place_truthful_qa(data_dir: Path, here: Path) -> None:
    """OpenCompass loads ``truthful_qa`` by a path relative to the current folder."""
    source = data_dir / FILES["truthful_qa"][0]
    target = here / "truthful_qa" / "generation" / "validation.jsonl"
    target.parent.mkdir(parents=True)
    shutil.copyfile(source, target)
    (here / "truthful_qa" / "README.md").write_text(TRUTHFUL_QA_CARD, encoding="utf-8")


def seed_everything(seed: int, threads: int) -> None:
    """Fix the generators and the number of threads of the computation."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the generator that the libraries use
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
