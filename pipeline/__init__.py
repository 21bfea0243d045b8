"""The pipeline: plan a study's cells, run them, keep their points, fit laws to them and report."""

from fitting import Metric
from pipeline.errors import PipelineError
from pipeline.study import Ask, Axis, Block, Cell, Growth, Spending, Split, Study, load_study

__all__ = [
    "Ask",
    "Axis",
    "Block",
    "Cell",
    "Growth",
    "Metric",
    "PipelineError",
    "Spending",
    "Split",
    "Study",
    "load_study",
]
