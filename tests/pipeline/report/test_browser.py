"""The page in a real browser: no error, no request, and what moves gives the numbers that Python gives."""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
from reported import FEW, HOSTILE, QUICK, analysis_of, make_study

from fitting import LAWS, Metric, Table, compare
from pipeline.report import render, study_facts
from pipeline.report.facts import LawFacts
from pipeline.report.program import translate
from pipeline.report.serving import Server

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser():
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("no browser to open the report in: apt-get install chromium, or set CHROMIUM")
    api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser: pip install -e '.[dev]'")
    with api.sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield one
        one.close()


class Opened:
    """A page with what it complained of and what it asked for."""

    def __init__(self, browser, text: str, folder, **context):
        self.complaints: list[str] = []
        self.requests: list[str] = []
        (folder / "report.html").write_text(text, "utf-8")
        self.tab = browser.new_context(**context).new_page()
        self.tab.set_default_timeout(120_000)  # of a machine with other work
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.goto((folder / "report.html").as_uri())

    def __getattr__(self, name):
        return getattr(self.tab, name)


@pytest.fixture
def open_page(browser, tmp_path):
    opened = []

    def open_one(text: str, **context) -> Opened:
        opened.append(Opened(browser, text, tmp_path, **context))
        return opened[-1]

    yield open_one
    for one in opened:
        one.tab.context.close()


def part(page, name: str) -> str:
    return page.locator(f"#explorer [data-part={name}]").inner_text()


def set_slider(page, name: str, share: float) -> float:
    """Move a slider to a share of its way and return the value that the page then has."""
    page.evaluate(
        """([name, share]) => { const one = document.querySelector(`#explorer input[name="${name}"]`);
        one.value = 1000 * share; one.dispatchEvent(new Event("input", {bubbles: true})); }""",
        [name, share],
    )
    return float(page.locator(f'#explorer label:has(input[name="{name}"]) output').get_attribute("data-value"))


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_no_complaint_no_request_and_nothing_sticks_out(open_page, whole_page, width, colours):
    page = open_page(whole_page, viewport={"width": width, "height": 840}, color_scheme=colours)
    page.wait_for_selector("#explorer svg")
    assert page.complaints == []
    assert page.requests == [page.tab.url]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for name in ("hero", "residuals", "isoflops", "learningCurves", "reliability"):
        assert page.locator(f"[data-live={name}] svg").count() >= 1, name
    assert page.locator(".still").first.is_hidden()


def test_great_numbers_do_not_stick_out_of_a_phone(open_page, facts):
    cells = replace(facts.cells, planned=1_234_567, seconds=7.8e7, states={"done": 1_234_567})
    task = replace(facts.tasks[0], fitted=492_123, held_out=1_507_877)
    page = open_page(render(replace(facts, cells=cells, tasks=(task,))), viewport={"width": 390, "height": 840})
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_strange_studies_open_on_a_phone(open_page, facts):
    """No law could be fitted to one task, and thirty laws of long names to the other."""
    (task,) = facts.tasks
    bare = [replace(line, median=(), low=(), high=(), second=()) for line in task.slices[0].lines]
    failed = LawFacts(law="x" * 300, status="failed", seconds=0.0, reason="y" * 9000)
    none = replace(task, name="z" * 10_000, laws=(failed,), slices=(replace(task.slices[0], lines=tuple(bare)),))
    many = tuple(replace(task.laws[0], law=f"law {k} {'w' * 200}") for k in range(30))
    crowded = replace(task, name="crowded", laws=many, slices=(), settings=(), allocation=None)
    page = open_page(
        render(replace(facts, question="q" * 10_000, tasks=(none, crowded))), viewport={"width": 390, "height": 840}
    )
    assert page.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_without_scripts_every_figure_is_there(open_page, whole_page):
    page = open_page(whole_page, java_script_enabled=False)
    for figure in page.locator("figure").all():
        assert figure.locator("svg").first.is_visible()
    assert page.locator("#explorer").is_hidden()
    assert page.locator("#cells table").last.is_visible()


def test_the_policy_of_the_page_forbids_the_network(open_page, page):
    opened = open_page(page.replace("</main>", '<img src="https://tracker.example/x.png"></main>'))
    assert any("Content Security Policy" in one for one in opened.complaints)


@pytest.fixture(scope="module")
def every_law():
    """A table that every law suits, with two columns that laws of one input choose between."""
    random = np.random.default_rng(0)
    n, d = 10 ** random.uniform(3, 6, (2, 150))
    unique, rate = np.minimum(d, 10 ** random.uniform(3, 5, 150)), 10 ** random.uniform(-4, -2, 150)
    y = 1 + 20 * n**-0.3 + 30 * d**-0.3 + 0.1 * np.abs(np.log(rate / 1e-3))
    table = Table(
        inputs={"parameters": n, "tokens": d, "unique_tokens": unique}, hyperparameters={"learning_rate": rate}, y=y
    )
    return table, compare(tuple(LAWS), table, recipe=QUICK)


