"""The README's pictures: the quickstart's report in a real browser. `make pictures` makes both.

python tests/support/pictures.py REPORT FOLDER
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

WIDTH, HEIGHT = 1180, 780
"""Of the window, in pixels: a README shows 900 of them, so that text stays readable."""


def main(report: str, folder: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(Path(report).absolute().as_uri())
        page.wait_for_selector("[data-live=hero] svg")
        page.screenshot(path=f"{folder}/quickstart.png")
        page.add_style_tag(content="html { scroll-behavior: auto }")
        page.select_option("#explorer [data-part=view]", "map")
        page.evaluate("document.getElementById('explorer').scrollIntoView()")
        page.screenshot(path=f"{folder}/quickstart_explorer.png")
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
