"""A picture of a page in a real, headless Chromium.

    python bench/page_picture.py report.html docs/images/report-light.png [--scheme dark] [--width 390] [--from "#id"]

Needs the package playwright and a Chromium on PATH, or named by HARNESS_CHROMIUM.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def browser_path() -> str | None:
    """The Chromium that the environment names, or one on the path."""
    named = os.environ.get("HARNESS_CHROMIUM")
    return named or next((found for name in BROWSERS if (found := shutil.which(name))), None)


def take(page: Path, picture: Path, *, scheme: str, size: tuple[int, int], start: str | None = None) -> bool:
    """Write ``picture``: ``page`` in ``scheme``, ``size`` pixels of it from the element ``start`` on.

    Returns:
        Whether there is a browser to take it with.
    """
    path = browser_path()
    if path is None:
        print(f"no Chromium on PATH, and HARNESS_CHROMIUM names none: {picture} is not made")
        return False
    from playwright.sync_api import sync_playwright

    width, height = size
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        opened = context.new_page()
        opened.goto(page.resolve().as_uri())
        if start is not None:
            opened.eval_on_selector(start, "element => element.scrollIntoView()")
        whole = opened.evaluate("document.documentElement.scrollHeight")
        opened.set_viewport_size({"width": width, "height": min(height, whole)})
        picture.parent.mkdir(parents=True, exist_ok=True)
        opened.screenshot(path=str(picture))
        browser.close()
    return True


def main() -> None:
    """Parse the command line and take the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    parser.add_argument("--width", type=int, default=1100)
    parser.add_argument("--height", type=int, default=1400)
    parser.add_argument("--from", dest="start", help="CSS selector of the element that the picture begins at")
    typed = parser.parse_args()
    made = take(typed.page, typed.picture, scheme=typed.scheme, size=(typed.width, typed.height), start=typed.start)
    raise SystemExit(0 if made else 1)


if __name__ == "__main__":
    main()
