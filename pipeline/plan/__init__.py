"""What running a study would do and cost: its cells with their states, devices, throughput, cohorts and budget."""

from pipeline.plan.account import Account, Accounts, SickNode, added
from pipeline.plan.budget import Budget, Prices
from pipeline.plan.cost import LONGEST_JOB_SHARE, Throughput, Timing, gather
from pipeline.plan.devices import CPU, GPUS, PROCESS_BYTES, Device, device_named, device_shown
from pipeline.plan.memory import carried_out, check_memory, explain, in_parts, too_large
from pipeline.plan.plan import Plan, PlannedCell, State, make_plan
from pipeline.plan.shares import check_even

__all__ = [
    "CPU",
    "GPUS",
    "LONGEST_JOB_SHARE",
    "PROCESS_BYTES",
    "Account",
    "Accounts",
    "Budget",
    "Device",
    "Plan",
    "PlannedCell",
    "Prices",
    "SickNode",
    "State",
    "Throughput",
    "Timing",
    "added",
    "carried_out",
    "check_even",
    "check_memory",
    "device_named",
    "device_shown",
    "explain",
    "gather",
    "in_parts",
    "make_plan",
    "too_large",
]
