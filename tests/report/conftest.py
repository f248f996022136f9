"""Bundles for pages, and a real browser where there is one."""

from __future__ import annotations

import os
import shutil

import pytest

from harness.validation.run import validate
from tests.validation.make import make

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def browser_path():
    """The Chromium that the environment names, or one on the path; none where there is none."""
    named = os.environ.get("HARNESS_CHROMIUM")
    return named or next((found for name in BROWSERS if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def entry(tmp_path_factory):
    """A bundle whose strategy recorded everything that can be drawn."""
    made = make(tmp_path_factory.mktemp("entry"))
    made.change("submission.json", with_records)
    return made


def with_records(manifest):
    """Add curves, ranks, a table of sensitivities and options to the notes of the first model."""
    steps = manifest["models"][0]["steps"]
    steps[0]["notes"] = {
        "ranks": {f"layers.{number}.up_proj": 8 + number for number in range(12)},
        "sensitivity": [[0.1 * row + 0.02 * column for column in range(5)] for row in range(4)],
        "kept": True,
    }
    losses = [3.0 / (1 + number / 20) for number in range(120)]
    steps[1]["notes"] = {"history": {"loss": losses}, "loss_first": 3.0, "loss_last": 0.5}


@pytest.fixture(scope="session")
def validation(entry):
    return validate(entry.path, weights=entry.weights)


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium; skips, with the reason, where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
    path = browser_path()
    if path is None:
        pytest.skip("no Chromium on PATH, and HARNESS_CHROMIUM names none")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


class Opened:
    """A page in the browser, and everything that it asked for or complained about."""

    def __init__(self, page):
        self.page = page
        self.complaints = []
        self.requests = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))


@pytest.fixture
def open_page(browser, tmp_path):
    """Open HTML text with a colour scheme and a width."""
    contexts = []

    def open_text(text, *, scheme="light", width=1200, script=True):
        path = tmp_path / f"page{len(contexts)}.html"
        path.write_text(text)
        contexts.append(
            browser.new_context(
                viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=script
            )
        )
        opened = Opened(contexts[-1].new_page())
        opened.page.goto(path.as_uri())
        return opened

    yield open_text
    for context in contexts:
        context.close()
