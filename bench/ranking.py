"""The figures of docs/bench/ranking.md: whether the ranking's intervals keep their word, and what ranking costs.

    python bench/ranking.py coverage [--draws 2000]       intervals on scores and on differences, at official sizes
    python bench/ranking.py places [--competitions 200]   intervals on places; equally good entries told apart
    python bench/ranking.py cost [--entries 1000]         a fresh process: all of the leaderboard, wall, CPU and VmHWM

Simulated entries answer an item with the chance 1 / (1 + exp(difficulty - ability)), difficulties drawn from a normal
distribution; the true score is the mean of that over all difficulties. Every printed rate has its standard error.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import numpy as np

from harness.ranking.building import Asked, build
from harness.ranking.entrant import Entrant, Items, Number, items_of
from harness.ranking.intervals import difference_interval, share_interval
from harness.ranking.points import award, places
from harness.ranking.rank_sum import standing
from harness.ranking.replicates import replicate
from harness.ranking.uncertainty import ERROR, uncertainty_of
from harness.rules.edition import load_edition
from harness.submission.items import pack, unpack
from harness.submission.measurements import ItemRecord

EDITION: Final = load_edition("neurips-2024")
SIZES: Final = {
    "commonsense_qa": (1221,),
    "bbh": (*(250,) * 24, 187, 178, 146),
    "gsm8k": (1319,),
    "humaneval": (164,),
    "chid": (2002,),
    "truthful_qa": (817,),
}
"""Items of the official tasks, by subset."""
COST_SIZES: Final = {
    "commonsense_qa": (1015,),
    "bbh": (200,) * 27,
    "gsm8k": (1096,),
    "humaneval": (136,),
    "chid": (1663,),
    "truthful_qa": (690,),
}
"""The same in proportion, 10,000 items together."""
SPREAD: Final = 1.5
"""Standard deviation of the difficulties."""
CHANCES: Final = ((0.01, 0.02), (0.03, 0.03), (0.1, 0.15), (0.3, 0.3), (0.5, 0.45), (0.8, 0.85))
"""True scores of the two entries whose difference is estimated."""
NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
Drawn = np.ndarray


def chance(ability: Drawn, difficulty: Drawn) -> Drawn:
    """Chance of a right answer, elementwise."""
    return np.asarray(1 / (1 + np.exp(difficulty - ability)))


def true_share(abilities: Drawn) -> float:
    """Mean over all difficulties and over the models."""
    rows = chance(abilities[:, None], SPREAD * NODES[None])
    return float((rows @ NODE_WEIGHTS / NODE_WEIGHTS.sum()).mean())


def abilities_for(share: float, models: int) -> Drawn:
    """Abilities of ``models`` that differ, with the mean score ``share``; by halving."""
    apart = np.linspace(-0.4, 0.4, models) if models > 1 else np.zeros(1)
    low, high = -15.0, 15.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if true_share(middle + apart) < share else (low, middle)
    return middle + apart


def draw(abilities: Drawn, difficulties: Drawn, sizes: tuple[int, ...], generator: np.random.Generator) -> Items:
    """Answers of one entry's models to items of those difficulties."""
    right = generator.random((len(abilities), len(difficulties))) < chance(abilities[:, None], difficulties[None])
    return Items(key="drawn", subset_sizes=sizes, right=right.astype(np.uint8), counted=np.ones_like(right))


def coverage(draws: int) -> None:
    """How often 95 % intervals hold the truth."""
    generator = np.random.default_rng(0)
    print("| items | models | true scores, % | interval on the score | on the difference |")
    print("|---|---|---|---|---|")
    found = []
    for task in ("humaneval", "truthful_qa", "gsm8k", "bbh"):
        for models in (1, 3):
            for pair in CHANCES:
                hits = _covered(SIZES[task], models, pair, draws, generator)
                found += [count / draws for count in hits]
                score, difference = (_rate(count, draws) for count in hits)
                shares = " and ".join(f"{100 * one:g}" for one in pair)
                print(f"| {sum(SIZES[task])} ({task}) | {models} | {shares} | {score} | {difference} |", flush=True)
    print(
        f"\nof {len(found)} rates: mean {100 * np.mean(found):.2f} %, lowest {100 * min(found):.1f} %, highest "
        f"{100 * max(found):.1f} %, {sum(0.93 <= one <= 0.97 for one in found)} between 93 and 97 %"  # noqa: PLR2004
    )


def _covered(
    sizes: tuple[int, ...], models: int, pair: tuple[float, float], draws: int, generator: np.random.Generator
) -> tuple[int, int]:
    first, second = (abilities_for(share, models) for share in pair)
    scores = differences = 0
    for _ in range(draws):
        difficulties = SPREAD * generator.normal(size=sum(sizes))
        one, other = (draw(abilities, difficulties, sizes, generator) for abilities in (first, second))
        score, difference = share_interval(one), difference_interval(one, other)
        scores += score.low <= pair[0] <= score.high
        differences += difference.low <= pair[0] - pair[1] <= difference.high
    return scores, differences


def _rate(count: int, total: int) -> str:
    share = count / total
    return f"{100 * share:.1f} ± {100 * math.sqrt(share * (1 - share) / total):.1f} %"


def bench_places(competitions: int, replicates: int) -> None:
    """Coverage of intervals on places, and errors of shared places, among 12 entries at official sizes."""
    generator = np.random.default_rng(1)
    spread = generator.normal(size=(12, 1)) + 0.3 * generator.normal(size=(12, len(SIZES)))
    close = 0.1 * generator.normal(size=(12, 1)) + 0.1 * generator.normal(size=(12, len(SIZES)))
    print(
        "| 12 entries | place within its interval | mean width | pairs told apart | of all pairs the wrong way round |"
    )
    print("|---|---|---|---|---|")
    for name, abilities in (("far apart", spread), ("close together", close), ("equally good", np.zeros_like(spread))):
        print(f"| {name} | {_places_of(abilities, competitions, replicates, generator)} |", flush=True)


