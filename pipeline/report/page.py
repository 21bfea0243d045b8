"""The report's page: its style in light, in dark and on paper, and the parts that sections are made of.

`--ink`, `--muted`, `--grid`, `--paper` and `--shade` are also the colours of the figures' text, lines and backgrounds.
Whatever a user typed goes through `safe` before it gets here.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.report.drawing import exact

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} – scaling study</title>
<style>
:root {
  --font: "Helvetica Neue", Helvetica, Arial, "Liberation Sans", "DejaVu Sans", sans-serif;
  --ink: #15191e; --muted: #5b6570; --grid: #e3e6ea; --paper: #ffffff; --shade: #ebeff3; --accent: #0b6ba8;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --muted: #a0a8b2; --grid: #30363d; --paper: #14171b; --shade: #1e2329; --accent: #5cb8f0; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 40px 28px 60px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 var(--font); overflow-wrap: break-word; }
h1 { font-size: 34px; line-height: 1.15; margin: 0 0 8px; letter-spacing: -0.01em; }
h2 { font-size: 21px; margin: 52px 0 6px; padding-top: 18px; border-top: 1px solid var(--grid); }
h3 { font-size: 15px; margin: 26px 0 6px; }
p { margin: 6px 0 10px; max-width: 95ch; }
a { color: var(--accent); }
code { font: 0.92em ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; background: var(--shade);
  padding: 1px 5px; border-radius: 4px; }
pre { font: 13px/1.5 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; background: var(--shade);
  padding: 12px 16px; border-radius: 6px; overflow-x: auto; }
.kicker { margin: 0; color: var(--muted); font-size: 13px; }
.question { font-size: 18px; line-height: 1.45; margin-bottom: 18px; }
.note { max-width: 110ch; }
.note, figcaption, footer { color: var(--muted); font-size: 13px; }
.findings { font-size: 16px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 5px 22px; margin: 18px 0; }
dt { color: var(--muted); }
dd { margin: 0; min-width: 0; }
summary { cursor: pointer; color: var(--accent); font-size: 14px; margin-top: 10px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; margin: 10px 0; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; font-size: 13px; color: var(--muted); border-bottom: 1px solid var(--muted); }
th, td { padding: 5px 22px 5px 0; vertical-align: baseline; }
td { border-bottom: 1px solid var(--grid); }
.number { text-align: right; white-space: nowrap; }
td.why { color: var(--muted); }
td:first-child { white-space: nowrap; }
tr.best td { font-weight: 700; }
tr.close td:first-child::after { content: " \\2248"; color: var(--accent); font-weight: 700; }
td svg { width: 170px; height: 16px; vertical-align: -3px; }
figure { margin: 18px 0 34px; }
figure > div { overflow-x: auto; }
figure svg { display: block; width: 100%; min-width: 680px; height: auto; }
figure.narrow svg { width: 62%; min-width: 520px; }
figcaption { margin-top: 8px; max-width: 135ch; }
figcaption b { color: var(--ink); }
footer { margin-top: 56px; padding-top: 12px; border-top: 1px solid var(--grid); }
@media print { body { max-width: none; padding: 0; } figure { break-inside: avoid; } }
</style>
</head>
<body>
{body}
</body>
</html>
"""


class Why(str):
    """A cell that takes the rest of its row."""


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, kinds: Sequence[str] = (), numbers: Sequence[int] = ()
) -> str:
    """A table of cells that are HTML already. kinds: a class a row. numbers: columns that are aligned right."""

    def cell(tag: str, k: int, text: str) -> str:
        if isinstance(text, Why):
            return f"<td class=why colspan={len(head) - k}>{text}</td>"
        return f"<{tag}{' class=number' if k in numbers else ''}>{text}</{tag}>"

    lines = ["".join(cell("th", k, text) for k, text in enumerate(head))]
    lines += ["".join(cell("td", k, text) for k, text in enumerate(row)) for row in rows]
    classes = ["", *(f' class="{kind}"' if kind else "" for kind in kinds)]
    classes += [""] * (len(lines) - len(classes))
    return (
        "<div class=wide><table>"
        + "\n".join(f"<tr{c}>{line}</tr>" for c, line in zip(classes, lines, strict=True))
        + "</table></div>"
    )


def figure(svg: str, caption: str, *, narrow: bool = False) -> str:
    kind = " class=narrow" if narrow else ""
    return f"<figure{kind}><div>{svg}</div><figcaption>{caption}</figcaption></figure>"


def listed(values: Sequence[Any], most: int = 12) -> str:
    """The values of an axis, the middle of a long list left out."""
    texts = [
        " × ".join(exact(v) for v in value) if isinstance(value, tuple | list) else exact(value) for value in values
    ]
    if len(texts) > most:
        texts = [*texts[: most - 2], "…", texts[-1]]
    return safe(", ".join(texts)) + (f" ({len(values):,} values)" if len(values) > most else "")


def enumeration(names: Sequence[str], *, bold: bool = True) -> str:
    """Escaped names as an enumeration: a, b and c."""
    texts = [f"<b>{safe(name)}</b>" if bold else safe(name) for name in names]
    return " and ".join(filter(None, (", ".join(texts[:-1]), texts[-1]))) if texts else ""


def safe(text: Any) -> str:
    return html.escape(str(text))
