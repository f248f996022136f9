"""What two engines answered, item by item: the same, or parted at a place where rounding decides."""

from __future__ import annotations

import gzip
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.structured.files import is_structured

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one engine took and left."""

    engine: str
    wall_s: float
    cpu_s: float
    start_s: float
    """Wall time until the libraries were imported."""
    records: dict[str, Any]
    """By task, as the worker wrote them."""
    folder: Path

    def spent(self, task: str, field: str) -> float:
        """Seconds or CPU seconds of a task."""
        return float(sum(subset[field] for subset in self.records[task]["subsets"]))

    def items(self, task: str) -> list[tuple[str, dict[str, Any]]]:
        """Every item of a task with the name of its subset."""
        found = []
        for subset in self.records[task]["subsets"]:
            with gzip.open(self.folder / subset["items_path"], "rt", encoding="utf-8") as lines:
                found += [(subset["name"], json.loads(line)) for line in lines]
        return found


def compare(task: str, runs: dict[str, Run], model: Path, dtype: str) -> list[dict[str, Any]]:
    """The items whose predictions differ beyond an early end, each with the place, the gap and the rounding there."""
    differing = []
    for (name, stock), (_, fast) in zip(runs["stock"].items(task), runs["fast"].items(task), strict=True):
        if stock["prompt_ids"] != fast["prompt_ids"]:
            sys.exit(f"{name}, item {stock['index']}: the engines were given different prompts")
        if not same(stock, fast):
            differing.append({"subset": name, "index": stock["index"], **explain(stock, fast, model, dtype)})
    return differing


def same(stock: dict[str, Any], fast: dict[str, Any]) -> bool:
    """Equal texts; or an early end within the stock text, with the same answer extracted."""
    if fast["ended_by"] == "early":
        begun = str(stock["prediction"]).startswith(fast["prediction"])
        return begun and bool(stock["extracted"] == fast["extracted"])
    return bool(stock["prediction"] == fast["prediction"])


def explain(stock: dict[str, Any], fast: dict[str, Any], model: Path, dtype: str) -> dict[str, Any]:
    """Where two answers part: how far the two tokens' logits are apart in FP64, and how far rounding reaches there."""
    pairs = enumerate(zip(stock["answer_ids"], fast["answer_ids"], strict=False))
    place = next((index for index, (one, other) in pairs if one != other), None)
    if place is None:
        return {"place": None, "gap": None, "rounding": None, "explained": False}
    token_ids = stock["prompt_ids"] + stock["answer_ids"][:place]
    exact, rounded = (_last_logits(model, token_ids, kind) for kind in ("float64", dtype))
    gap = abs(float(exact[stock["answer_ids"][place]] - exact[fast["answer_ids"][place]]))
    rounding = 4 * float((exact - rounded).abs().max())
    return {"place": place, "gap": gap, "rounding": rounding, "explained": gap <= rounding}


def _last_logits(model: Path, token_ids: list[int], dtype: str) -> Any:  # noqa: ANN401 - torch is imported only here
    import torch
    from transformers import AutoModelForCausalLM

    from harness.structured.loading import load

    kind = getattr(torch, dtype)
    loaded: Any = (
        load(model, dtype=kind) if is_structured(model) else AutoModelForCausalLM.from_pretrained(model, dtype=kind)
    )
    with torch.no_grad():
        return loaded(torch.tensor([token_ids])).logits[0, -1].double()
