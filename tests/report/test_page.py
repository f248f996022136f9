"""The page of a bundle: whole in itself, the same bytes every time, and nobody's text becomes markup."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from harness.errors import UsageError
from harness.report.page import report_page, write_report
from harness.validation.run import validate

MAX_PAGE_BYTES = 1_000_000
EVIL = '</script><script>window.evil=1</script><img src=x onerror="window.evil=1">'


@pytest.fixture(scope="module")
def text(entry, validation):
    return report_page(entry.path, validation)


class Collected(HTMLParser):
    """The tags, ids and links of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.ids += [value for name, value in attributes if name == "id"]
        self.links += [value for name, value in attributes if name in {"src", "href", "xlink:href", "action"}]


class TestPage:
    def test_tells_the_whole_story(self, text):
        """Notice, every model, steps, checkpoints, tasks, data, and how to run it again."""
        words = ("not eligible", "llama", "qwen2", "phi", "compress", "lora", "control", "GSM8K", "bits per byte", "c4")
        for word in (*words, "harness submit --plugin baseline-l1", "No rule is broken"):
            assert word in text

    def test_needs_nothing_beside_it(self, text):
        """Links lead within the page; there is one script, and no image, frame or style from elsewhere."""
        page = Collected(text)
        assert all(link.startswith("#") for link in page.links)
        assert page.tags.count("script") == 1
        assert not {"img", "link", "iframe", "object", "form"} & set(page.tags)
        assert "@import" not in text
        assert set(re.findall(r"url\((.)", text)) <= {"#"}

    def test_ids_are_unique_and_every_reference_has_one(self, text):
        """Charts share a page, so their ids must not meet."""
        page = Collected(text)
        assert len(page.ids) == len(set(page.ids))
        wanted = {*(link[1:] for link in page.links), *re.findall(r"url\(#([^)]+)\)", text)}
        assert wanted <= set(page.ids)

    def test_is_small(self, text):
        """Well below a megabyte, three models and all charts included."""
        assert len(text.encode()) < MAX_PAGE_BYTES

    def test_same_record_same_bytes(self, entry, validation, text):
        """No date, no random id: the page can be digested with the bundle."""
        assert report_page(entry.path, validation) == text

    def test_colours_are_the_pages_own(self, text):
        """No stand-in is left in a drawing, so every line follows the theme."""
        drawings = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
        assert not re.findall(r"#[0-9a-f]{6}", drawings)
        assert "var(--series-3)" in drawings

    def test_every_chart_has_its_numbers(self, text):
        """Behind each drawing stands a table."""
        figures = re.findall(r"<figure.*?</figure>", text, re.DOTALL)
        assert len(figures) >= 9
        assert all("<table>" in figure and "<svg" in figure for figure in figures)

    @pytest.mark.parametrize("title", ["Training", "ranks", "sensitivity", "Scores", "Parameters, step by step"])
    def test_draws_what_was_recorded(self, text, title):
        """Curves, ranks and sensitivities that a strategy left in its notes."""
        assert re.search(rf"<h4>[^<]*{title}</h4>\n<svg", text)

    def test_a_filed_page_breaks_no_rule(self, entry, validation, tmp_path):
        """The manifest names it; written again it is the same, and a stale one is no finding of the new one."""
        copy = shutil.copytree(entry.path, tmp_path / entry.path.name)
        written = write_report(copy, validation).read_bytes()
        assert validate(copy, weights=entry.weights).findings == validation.findings
        manifest = (copy / "submission.json").read_bytes()
        (copy / "report.html").write_text("stale")
        write_report(copy, validate(copy, weights=entry.weights))
        assert (copy / "report.html").read_bytes() == written
        assert (copy / "submission.json").read_bytes() == manifest

    def test_a_signed_bundle_is_left_alone(self, entry, validation, tmp_path):
        """A signature covers the manifest, which would have to change."""
        copy = shutil.copytree(entry.path, tmp_path / entry.path.name)
        (copy / "submission.sig").write_text("{}")
        with pytest.raises(UsageError, match="--out FILE"):
            write_report(copy, validation)
        assert not (copy / "report.html").exists()

    def test_without_neighbours_it_says_what_it_can(self, entry, validation, tmp_path):
        """A broken ledger, recipe or lock takes only its own part away."""
        copy = shutil.copytree(entry.path, tmp_path / entry.path.name)
        for name in ("ledger.json", "recipe.json", "lock.json"):
            (copy / name).write_text("{")
        text = report_page(copy, validation)
        assert "The ledger cannot be read" in text
        assert "GSM8K" in text

    def test_no_bundle_no_page(self, tmp_path, validation):
        """The message says what is missing, and where to learn more."""
        with pytest.raises(UsageError, match=r"submission\.json.*harness validate"):
            report_page(tmp_path, validation)

    def test_absurd_numbers_are_refused_or_shown_as_absent(self, entry, validation, tmp_path):
        """A whole number without end is refused; what is not finite is a dash."""
        copy = shutil.copytree(entry.path, tmp_path / entry.path.name)
        made = type(entry)(path=copy, weights=entry.weights)
        speed = "models.0.checkpoints.2.measurements.performance.decode_tokens_per_s"
        made.set("submission.json", speed, "NaN")
        made.set("submission.json", "models.0.steps.0.duration_s", "Infinity")
        assert "GSM8K" in report_page(copy, validation)
        made.set("submission.json", "models.0.steps.0.parameter_count", 10**30)
        with pytest.raises(UsageError, match="beyond"):
            report_page(copy, validation)

    def test_findings_stand_with_their_fix(self, entry):
        """Rule, place, found, allowed and the way out."""
        report = validate(entry.path, weights=None)
        text = report_page(entry.path, report)
        assert report.findings
        for finding in report.findings:
            assert finding.rule in text
            assert finding.place.file in text


