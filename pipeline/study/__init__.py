"""What is asked: a study, its axes and split, and the cells that it unfolds into."""

from pipeline.study.block import PAPER_LAWS, RIVALS, TIERS, Ask, Block, Spending
from pipeline.study.cell import Cell, Literal, check_metrics, identity, point_columns, show_config
from pipeline.study.growth import NEWEST_ROUND, Growth, larger, parse_until
from pipeline.study.loading import known_blocks, known_studies, load_block, load_study
from pipeline.study.split import PlannedPoints, Split
from pipeline.study.study import AUTO, DEFAULT_LAWS, MOST_HALVINGS, Axis, Study

__all__ = [
    "AUTO",
    "DEFAULT_LAWS",
    "MOST_HALVINGS",
    "NEWEST_ROUND",
    "PAPER_LAWS",
    "RIVALS",
    "TIERS",
    "Ask",
    "Axis",
    "Block",
    "Cell",
    "Growth",
    "Literal",
    "PlannedPoints",
    "Spending",
    "Split",
    "Study",
    "check_metrics",
    "identity",
    "known_blocks",
    "known_studies",
    "larger",
    "load_block",
    "load_study",
    "parse_until",
    "point_columns",
    "show_config",
]
