"""What running a study would do and cost: its cells with their states, throughput, cohorts and budget."""

from pipeline.plan.budget import Budget
from pipeline.plan.cost import LONGEST_JOB_SHARE, Throughput, Timing, gather
from pipeline.plan.plan import Plan, PlannedCell, State, make_plan

__all__ = [
    "LONGEST_JOB_SHARE",
    "Budget",
    "Plan",
    "PlannedCell",
    "State",
    "Throughput",
    "Timing",
    "gather",
    "make_plan",
]
