"""What an edition forbids is refused before anything runs, with the rule, the place and the way out."""

from __future__ import annotations

import pytest

from harness.errors import RuleBroken
from harness.options import Step
from harness.rules.edition import load_edition
from harness.run.legality import check_allowed, forbidden_family
from harness.run.loading import describe
from harness.run.recipe import Recipe

TEXT = '[[step]]\nstage = "compress"\nmethod = "narrow"\n\n[[step]]\nstage = "compress"\nmethod = "round"\nbits = 8\n'


class Rounding(Step):
    """Rounds weights."""

    legal_variant = "set bits = 16"
    bits: int = 16

    def practices(self):
        """Fewer than 16 bits are quantisation."""
        return ("quantisation",) if self.bits < 16 else ()


def described(*steps):
    from harness.options import Options

    return describe(Options.model_construct(steps=steps))


RECIPE = Recipe(name="recipe.toml", text=TEXT, table={})
NARROW = Step(stage="compress", method="narrow")


class TestCheckAllowed:
    @pytest.mark.parametrize("edition", ["neurips-2024", "demo"])
    def test_refused(self, edition):
        """File and line of the step, the rule, what was found and the legal variant, with the exit code of findings."""
        options = described(NARROW, Rounding(stage="compress", method="round", bits=8))
        with pytest.raises(RuleBroken) as caught:
            check_allowed(load_edition(edition), RECIPE, options)
        assert caught.value.exit_code == 4
        message = str(caught.value)
        assert message.startswith("recipe.toml:7: edition.forbidden_method: ")
        for part in (f"'{edition}'", "step 2, round with quantisation", "way out: set bits = 16"):
            assert part in message

    @pytest.mark.parametrize("edition", ["neurips-2024", "demo", "open"])
    def test_sixteen_bits_are_allowed(self, edition):
        """The same step without the practice."""
        check_allowed(load_edition(edition), RECIPE, described(NARROW, Rounding(stage="compress", method="round")))

    def test_open_allows_it(self):
        """The research edition, which cannot compete and says so."""
        edition = load_edition("open")
        check_allowed(edition, RECIPE, described(Rounding(stage="compress", method="round", bits=4)))
        assert not edition.eligible
        assert "no entry" in edition.notice

    @pytest.mark.parametrize("method", ["gptq-int4", "fast_GPTQ"])
    def test_a_method_by_its_name(self, method):
        """A step that declares nothing is known by what it is called, as validation knows it."""
        assert forbidden_family(load_edition("neurips-2024"), (method,)) == "quantisation"