def _places_of(abilities: Drawn, competitions: int, replicates: int, generator: np.random.Generator) -> str:
    truth = np.array([[true_share(np.array([one])) for one in row] for row in abilities])
    true_places = places(award(truth.T, EDITION.ranking.points).sum(axis=0)[None])[0]
    within, widths, apart, wrong, pairs = 0, 0.0, 0, 0, 0
    for number in range(competitions):
        entrants = drawn_entrants(abilities, SIZES, generator, timed=False)
        found = standing(entrants, EDITION)
        sure = uncertainty_of(found, replicate(found, seed=number, count=replicates))
        wanted = true_places[[int(one.name) for one in found.entrants]]
        within += int(((sure.place_low <= wanted) & (wanted <= sure.place_high)).sum())
        widths += float((sure.place_high - sure.place_low).mean())
        ahead = sure.beats >= 1 - ERROR / 2
        apart += int(ahead.sum())
        wrong += int((ahead & (wanted[:, None] > wanted[None, :])).sum())
        pairs += len(entrants) * (len(entrants) - 1) // 2
    is_equal = len(set(true_places.tolist())) == 1
    covered = "(no order to cover)" if is_equal else _rate(within, competitions * len(abilities))
    return (
        f"{covered} | {widths / competitions:.1f} | {_rate(apart, pairs)} | {'-' if is_equal else _rate(wrong, pairs)}"
    )


def drawn_entrants(
    abilities: Drawn, sizes: dict[str, tuple[int, ...]], generator: np.random.Generator, *, timed: bool
) -> list[Entrant]:
    """Entries of one model each, named by their numbers, on the same items; with a throughput where ``timed``."""
    difficulties = {task: SPREAD * generator.normal(size=sum(parts)) for task, parts in sizes.items()}
    return [
        _entrant(
            str(number),
            {
                task: draw(row[[place]], difficulties[task], parts, generator)
                for place, (task, parts) in enumerate(sizes.items())
            },
            speeds=tuple(generator.normal(20, 5) + generator.normal(0, 0.2, size=5)) if timed else (),
        )
        for number, row in enumerate(abilities)
    ]


def _entrant(name: str, items: dict[str, Items], *, speeds: tuple[float, ...]) -> Entrant:
    scores = {
        task: Number(value=share_interval(one).value * EDITION.tasks[task].scale, unit="", sources=())  # type: ignore[index]
        for task, one in items.items()
    }
    return Entrant(
        name=name,
        team=name,
        kind="drawn",
        models=("llama",),
        scores=scores,
        items=items,
        throughput=Number(value=float(np.median(speeds)), unit="tokens/s", sources=()) if speeds else None,
        throughput_samples=(speeds,) if speeds else (),
    )


def bench_cost(entries: int) -> None:
    """Rank in a process of its own; then read one entry's items from packed bytes."""
    done = subprocess.run(
        [sys.executable, __file__, "cost", "--entries", str(entries), "--child"],
        capture_output=True,
        text=True,
        check=True,
    )
    print(json.dumps({**machine(), **json.loads(done.stdout), **read_cost()}, indent=2))


def cost_child(entries: int) -> None:
    """Draw the entries, then rank them; what is said of memory includes both."""
    generator = np.random.default_rng(2)
    abilities = generator.normal(size=(entries, 1)) + 0.3 * generator.normal(size=(entries, len(COST_SIZES)))
    entrants = drawn_entrants(abilities, COST_SIZES, generator, timed=True)
    before_bytes, wall, processor = peak_bytes(), time.perf_counter(), time.process_time()
    board = build(entrants, EDITION, Asked(track="compression", models=("llama",)))
    spent = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - processor}
    items = sum(map(sum, COST_SIZES.values()))
    shown = {"entries": len(board.rows), "items_each": items, "replicates": board.replicates}
    print(json.dumps({**shown, **spent, "peak_bytes": peak_bytes(), "peak_bytes_before": before_bytes}))


def read_cost() -> dict[str, float]:
    """CPU seconds to unpack 10,000 items of one entry, the answers of a sentence each."""
    said = "So the answer is 42. " * 10
    records = [
        ItemRecord(
            subset="gsm8k", index=number, prediction=said, extracted="42", reference="42", correct=number % 3 == 0
        )
        for number in range(10_000)
    ]
    packed = pack(records)
    start = time.process_time()
    items_of([unpack(packed)])
    return {"read_cpu_s_an_entry": time.process_time() - start, "packed_bytes_an_entry": len(packed)}


def peak_bytes() -> int:
    """VmHWM of this process."""
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def machine() -> dict[str, str | float | int | None]:
    """What it ran on."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": names[0].partition(":")[2].strip() if names else platform.machine(),
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("coverage").add_argument("--draws", type=int, default=2000)
    ranks = commands.add_parser("places")
    ranks.add_argument("--competitions", type=int, default=200)
    ranks.add_argument("--replicates", type=int, default=1000)
    cost = commands.add_parser("cost")
    cost.add_argument("--entries", type=int, default=1000)
    cost.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.command == "coverage":
        coverage(asked.draws)
    elif asked.command == "places":
        bench_places(asked.competitions, asked.replicates)
    elif asked.child:
        cost_child(asked.entries)
    else:
        bench_cost(asked.entries)


if __name__ == "__main__":
    main()
