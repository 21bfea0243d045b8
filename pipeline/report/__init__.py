"""The report of a study: facts (a JSON model), still figures, and one HTML page that can be explored.

`study_facts` turns an analysis and what the store knows of its cells into `Facts`: plain data, with a JSON schema.
Everything after that reads facts alone: `render` makes the page, `panels` its still figures one by one, `write_report`
the file, `publish_report` a report at W&B. What is no study (exams, a reproduction) is a `Document` of words, tables
and pictures: the same shell, style and tables, told as HTML or as Markdown.

`facts/` what is said | `gather`, `tasks`, `allocation`, `ledger`, `rounds` how it is found | `figures`, `budgets`,
`histories` still figures | `shell` what all pages share | `page` a study's | `document`, `exams`, `telling` of words.

The page is one file that asks no network for anything, and its own policy forbids it. Without JavaScript, and in print,
every figure is a still one by Matplotlib; with it, the page draws with Observable Plot on D3, which lie in `vendor/` as
they were published, with their licences. They were chosen among (MB of script; milliseconds in headless Chromium from
opening a local file until 4,000 points on logarithmic axes with a curve and a 60 x 60 surface stand, median of six on
two busy cores):

    uPlot 1.6             .05 MB     310 ms   no level lines, no surface, no marks on two continuous axes
    Observable Plot + D3  .49 MB     810 ms   all of it; SVG that takes the page's colours, dark mode included
    Vega-Lite + embed     .83 MB   2,220 ms   all of it, through a compiler of specifications
    Plotly basic         1.19 MB   2,800 ms   no surface
    Plotly gl3d          1.75 MB   3,710 ms   all of it, and surfaces that turn

Text and tables are painted before any of it runs. A law is computed in the page by the instructions that it recorded in
Python (`program`), so the two cannot differ in their formula.
"""

from pipeline.report.document import (
    Block,
    Code,
    Document,
    Gallery,
    Grid,
    Heading,
    Items,
    Picture,
    Section,
    Text,
    write_document,
)
from pipeline.report.exams import exams_document
from pipeline.report.facts import Facts, LedgerFacts
from pipeline.report.gather import study_facts, versions
from pipeline.report.ledger import ledger_facts
from pipeline.report.page import panels, render
from pipeline.report.rounds import round_facts
from pipeline.report.serving import serve
from pipeline.report.telling import facts_document
from pipeline.report.wandb_report import publish_report, require_wandb_report
from pipeline.report.writing import write_report

__all__ = [
    "Block",
    "Code",
    "Document",
    "Facts",
    "Gallery",
    "Grid",
    "Heading",
    "Items",
    "LedgerFacts",
    "Picture",
    "Section",
    "Text",
    "exams_document",
    "facts_document",
    "ledger_facts",
    "panels",
    "publish_report",
    "render",
    "require_wandb_report",
    "round_facts",
    "serve",
    "study_facts",
    "versions",
    "write_document",
    "write_report",
]
