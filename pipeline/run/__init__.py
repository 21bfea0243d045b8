"""Running a study: the driver hands jobs to an executor, whose workers train them and report points."""

from pipeline.run.costs import Costs
from pipeline.run.display import Display
from pipeline.run.driver import Driver, Listener
from pipeline.run.executors import Executor, Report, make_executor
from pipeline.run.executors.spread import spread
from pipeline.run.job import Job
from pipeline.run.outcome import Outcome
from pipeline.run.progress import Progress, clock
from pipeline.run.rungs import Rungs, Verdicts
from pipeline.run.schedule import Listed, Schedule, Stages, fitted_first
from pipeline.run.spreading import Spreading
from pipeline.run.worker import run_job, use_one_thread

__all__ = [
    "Costs",
    "Display",
    "Driver",
    "Executor",
    "Job",
    "Listed",
    "Listener",
    "Outcome",
    "Progress",
    "Report",
    "Rungs",
    "Schedule",
    "Spreading",
    "Stages",
    "Verdicts",
    "clock",
    "fitted_first",
    "make_executor",
    "run_job",
    "spread",
    "use_one_thread",
]
