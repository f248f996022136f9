"""The entries of a folder: found, opened safely, held against the rules, read as entrants.

submissions/compression/<entry>/      a bundle                         named by its folder
submissions/<entry>.zip, <entry>/     whatever validate understands    made elsewhere
figures.toml                          the organiser's own numbers      in the place of what entries claim
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.ranking import bundle_entry, foreign_entry
from harness.ranking.figures import Figures, applied, read_figures
from harness.rules.edition import edition_ids, load_edition
from harness.rules.finding import Severity
from harness.submission import layout
from harness.submission.schema import Submission
from harness.validation.entry import opened
from harness.validation.foreign.kind import Kind, is_results_name
from harness.validation.record import read_document
from harness.validation.run import judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from harness.ranking.entrant import Entrant
    from harness.rules.edition import Edition
    from harness.rules.finding import Finding

FALLBACK_EDITION = "neurips-2024"
"""Of entries that name none: the competition's."""
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
RANKED_OTHERWISE = frozenset(("memory.limit",))
"""Rules that the ranking holds entries against itself, with its own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What of a folder is ranked; None: found out from the entries."""

    track: str | None = None
    edition: str | None = None
    models: tuple[str, ...] = ()
    weights: Path | None = None
    """Folder with the checkpoints that bundles reference."""
    with_broken: bool = False
    """Rank bundles with broken rules too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Who takes part, and in what."""

    edition: Edition
    track: str
    models: tuple[str, ...]
    entrants: tuple[Entrant, ...]


def read_field(place: Path, choice: Choice, figures: Path | None = None) -> Field:
    """The entries in ``place``.

    Args:
        place: a folder of entries, or the organiser's file of figures alone (``.toml``).
        choice: what of it.
        figures: the organiser's file.

    Raises:
        UsageError: nothing is there; the entries are of several tracks or editions and none was named; no model is
            common to them; or the figures cannot be read.
    """
    figures = place if figures is None and place.suffix == ".toml" and place.is_file() else figures
    stated = Figures() if figures is None else read_figures(figures)
    paths = () if figures == place else find(place)
    if not paths and not stated.entry:
        raise UsageError(f"{place}: expected a folder of entries, found none in it")
    manifests = {path: _manifest(path) for path in paths}
    known = [one for one in manifests.values() if one is not None]
    edition = load_edition(_edition(choice, known))
    track = _track(choice, known, stated, edition)
    models = _models(choice, [one for one in known if one.track == track], track, edition)
    read = [_entrant(path, edition, track, models, choice) for path in paths if _takes_part(manifests[path], track)]
    name = "" if figures is None else figures.name
    return Field(edition=edition, track=track, models=models, entrants=applied(_unique(read), stated, name, edition))


