"""The results of exams as a page in the report's style."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from fitting.exams import ExamFigure, ExamPart, ExamTable
from pipeline.report.document import Block, Document, Gallery, Grid, Heading, Items, Picture, Section, Text
from pipeline.report.drawing import draw

WIDTH, HEIGHT = 4.6, 3.2
"""Inches of a figure: three stand side by side."""


def exams_document(parts: Sequence[ExamPart]) -> Document:
    """The page of what `fitting.exams.page_parts` says."""
    return Document(
        name="exams",
        kicker="Exams on public tables",
        title="Which scaling law extrapolates best?",
        blocks=[
            Text(
                text="Every law is fitted to the rows of small scale and scored on the rows of large scale, which it "
                "has not seen. RMSLE is the root mean squared error of ln y: 0.01 is about one per cent. ± is the root "
                "standard log error. Bold is the least error of a row."
            )
        ],
        sections=[Section(title=part.title, blocks=_blocks(part)) for part in parts],
    )


def _blocks(part: ExamPart) -> list[Block]:
    blocks: list[Block] = []
    for table in part.tables:
        blocks += [Heading(text=table.title)] if table.title else []
        blocks.append(_grid(table))
    if part.figures:
        blocks.append(Gallery(pictures=[_picture(one) for one in part.figures]))
    if part.lines:
        blocks.append(Items(lines=part.lines))
    return blocks


def _grid(table: ExamTable) -> Grid:
    """What is the best of its row is bold."""
    rows = [[f"**{cell[:-1].strip()}**" if cell.endswith("*") else cell.strip() for cell in row] for row in table.rows]
    return Grid(header=table.header, rows=rows)


def _picture(one: ExamFigure) -> Picture:
    exam = one.exam
    of = f" of the rows `{exam.rows}`" if exam.rows else ""
    caption = (
        f"**{exam.name}** ({exam.domain}): held out `{exam.held_out}`{of}. [{exam.source.title}]({exam.source.url})"
    )
    return Picture(
        caption=caption,
        svg=draw(partial(_on_axes, one), height=HEIGHT, width=WIDTH, label=exam.name),
    )


def _on_axes(one: ExamFigure, figure) -> None:
    one.draw(figure.subplots())
