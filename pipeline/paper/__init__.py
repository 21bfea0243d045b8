"""The paper's blocks: what is asked of each, the laws' answers as tables and figures, and the page that tells them.

A block is a file of `experiments/paper/`: studies of one phenomenon at several sizes (`pipeline.study.Block`). What is
known of one that has run lies in three files of a folder, from which all else is made:

    TIER/BLOCK.parquet    the points, as a store holds them: `unsl reproduce` trains nothing that is here
    TIER/BLOCK.csv        the answers, a row a question, task and law
    TIER/BLOCK.json       where they come from: date, machine, seconds, versions, forecasts that were written before
"""

from pipeline.paper.answers import COLUMNS, Answers, answer
from pipeline.paper.budgets import spend
from pipeline.paper.desiderata import COLUMNS as DESIDERATA
from pipeline.paper.desiderata import NEEDS, evidence
from pipeline.paper.figures import draw_answers, draw_asks
from pipeline.paper.files import Kept, committed, committed_cells, digest, keep, read_kept, restore, to_csv
from pipeline.paper.page import page
from pipeline.paper.public import COLUMNS as PUBLIC
from pipeline.paper.public import public_answers, read_public
from pipeline.paper.shares import PUBLISHED, Shares, shares

__all__ = [
    "COLUMNS",
    "DESIDERATA",
    "NEEDS",
    "PUBLIC",
    "PUBLISHED",
    "Answers",
    "Kept",
    "Shares",
    "answer",
    "committed",
    "committed_cells",
    "digest",
    "draw_answers",
    "draw_asks",
    "evidence",
    "keep",
    "page",
    "public_answers",
    "read_kept",
    "read_public",
    "restore",
    "shares",
    "spend",
    "to_csv",
]
