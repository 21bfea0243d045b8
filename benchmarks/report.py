"""How long a report takes to make, how large it is, and how soon it is seen.

Of an ordinary study, of one with six tasks, and of one with a million points. The points are those of the oracle, a law
known in closed form, so that nothing is trained. Seconds are of one core's own time. A page is opened as a file in
headless Chromium, over and over: `first paint` is the soonest, in milliseconds from the start of its navigation, since
on a machine with other work that one is disturbed least; `thread` is what the page's main thread has spent of a core
by the time its first figure stands.

    python benchmarks/report.py
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from reported import QUICK, analysis_of, make_study, points_of, records_of  # noqa: E402

from fitting import compare  # noqa: E402
from pipeline.analysis import Analysis, divide  # noqa: E402
from pipeline.report import Facts, render, study_facts  # noqa: E402

LAWS = ("m2", "cf", "a1")
MILLION = 1_000_000
OPENED = 7
MOST_MEGABYTES, MOST_MILLISECONDS = 5.0, 1000.0


def main() -> None:
    study = make_study()
    points = points_of(study)
    one = analysis_of(study, points, laws=LAWS)
    records = records_of(study)

    def of(analysis, table) -> Callable[[], Facts]:
        return lambda: study_facts(analysis, records=records, points=table, spend=True)

    many = _many(points)
    pages = {
        f"{len(points):,} points": of(one, points),
        "six tasks": of({f"task {k}": one for k in range(6)}, points),
        f"{len(many):,} points": of(_fitted_to_few(study, many), many),
    }
    print(f"{'study':18} {'facts s':>8} {'page s':>8} {'MB':>6} {'first paint':>12} {'thread':>8}")
    worst = 0.0
    for name, make in pages.items():
        began = time.process_time()
        facts = make()
        between = time.process_time()
        text = render(facts)
        ended = time.process_time()
        paint, thread = _opened(text)
        size = len(text.encode()) / 1e6
        print(
            f"{name:18} {between - began:8.1f} {ended - between:8.1f} {size:6.2f} {paint:9.0f} ms {thread:5.0f} ms",
            flush=True,
        )
        worst = max(worst, size / MOST_MEGABYTES, paint / MOST_MILLISECONDS)
    print(f"report: {worst:.2f} (goal < 1.00: under 5 MB, and painted within a second)")


def _many(points: pd.DataFrame) -> pd.DataFrame:
    """The points over and over, each time with other noise."""
    many = pd.concat([points] * -(-MILLION // len(points)), ignore_index=True)
    many["loss"] *= np.exp(np.random.default_rng(0).normal(0, 0.05, len(many)))
    return many


def _fitted_to_few(study, many: pd.DataFrame) -> Analysis:
    """Laws fitted to every two-hundredth point: how long fits take is not what is asked here."""
    divided = divide(study, many)
    fitted, held_out = (table.where(np.arange(0, len(table), 200)) for table in (divided.fitted, divided.held_out))
    return Analysis(study=study, divided=divided, comparisons=compare(LAWS[1:], fitted, held_out, recipe=QUICK))


def _opened(text: str) -> tuple[float, float]:
    """The soonest first paint, and the least time of the main thread, in milliseconds."""
    from playwright.sync_api import sync_playwright

    paints, threads = [], []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "report.html"
        path.write_text(text, "utf-8")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(OPENED):
            context = browser.new_context(viewport={"width": 1280, "height": 840})
            page = context.new_page()
            asked = context.new_cdp_session(page)
            asked.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.goto(path.as_uri())
            page.wait_for_selector("[data-live=hero] svg")
            paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
            known = {one["name"]: one["value"] for one in asked.send("Performance.getMetrics")["metrics"]}
            threads.append(1000 * known["TaskDuration"])
            context.close()
        browser.close()
    return min(paints), min(threads)


if __name__ == "__main__":
    main()