def find(folder: Path) -> tuple[Path, ...]:
    """The entries in ``folder``, and in folders of it that hold bundles (one for each track), sorted.

    Raises:
        UsageError: it is no folder, or an entry itself.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: expected a folder of entries, found no folder")
    if (folder / layout.SUBMISSION).is_file():
        raise UsageError(f"{folder}: is an entry itself; name the folder that it stands in")
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.is_symlink():
            continue
        inner = _bundles(path) if path.is_dir() else ()
        found += inner or ([path] if path.is_dir() or _can_be_entry(path) else [])
    return tuple(found)


def _bundles(folder: Path) -> tuple[Path, ...]:
    """The bundles in the folder of a track; none where ``folder`` is an entry itself."""
    if (folder / layout.SUBMISSION).is_file():
        return ()
    inner = (path for path in sorted(folder.iterdir()) if path.is_dir() and not path.is_symlink())
    return tuple(path for path in inner if not path.name.startswith(".") and (path / layout.SUBMISSION).is_file())


def _can_be_entry(path: Path) -> bool:
    return path.name.lower().endswith(ARCHIVES) or is_results_name(path.name)


def _manifest(path: Path) -> Submission | None:
    """The manifest of a bundle in a folder; of archives, and of what cannot be read, none."""
    if not (path / layout.SUBMISSION).is_file():
        return None
    return read_document(path, layout.SUBMISSION, Submission)[0]


def _edition(choice: Choice, known: Sequence[Submission]) -> str:
    if choice.edition is not None:
        return choice.edition
    named = sorted({one.edition.id for one in known})
    if len(named) > 1:
        raise UsageError(f"the entries were made under {', '.join(named)}; name one of them: --edition ID")
    return named[0] if named and named[0] in edition_ids() else FALLBACK_EDITION


def _track(choice: Choice, known: Sequence[Submission], figures: Figures, edition: Edition) -> str:
    named = {one.track for one in known} | ({figures.track} if figures.track else set())
    asked = {choice.track} if choice.track else named or set(edition.tracks)
    if len(asked) != 1:
        known_to = "there are entries of" if named else f"no entry names its track; {edition.id} has"
        raise UsageError(f"{known_to} {', '.join(sorted(asked))}; name one of them: --track NAME")
    (track,) = asked
    if track not in edition.tracks:
        raise UsageError(f"--track {track}: edition {edition.id} has {', '.join(edition.tracks)}")
    return track


def _models(choice: Choice, known: Sequence[Submission], track: str, edition: Edition) -> tuple[str, ...]:
    """What was asked for; all of the track's where entries compete; else those that all entries have."""
    wanted = edition.tracks[track].models
    if choice.models or edition.eligible or not known:
        strange = [name for name in choice.models if name not in wanted]
        if strange:
            raise UsageError(f"--models {strange[0]}: the track {track} has {', '.join(wanted)}")
        return choice.models or wanted
    having = Counter(name for one in known for name in {model.name for model in one.models})
    common = tuple(name for name in wanted if having[name] == len(known))
    if not common:
        raise UsageError(f"no base model is common to all entries; name those that count: --models {','.join(wanted)}")
    return common


def _takes_part(manifest: Submission | None, track: str) -> bool:
    """Entries made elsewhere name no track: they are taken to be of the one that is asked for."""
    return manifest is None or manifest.track == track


def _entrant(path: Path, edition: Edition, track: str, models: tuple[str, ...], choice: Choice) -> Entrant:
    with opened(path, weights=choice.weights) as entry:
        findings = judge(entry, edition).findings
        if entry.kind is not Kind.BUNDLE:
            entrant = foreign_entry.entrant_of(entry, edition, findings)
            broken = foreign_entry.broken(findings)
        else:
            entrant = bundle_entry.entrant_of(entry, edition, models, findings)
            broken = [one for one in findings if one.severity is Severity.ERROR]
            entrant = _held_against(entrant, entry.submission, edition, track)
    broken = [one for one in broken if one.rule not in RANKED_OTHERWISE]
    return entrant.but(_reason(broken)) if broken and not choice.with_broken else entrant


def _held_against(entrant: Entrant, manifest: Submission | None, edition: Edition, track: str) -> Entrant:
    if manifest is not None and manifest.edition.id != edition.id:
        return entrant.but(f"made under edition {manifest.edition.id}, ranked is {edition.id}")
    if manifest is not None and manifest.track != track:
        return entrant.but(f"of the track {manifest.track}, ranked is {track}")
    return entrant


def _reason(broken: Sequence[Finding]) -> str:
    rules = list(dict.fromkeys(one.rule for one in broken))
    more = f" and {len(rules) - 3} more" if len(rules) > 3 else ""  # noqa: PLR2004 - enough to see why
    return f"rules broken: {', '.join(rules[:3])}{more}"


def _unique(entrants: Iterable[Entrant]) -> tuple[Entrant, ...]:
    """The entries, which are called by their folders: two of one name could not be told apart.

    Raises:
        UsageError: there are two.
    """
    read = tuple(entrants)
    counts: Mapping[str, int] = Counter(one.name for one in read)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise UsageError(f"two entries are called {twice[0]!r}; entries are named by their folders: rename one")
    return read
