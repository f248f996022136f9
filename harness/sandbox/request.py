"""What the jail is asked and what it answers, as JSON; only the harness and the worker write a request."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .layers import Layer
from .limits import Limits
from .outcome import Outcome

if TYPE_CHECKING:
    from .layers import Property

Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Programs to run."""

    programs: tuple[str, ...]
    """Source of each."""
    limits: Limits
    packages: tuple[str, ...] = ()
    """Folders that programs import from, besides the standard library; their code is trusted."""
    preload: tuple[str, ...] = ()
    """Modules imported once, before the walls: programs then need not wait for them."""
    workers: int | None = None
    """Programs at a time; None for one a processor."""
    weak: bool = False
    """Run even where a required property does not hold."""
    without: frozenset[Layer] = frozenset()
    """Layers not to use: to see what the others do."""


def request_record(request: Request) -> Record:
    """As it stands in the file."""
    return asdict(request) | {"without": sorted(layer.value for layer in request.without)}


def read_request(record: Record) -> Request:
    """Parse what `request_record` wrote; raises ``KeyError``, ``TypeError`` or ``ValueError`` on anything else."""
    return Request(
        programs=tuple(record["programs"]),
        limits=Limits(**record["limits"]),
        packages=tuple(record["packages"]),
        preload=tuple(record["preload"]),
        workers=record["workers"],
        weak=record["weak"],
        without=frozenset(Layer(name) for name in record["without"]),
    )


def answer_record(outcomes: tuple[Outcome, ...]) -> Record:
    """As it stands in the file."""
    return {"outcomes": [asdict(outcome) for outcome in outcomes]}


def read_outcomes(record: Record) -> tuple[Outcome, ...]:
    """Parse what `answer_record` wrote."""
    return tuple(Outcome(**outcome) for outcome in record["outcomes"])


def property_record(held: Property) -> Record:
    """A line of the probe's table."""
    return asdict(held) | {"holds": held.holds}
