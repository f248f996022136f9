"""What an entry from scratch starts from: the recipe's first step writes it, and it is the entry's base.

tokenizer (--base scratch=FOLDER, or the edition's) ─┐
recipe's first step, stage initialise, and the seed ─┴─ plugin ──> untrained checkpoint, once, named by its digest
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.checkpoint.checkpoint import sha256_of
from harness.errors import RecipeError
from harness.run.observer import ignore
from harness.run.products import product_of
from harness.run.stepping import Product, perform

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import JsonValue

    from harness.rules.edition import TrackRule
    from harness.run.host import PluginHost
    from harness.run.protocol import OptionsDescription
    from harness.run.recipe import Recipe
    from harness.run.settings import SubmitSettings
    from harness.run.workspace import Workspace

INITIALISE: Final = "initialise"
TOKENIZER_FILES: Final = (
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
)
"""Of the folder, what an initialisation depends on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Initialisation:
    """What is to be written, and by whom."""

    host: PluginHost
    recipe: Recipe
    options: OptionsDescription
    tokenizer: Path
    settings: SubmitSettings
    code: dict[str, JsonValue]
    """Digests and versions of the code that decides the bytes."""

    def depends_on(self) -> dict[str, JsonValue]:
        """Everything that the bytes depend on."""
        files = [self.tokenizer / name for name in TOKENIZER_FILES]
        return {
            "kind": INITIALISE,
            "step": self.options.steps[0].model_dump(mode="json"),
            "options": self.options.other,
            "tokenizer": {file.name: sha256_of(file) for file in files if file.is_file()},
            "seed": self.settings.seed,
            "device": self.settings.device,
            "threads": self.settings.threads,
            **self.code,
        }


def initialise(what: Initialisation, workspace: Workspace) -> Path:
    """The folder of the untrained checkpoint; written once.

    Raises:
        PluginFailed: the plugin is broken.
        ContractBroken: it wrote no whole checkpoint.
    """

    def work(folder: Path) -> Product:
        request = what.host.request(
            INITIALISE,
            what.recipe,
            folder,
            tokenizer=str(what.tokenizer.resolve()),
            device=what.settings.device,
            seed=what.settings.seed,
        )
        return product_of(request, what.host.call(request, folder, ignore), folder)

    return workspace.output(perform(workspace, what.depends_on(), work).record.key)


def check_start(track: TrackRule, recipe: Recipe, options: OptionsDescription) -> None:
    """The recipe begins as the track does: with an initialisation where there is no base model, and only there.

    Raises:
        RecipeError: it does not.
    """
    stages = [step.stage for step in options.steps]
    if not track.from_pretrained and stages[:1] != [INITIALISE]:
        found = stages[0] if stages else "no step"
        raise RecipeError(f"{recipe.name}: the track has no base model, so step 1 must be initialise; found {found}")
    later = [number for number, stage in enumerate(stages, 1) if stage == INITIALISE and number > 1]
    wrong = later or ([1] if track.from_pretrained and INITIALISE in stages else [])
    if wrong:
        allowed = "no initialise step, for the track has base models" if track.from_pretrained else "one, the first"
        raise RecipeError(f"{recipe.name}: step {wrong[0]} is an initialise step; allowed: {allowed}")
