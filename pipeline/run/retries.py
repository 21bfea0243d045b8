"""What becomes of a job that failed. Each class of failure has its own policy.

    preempted       the job goes back to the queue and resumes from its checkpoints, up to `MOST_TRIES` times without
                    getting any further than before; up to `MOST_NODES` times where its node was lost and not its
                    process alone, as spot nodes are
    hung            likewise, once: its process is ended first
    out_of_memory   another try with twice the share of the GPU, up to a whole one
    bug             tried once more on another node, where there is one; then reported with its traceback
    bad_config      reported
    diverged        no failure: the cell is kept as data

When a cohort has used its tries, each of its cells gets a run of its own: a bad cell does not take the others with it.
"""

from __future__ import annotations

from enum import StrEnum

from pipeline.run.job import Job
from pipeline.store import Failure

MOST_TRIES = {Failure.PREEMPTED: 4, Failure.HUNG: 2}
"""A job that lost its worker this often without getting any further is more likely the cause than the victim."""

MOST_NODES = 20
"""The same of whole nodes, which a cell can hardly end: but one that ends so many, or outlives none, is to be seen."""


class Next(StrEnum):
    """What to do with cells that failed."""

    AGAIN = "again"
    """Another try, counted."""
    ELSEWHERE = "elsewhere"
    """Another try on another node: this one may be to blame."""
    LARGER = "larger"
    """Another try with a larger share of the GPU."""
    APART = "apart"
    """A try for each cell alone."""
    GIVE_UP = "give up"


def after(
    failure: Failure,
    job: Job,
    *,
    progressed: bool,
    stopping: bool,
    elsewhere: bool,
    failed_elsewhere: bool,
    node_lost: bool = False,
) -> Next:
    """What follows a failure of a job.

    `progressed` says whether this try brought it further than the ones before. `elsewhere` says whether it can be tried
    on a node where it has not failed, and `failed_elsewhere` whether it has failed on two nodes that are not sick.
    """
    if failure in MOST_TRIES:
        few = job.nodes_lost < MOST_NODES if node_lost else job.tries < MOST_TRIES[failure]
        if stopping or progressed or few:
            return Next.AGAIN
    if failure is Failure.OUT_OF_MEMORY and 0 < job.gpu_share < 1:
        return Next.LARGER
    if failure is Failure.BUG and elsewhere and not failed_elsewhere:
        return Next.ELSEWHERE
    if failure is not Failure.BAD_CONFIG and len(job.cells) > 1:
        return Next.APART
    return Next.GIVE_UP
