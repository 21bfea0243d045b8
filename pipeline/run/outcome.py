"""How a run ended, and with which exit code."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.plan import Account


@dataclass(kw_only=True)
class Outcome:
    """How a run ended."""

    done: int = 0
    diverged: int = 0
    failed: int = 0
    held: int = 0
    """Cells that were not carried on, since they were foretold to end worse than others."""
    interrupted: bool = False
    terminated: bool = False
    """Stopped by someone who will not wait: what can be done later is left."""
    over_budget: bool = False
    enough: str = ""
    """Why no more had to be run; empty where the run was stopped for another reason, or not."""
    seconds: float = 0.0
    worker_seconds: float = 0.0
    """What the workers spent on this run's points, as the points say."""
    left: int = 0
    """Cells that were not finished because the run was stopped."""
    account: Account | None = None
    """What this run used of the devices, and the nodes that it stopped using."""

    @property
    def exit_code(self) -> int:
        """0 all done, or enough was; 1 some cells failed or are left at the budget, 130 stopped on request with cells
        left."""
        if self.enough:
            return 1 if self.failed else 0
        if self.interrupted and self.left and not self.over_budget:
            return 130
        return 1 if self.failed or self.left else 0
