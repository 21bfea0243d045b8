"""A question put to a table of measurements: its rules and split, the laws fitted to it and their scores."""

from pipeline.analysis.analysis import Analysis, analyse, divide, fingerprint
from pipeline.analysis.question import Divided, Question
from pipeline.analysis.table_file import is_table_file, read_table

__all__ = ["Analysis", "Divided", "Question", "analyse", "divide", "fingerprint", "is_table_file", "read_table"]
