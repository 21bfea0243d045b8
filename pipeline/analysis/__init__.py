"""A question put to a table of measurements: its rules and split, its tasks, the laws fitted to it and their scores."""

from pipeline.analysis.analysis import Analyses, Analysis, analyse, divide, fingerprint, of_grid
from pipeline.analysis.question import Divided, Question
from pipeline.analysis.table_file import is_table_file, read_table
from pipeline.analysis.tasks import Tasks, by_task, compare_tasks, divide_tasks, shares_won, task_name

__all__ = [
    "Analyses",
    "Analysis",
    "Divided",
    "Question",
    "Tasks",
    "analyse",
    "by_task",
    "compare_tasks",
    "divide",
    "divide_tasks",
    "fingerprint",
    "is_table_file",
    "of_grid",
    "read_table",
    "shares_won",
    "task_name",
]