def test_every_law_gives_in_the_page_what_it_gives_here(open_page, facts, every_law):
    table, comparisons = every_law
    columns = {name: (values * 3.7).tolist() for name, values in table.columns.items()}
    page = open_page(render(facts))
    for one in comparisons:
        program = translate(one.fit)
        assert program is not None, one.law
        value = {"columns": program.columns, "constants": program.constants, "code": program.code}
        there = page.evaluate(
            "([program, columns, rows]) => Array.from(predict(program, columns, rows))", [value, columns, len(table)]
        )
        here = one.fit.predict({name: np.array(values) for name, values in columns.items()})
        np.testing.assert_allclose(there, here, rtol=1e-9, err_msg=one.law)
        alone = page.evaluate(
            "([program, columns]) => predict(program, columns, 1)[0]",
            [value, {name: values[5] for name, values in columns.items()}],
        )
        assert alone == pytest.approx(here[5], rel=1e-9), one.law


def test_sliders_move_the_law_to_what_python_says(open_page, facts, page, analysis):
    opened = open_page(page)
    (task,) = facts.tasks
    for law in task.fits:
        fit = next(one.fit for one in analysis.comparisons if one.law == law.law)
        opened.select_option("#explorer [data-part=law]", label=law.law)
        for share in (0.21, 0.5, 0.83):
            at = {column.name: set_slider(opened, column.name, share) for column in task.columns}
            expected = fit.forecast({name: np.array([value]) for name, value in at.items()}, 0.9)
            there = opened.evaluate(
                "([law, at]) => predict(FACTS.tasks[0].laws.find(one => one.law === law).program, at, 1)[0]",
                [law.law, at],
            )
            assert there == pytest.approx(float(expected.median[0]), rel=1e-9)
            assert float(part(opened, "value")) == pytest.approx(float(expected.median[0]), rel=1e-3)
    assert opened.complaints == []


def test_the_interval_between_its_places_is_close(open_page, facts, page, analysis):
    opened = open_page(page)
    (task,) = facts.tasks
    fit = next(one.fit for one in analysis.comparisons if one.law == task.best.law)
    random = np.random.default_rng(0)
    columns = {one.name: np.exp(random.uniform(np.log(one.low), np.log(one.high), 200)) for one in task.columns}
    forecast = fit.forecast(columns, 0.9)
    here = np.log(forecast.high / forecast.low) / 2
    there = opened.evaluate(
        "columns => columns[Object.keys(columns)[0]].map((_, k) => halfWidth(FACTS.tasks[0].laws[0].interval, "
        "Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values[k]]))))",
        {name: values.tolist() for name, values in columns.items()},
    )
    assert np.median(np.abs(np.log(np.array(there) / here))) < 0.05
    at = {name: values[0] for name, values in zip(task.best.interval.columns, task.best.interval.places, strict=True)}
    exactly = opened.evaluate("at => halfWidth(FACTS.tasks[0].laws[0].interval, at)", at)
    assert exactly == pytest.approx(task.best.interval.half[0], rel=1e-9)


def test_level_lines_are_drawn_and_two_axes_are_never_the_same(open_page, page):
    opened = open_page(page)
    opened.select_option("#explorer [data-part=view]", "map")
    assert opened.locator("#explorer [data-part=y]").is_visible()
    for name in ("step", "parameters", "learning_rate"):
        opened.select_option("#explorer [data-part=x]", name)
        assert opened.locator("#explorer [data-part=y]").input_value() != name
        assert opened.locator("#explorer svg path").count() > 5
    assert opened.complaints == []


def test_the_keyboard_is_enough(open_page, page):
    opened = open_page(page)
    slider = opened.locator("#explorer input[type=range]").first
    slider.focus()
    before, value = slider.input_value(), part(opened, "value")
    for _ in range(60):
        opened.keyboard.press("ArrowRight")
    assert slider.input_value() != before and part(opened, "value") != value
    assert slider.get_attribute("aria-valuetext")
    head = opened.locator("#laws th button").first
    head.focus()
    opened.keyboard.press("Enter")
    assert opened.locator("#laws th").first.get_attribute("aria-sort") == "ascending"


def test_the_budget_is_spent_as_python_spends_it(open_page, facts, page, analysis):
    opened = open_page(page)
    allocation = facts.tasks[0].allocation
    fit = next(one.fit for one in analysis.comparisons if one.law == allocation.law)
    for optimum in allocation.path[::3]:
        found = opened.evaluate(
            "budget => bestUse(lawOf(FACTS.tasks[0]), FACTS.tasks[0].allocation, budget)", optimum.budget
        )
        assert found["loss"] == pytest.approx(float(fit.predict(optimum.at)), rel=1e-9)
        assert found["at"] == pytest.approx(dict(optimum.at), rel=1e-4)
    field, curve = opened.locator("#allocation input[type=text]"), opened.locator("#allocation .live svg")
    before, drawn = opened.locator("#allocation [data-part=value]").inner_text(), curve.inner_html()
    field.fill(f"{allocation.path[0].budget:.4g}")
    value = float(opened.locator("#allocation [data-part=value]").inner_text())
    assert value == pytest.approx(allocation.path[0].loss, rel=1e-3) and curve.inner_html() != drawn
    field.fill("much")
    assert float(opened.locator("#allocation [data-part=value]").inner_text()) == value, (
        "what is no budget changes nothing"
    )
    assert field.evaluate("field => field.validationMessage") == "a positive number, such as 1e21"
    opened.locator("#allocation input[type=range]").focus()
    opened.keyboard.press("End")
    assert field.evaluate("field => field.validity.valid") and float(field.input_value()) > allocation.path[-1].budget
    assert opened.locator("#allocation [data-part=value]").inner_text() != before
    assert opened.complaints == []


