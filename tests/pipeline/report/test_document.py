"""Pages that are no study's report: one content as HTML in the report's style and as Markdown, whatever the words."""

from __future__ import annotations

import pytest
from reported import HOSTILE

from fitting import Metric
from fitting.exams import Exam, ExamFigure, ExamPart, ExamTable, Source
from pipeline import PipelineError
from pipeline.report import (
    Code,
    Document,
    Grid,
    Heading,
    Items,
    Picture,
    Section,
    Text,
    exams_document,
    write_document,
)
from pipeline.report.document import inline, sorted_as

PICTURE = Picture(caption="A *curve*", png=b"\x89PNG", file="cpu/one.png")


def document(*blocks) -> Document:
    return Document(
        name="one",
        kicker="A kind",
        title="A title",
        blocks=[],
        sections=[Section(title="Tier cpu: which", blocks=blocks)],
    )


def test_one_content_is_told_as_markdown_and_as_html():
    made = document(
        Heading(text="A heading"),
        Text(text="It is **0.1** on `N > 1` ([there](#tier-cpu-which))."),
        Code(text="unsl plan"),
        Items(lines=["one", "two"]),
        Grid(header=["", "error"], rows=[["a|b", "**0.1**"], ["c", "0.2"]]),
        PICTURE,
    )
    markdown, html = made.to_markdown(), made.to_html()
    assert markdown.startswith("# A title\n\n## Tier cpu: which\n\n### A heading\n\nIt is **0.1** on `N > 1`")
    assert "```sh\nunsl plan\n```" in markdown and "- one\n- two" in markdown
    assert "|  | error |\n| --- | --- |\n| a/b | **0.1** |\n| c | 0.2 |" in markdown
    assert markdown.endswith("![A *curve*](cpu/one.png)\n")
    assert '<section id="tier-cpu-which">' in html and 'href="#tier-cpu-which"' in html
    assert "It is <b>0.1</b> on <code>N &gt; 1</code>" in html
    assert '<td class="number" data-value="0.1"><b>0.1</b></td>' in html and '<td class="" data-value="c">' in html
    assert 'src="data:image/png;base64,' in html and "<i>curve</i>" in html
    assert "prefers-color-scheme: dark" in html and "default-src &#39;none&#39;" in html


@pytest.mark.parametrize("words", [HOSTILE, "`" + HOSTILE, f"**{HOSTILE}**", f"[{HOSTILE}](https://x.example)"])
def test_hostile_words_are_words(words):
    made = Document(
        name=words,
        kicker=words,
        title=words,
        blocks=[Text(text=words), Items(lines=[words]), Grid(header=[words], rows=[[words]])],
        sections=[Section(title=words, blocks=[Code(text=words), Heading(text=words), PICTURE])],
    )
    html = made.to_html()
    assert "<script>alert" not in html and html.count("&lt;script&gt;alert") >= 9
    assert "{{ 7 * 7 }}" in html


def test_a_link_leads_to_the_web_to_a_section_or_to_a_file_and_nowhere_else():
    assert 'href="https://x.example/a"' in inline("[a](https://x.example/a)")
    assert 'href="cpu/one.csv"' in inline("[a](cpu/one.csv)")
    assert "<a" not in inline("[a](javascript:alert)") and "<a" not in inline("[a](data:text/html)")
    assert str(inline("6 * N * D and 2 ** 3")) == "6 * N * D and 2 ** 3"


def test_cells_sort_by_the_number_that_they_begin_with():
    cells = ["**0.0935 ± 0.0038**", "1,608", "33%", "-0.1", "1e21", "vision", "7 of 18", "–", ""]
    assert [sorted_as(cell) for cell in cells] == ["0.0935", "1608", "33", "-0.1", "1e21", "vision", "7", "", ""]


def test_exams_are_a_page_with_a_figure_each(tmp_path):
    exam = Exam(
        name="a <curve>",
        domain="language",
        source=Source(folder="small", title="A <table>", url="https://example.org/small"),
        file="runs.csv",
        column="loss",
        inputs={"N": "N"},
        held_out="N >= 1e9",
        metric=Metric(),
    )
    table = ExamTable(title="", header=["exam", "cf", "m2"], rows=[["a <curve>", "0.0100±0.0001*", "0.0200±0.0001 "]])
    figure = ExamFigure(exam=exam, draw=lambda axes: axes.plot([1, 2], [3, 4]))
    made = exams_document([ExamPart(title="Every exam", tables=[table], figures=[figure], lines=["a: b"])])
    write_document(made, tmp_path / "exams.html")
    html = (tmp_path / "exams.html").read_text()
    assert html.count("<svg") == 1 and "a &lt;curve&gt;" in html and "<curve>" not in html
    assert "<b>0.0100±0.0001</b>" in html and 'href="https://example.org/small"' in html
    with pytest.raises(PipelineError, match="cannot be written"):
        write_document(made, tmp_path / "exams.html" / "page.html")