@pytest.fixture(scope="module")
def hostile(entry, tmp_path_factory):
    """The page of a record whose every free text is an attack."""
    copy = shutil.copytree(entry.path, tmp_path_factory.mktemp("hostile") / entry.path.name)
    made = type(entry)(path=copy, weights=entry.weights)
    made.set("recipe.json", "command", ["harness", EVIL])
    made.set("ledger.json", "steps.0.entries.0.data", EVIL)
    manifest = made.read("submission.json")
    manifest |= {"team": EVIL, "notice": EVIL, "track": EVIL}
    model = manifest["models"][0]
    model["base"]["embedded"] = model["package"]["format"] = model["plugin_metrics"][0]["name"] = EVIL
    model["steps"][0]["method"] = EVIL
    model["steps"][0]["notes"] = {EVIL: EVIL, "b": {EVIL: 1, "$x$": 2, "\x00\u202e🙂": 3}}
    model["checkpoints"][2]["measurements"]["evaluation"]["tasks"][0]["column"] = f"$\\frac{{{EVIL}"
    (copy / "submission.json").write_text(json.dumps(manifest))
    return report_page(copy, validate(copy, weights=entry.weights))


class TestHostile:
    def test_no_text_becomes_markup(self, hostile):
        """Tags of the record are text of the page."""
        page = Collected(hostile)
        assert page.tags.count("script") == 1
        assert "img" not in page.tags
        assert "&lt;img" in hostile

    def test_nothing_runs_in_the_browser(self, hostile, open_page):
        """Even the browser finds no script but ours."""
        opened = open_page(hostile)
        assert opened.page.evaluate("window.evil") is None
        assert opened.complaints == []
        assert len(opened.requests) == 1


class TestInTheBrowser:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [1200, 390])
    def test_opens_without_a_complaint(self, text, open_page, scheme, width):
        """No error, no request, no sideways scrolling, and charts that have an extent."""
        opened = open_page(text, scheme=scheme, width=width)
        assert opened.complaints == []
        assert len(opened.requests) == 1
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        sizes = opened.page.evaluate(
            "[...document.querySelectorAll('figure > svg')].map(s => s.getBoundingClientRect().height)"
        )
        assert len(sizes) >= 9
        assert min(sizes) > 60

    def test_a_phone_shows_what_a_row_is(self, text, open_page):
        """Captions fit the screen, and the names of the rows stay while a wide table is moved under them."""
        page = open_page(text, width=390).page
        ends = page.evaluate("[...document.querySelectorAll('caption')].map(c => c.getBoundingClientRect().right)")
        assert max(ends) <= 390
        table = page.locator("h3:text('Side by side') + .scroll").first
        places = "e => [e.scrollLeft, e.querySelector('tbody th').getBoundingClientRect().left]"
        before = table.evaluate(places)
        table.evaluate("e => { e.scrollLeft = 200 }")
        after = table.evaluate(places)
        assert after[0] > before[0] == 0
        assert after[1] == pytest.approx(before[1], abs=1)

    def test_follows_the_system_and_the_button(self, text, open_page):
        """Dark where the system is dark; the button turns it round, drawings included."""
        opened = open_page(text, scheme="dark")
        paper = "getComputedStyle(document.body).backgroundColor"
        ink = "getComputedStyle(document.querySelector('figure svg text')).fill"
        dark = opened.page.evaluate(f"[{paper}, {ink}]")
        opened.page.click(".theme")
        light = opened.page.evaluate(f"[{paper}, {ink}]")
        assert dark[0] != light[0]
        assert dark[1] != light[1]
        assert opened.page.inner_text(".theme") == "Dark"

    def test_is_readable_without_its_script(self, text, open_page):
        """The script is a convenience."""
        opened = open_page(text, script=False)
        assert opened.page.is_visible("text=Side by side")
        assert not opened.page.is_visible(".theme")