def test_on_paper_figures_stand_still_and_nothing_is_cut_off(open_page, whole_page):
    page = open_page(whole_page, viewport={"width": 720, "height": 1000}, color_scheme="dark")
    page.wait_for_selector("#explorer svg")
    page.emulate_media(media="print", color_scheme="dark")
    for figure in page.locator("figure:not(.live figure)").all():
        assert figure.locator("svg").first.is_visible(), figure.evaluate("one => one.outerHTML.slice(0, 300)")
        assert not figure.locator(".live").count() or figure.locator(".live").is_hidden()
    for hidden in ("nav", "#explorer", "#allocation .budget", "#cells input"):
        assert page.locator(hidden).first.is_hidden(), hidden
    assert page.locator("#verdict details table").is_visible(), "what was folded is unfolded"
    for table in page.locator(".tall").all():
        assert table.evaluate("one => one.scrollHeight <= one.clientHeight + 1")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_tables_sort_and_filter(open_page, page, facts):
    opened = open_page(page)
    table = opened.locator("#cells table.sortable")
    names = [head.inner_text().strip(" ↑↓") for head in table.locator("th").all()]
    column = names.index("seconds")
    for expected in (sorted, lambda values: sorted(values, reverse=True)):
        table.locator("th button").nth(column).click()
        shown = [
            float(row.locator("td").nth(column).get_attribute("data-value")) for row in table.locator("tbody tr").all()
        ]
        assert shown == expected(shown) and len(shown) == len(facts.cells.rows)
    opened.locator("#cells input[type=search]").fill("failed")
    assert [row.is_visible() for row in table.locator("tbody tr").all()].count(True) == 2
    opened.locator("#cells input[type=search]").fill("nothing has this")
    assert not table.locator("tbody tr:visible").count()


def test_a_mark_tells_its_cell_and_leads_to_its_run(open_page, page):
    opened = open_page(page)
    mark = opened.locator("#residuals [data-part=chart] svg [aria-label=dot] circle").nth(3)
    mark.scroll_into_view_if_needed()
    box = mark.bounding_box()
    opened.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    opened.wait_for_selector("#residuals [aria-label=tip] text")
    text = opened.locator("#residuals [aria-label=tip] text").text_content()
    assert "measured" in text and "cell " in text and "learning rate" in text


def test_hostile_names_do_nothing(open_page, points):
    study = make_study(**FEW, metric=Metric(name=f"loss {HOSTILE}"))
    analysis = analysis_of(study, points.rename(columns={"loss": f"loss {HOSTILE}"}))
    facts = replace(study_facts({HOSTILE: analysis, "other": analysis}), question=HOSTILE)
    opened = open_page(render(facts))
    opened.on("dialog", lambda dialog: pytest.fail(dialog.message))
    opened.select_option("#explorer [data-part=task]", label=HOSTILE)
    opened.wait_for_timeout(200)
    assert opened.complaints == []


@pytest.mark.parametrize("metric", [Metric(name="accuracy", direction="higher", best=1.0), Metric(direction="higher")])
def test_a_metric_of_which_more_is_better(open_page, points, metric):
    mapped = points.assign(accuracy=1 - points["loss"] / 10, loss=1 / points["loss"])
    analysis = analysis_of(make_study(**FEW, metric=metric), mapped)
    facts = study_facts(analysis)
    opened = open_page(render(facts))
    (task,) = facts.tasks
    at = {column.name: set_slider(opened, column.name, 0.5) for column in task.columns}
    fit = next(one.fit for one in analysis.comparisons if one.law == task.best.law)
    loss = fit.predict({name: np.array([value]) for name, value in at.items()})
    assert float(part(opened, "value")) == pytest.approx(float(metric.from_loss(loss)[0]), rel=1e-3)
    assert opened.complaints == []


def test_a_served_page_becomes_new_by_itself(browser, facts):
    questions = ["before"]

    def page(live: str) -> str:
        return render(replace(facts, question=questions[-1]), live=live).replace("}, 5000)", "}, 100)")

    with Server(page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        tab = browser.new_page()
        tab.goto(server.url)
        assert tab.locator("h1").inner_text() == "before"
        questions.append("after")
        assert server.refresh()
        tab.locator("h1", has_text="after").wait_for(timeout=60_000)
        tab.close()
        server.shutdown()
