"""A page of words, tables and pictures that is no study's report: exams, a reproduction. One content, told as HTML in
the report's own style, or as Markdown.

Text knows four marks: `**bold**`, `*italic*`, a `code` between backticks, and `[words](target)`, where a target is the
anchor of a section, a file beside the page, or an address of the web. Everything else in it is shown as it is.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from pipeline.errors import PipelineError
from pipeline.report.shell import POLICY, fill, script
from pipeline.store import Folder


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph."""

    text: str

    def markdown(self) -> str:
        return self.text

    def html(self) -> Markup:
        return Markup("<p>{}</p>").format(inline(self.text))


@dataclass(frozen=True, kw_only=True)
class Heading:
    """Within a section."""

    text: str

    def markdown(self) -> str:
        return f"### {self.text}"

    def html(self) -> Markup:
        return Markup("<h3>{}</h3>").format(inline(self.text))


@dataclass(frozen=True, kw_only=True)
class Code:
    """Lines to be typed into a shell."""

    text: str

    def markdown(self) -> str:
        return f"```sh\n{self.text.strip()}\n```"

    def html(self) -> Markup:
        return Markup("<pre>{}</pre>").format(self.text.strip())


@dataclass(frozen=True, kw_only=True)
class Items:
    """A list."""

    lines: Sequence[str]

    def markdown(self) -> str:
        return "\n".join(f"- {line}" for line in self.lines)

    def html(self) -> Markup:
        lines = (Markup("<li>{}</li>").format(inline(line)) for line in self.lines)
        return Markup("<ul>{}</ul>").format(Markup("").join(lines))


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table, which the page sorts by any column."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)

    def html(self) -> Markup:
        sides = [self._side(column) for column in range(len(self.header))]
        head = Markup("").join(
            Markup('<th class="{}">{}</th>').format(side, text) for side, text in zip(sides, self.header, strict=True)
        )
        rows = Markup("\n").join(Markup("<tr>{}</tr>").format(self._row(row, sides)) for row in self.rows)
        whole = (
            '<div class="wide"><table class="sortable"><thead><tr>{}</tr></thead><tbody>\n{}\n</tbody></table></div>'
        )
        return Markup(whole).format(head, rows)

    def _row(self, row: Sequence[str], sides: Sequence[str]) -> Markup:
        cell = Markup('<td class="{}" data-value="{}">{}</td>')
        return Markup("").join(
            cell.format(side, sorted_as(text), inline(text)) for side, text in zip(sides, row, strict=True)
        )

    def _side(self, column: int) -> str:
        """Numbers stand to the right."""
        cells = [plain(row[column]) for row in self.rows if row[column]]
        return "number" if cells and all(_NUMBER.match(cell) for cell in cells) else ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An SVG made by `drawing`, which follows the page's colours; or a PNG, which the page shows on its own paper."""

    caption: str
    svg: str = ""
    png: bytes = b""
    file: str = ""
    """Its name beside a page of Markdown."""

    def markdown(self) -> str:
        return f"![{self.caption}]({self.file})"

    def html(self) -> Markup:
        kind, inside = ("narrow", Markup(self.svg)) if self.svg else ("shot", self._shot())
        figure = Markup('<figure class="{}"><div>{}</div><figcaption>{}</figcaption></figure>')
        return figure.format(kind, inside, inline(self.caption))

    def _shot(self) -> Markup:
        code = base64.b64encode(self.png).decode()
        return Markup('<img src="data:image/png;base64,{}" alt="{}">').format(code, plain(self.caption))


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Pictures side by side."""

    pictures: Sequence[Picture]

    def markdown(self) -> str:
        return "\n\n".join(one.markdown() for one in self.pictures)

    def html(self) -> Markup:
        return Markup('<div class="gallery">{}</div>').format(Markup("").join(one.html() for one in self.pictures))


Block = Text | Heading | Code | Items | Grid | Picture | Gallery


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part that the page's menu leads to; its anchor follows from its title, as on a page of Markdown."""

    title: str
    blocks: Sequence[Block]
    menu: str = ""
    """What the menu says; the title where it is empty."""

    @property
    def anchor(self) -> str:
        return re.sub(r"[^\w\- ]", "", self.title.lower()).replace(" ", "-")


@dataclass(frozen=True, kw_only=True)
class Document:
    """A page."""

    name: str
    """Short, for the menu."""
    kicker: str
    """What kind of page it is, above its title."""
    title: str
    blocks: Sequence[Block]
    sections: Sequence[Section]

    def to_markdown(self) -> str:
        parts = [f"# {self.title}", *(block.markdown() for block in self.blocks)]
        for section in self.sections:
            parts += [f"## {section.title}", *(block.markdown() for block in section.blocks)]
        return "\n\n".join(part.strip() for part in parts) + "\n"

    def to_html(self) -> str:
        """One file that needs nothing else, in the style of the report."""
        return fill(
            "document.html",
            document=self,
            title=self.title,
            name=self.name,
            kicker=self.kicker,
            policy=POLICY,
            sections=[(one.anchor, one.menu or one.title) for one in self.sections],
            script=script("templates/tables.js"),
        )


def write_document(document: Document, path: str | os.PathLike) -> None:
    """Write the page to a file: a path or any fsspec URL. Raises PipelineError where that fails."""
    folder, slash, name = os.fspath(path).rpartition("/")
    try:
        Folder(folder or slash or ".").write(name, document.to_html().encode("utf-8", "xmlcharrefreplace"))
    except OSError as error:
        raise PipelineError(f"the page cannot be written to {path}: {error.strerror or error}") from error


def inline(text: str) -> Markup:
    """Text with its marks as HTML; all else in it escaped."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a backtick without its fellow is itself
        parts[-2:] = ["`".join(parts[-2:])]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if k % 2 else _marked(part) for k, part in enumerate(parts)
    )


def _marked(text: str) -> Markup:
    out, end = Markup(""), 0
    for found in _MARKS.finditer(text):
        out += escape(text[end : found.start()])
        end = found.end()
        if found["bold"]:
            out += Markup("<b>{}</b>").format(_marked(found["bold"]))
        elif found["italic"]:
            out += Markup("<i>{}</i>").format(_marked(found["italic"]))
        elif found["target"].startswith(("#", "https://", "http://")) or ":" not in found["target"]:
            out += Markup('<a href="{}" rel="noopener noreferrer">{}</a>').format(found["target"], found["words"])
        else:
            out += escape(found[0])
    return out + escape(text[end:])


def plain(text: str) -> str:
    """Text without its marks, as tables are sorted by it."""
    return str(inline(text).striptags())


def sorted_as(text: str) -> str:
    """A number where a cell begins with one, so that `0.0935 ± 0.0038` sorts as it should; else the text."""
    told = plain(text)
    found = _NUMBER.match(told)
    return (found["number"] or "").replace(",", "") if found else told


_MARKS = re.compile(
    r"\*\*(?P<bold>\S(?:.*?\S)?)\*\*|\*(?P<italic>[^\s*](?:[^*]*[^\s*])?)\*|\[(?P<words>[^\[\]]+)\]\((?P<target>[^()\s]+)\)"
)
_NUMBER = re.compile(r"(?P<number>[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?)(?:[%×]|$| ?(?:±|of|/|s$|\*).*)|[–-]$")
