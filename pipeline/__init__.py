"""The pipeline: plan a study's cells, run them, keep their points, fit laws to them and report."""

from fitting import Metric
from pipeline.errors import PipelineError
from pipeline.study import Axis, Cell, Growth, Split, Study, load_study

__all__ = ["Axis", "Cell", "Growth", "Metric", "PipelineError", "Split", "Study", "load_study"]
