"""Rescaling: a study that grows by rounds. Growth, rounds, drift, alarms and their schedule.

A round adds cells to a study and holds them out: everything measured before is fitted, its own cells are forecast
before they run and scored after. So every round is a blind test, and the split that says it, `round == newest`, is the
same in all of them.
"""

from pipeline.rescale import rehearsal
from pipeline.rescale.alarms import current_alarms
from pipeline.rescale.drift import Drift, Drifts, drift
from pipeline.rescale.growth import Candidate, Choice, beyond_the_grid, cheapest, most_telling, rows_of
from pipeline.rescale.halving import Halving
from pipeline.rescale.knowledge import Knowledge, LawKnown, Learnt, Said, learn, read_targets
from pipeline.rescale.live import Glance, Live, read_glances
from pipeline.rescale.ordering import ByDesign, chooser
from pipeline.rescale.proposal import Proposal, next_cells, next_rows
from pipeline.rescale.rounds import Terms, Turn, begin, budget_of, close, growth_of, leading_law, look
from pipeline.rescale.schedule import is_due, parse_period

__all__ = [
    "ByDesign",
    "Candidate",
    "Choice",
    "Drift",
    "Drifts",
    "Glance",
    "Halving",
    "Knowledge",
    "LawKnown",
    "Learnt",
    "Live",
    "Proposal",
    "Said",
    "Terms",
    "Turn",
    "begin",
    "beyond_the_grid",
    "budget_of",
    "cheapest",
    "chooser",
    "close",
    "current_alarms",
    "drift",
    "growth_of",
    "is_due",
    "leading_law",
    "learn",
    "look",
    "most_telling",
    "next_cells",
    "next_rows",
    "parse_period",
    "read_glances",
    "read_targets",
    "rehearsal",
    "rows_of",
]
