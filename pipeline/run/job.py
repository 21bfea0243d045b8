"""A job: what the driver hands to a worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """Cells that one worker trains together."""

    number: int
    """Tells the jobs of one run apart: a second try is another job."""
    trainer: str
    """As `trainers.load_trainer` takes it."""
    base: str = ""
    """The folder where a path in `trainer` begins; empty is the current folder."""
    cells: tuple[str, ...]
    configs: tuple[Mapping[str, Any], ...]
    device: str
    checkpoints: str
    """Folder or URL that holds a folder of checkpoints for each cell."""
    checkpoint_seconds: float
    until: tuple[int, ...] = ()
    """For each cell the step at which it is to pause, its checkpoint saved; 0, or none at all, for its end."""
    series: str = ""
    """What the names of its checkpoints begin with: later jobs have later ones."""
    begun: frozenset[str] = frozenset()
    """Cells that were run before and may have checkpoints."""
    tries: int = 1
    """This one included, since a try brought it further."""
    nodes_lost: int = 0
    """Likewise, those that ended with their node. They are no tries."""
    devices: int = 1
    """Devices that each cell is trained on at once, by a process each."""
    gpu_share: float = 0.0
    """The part of a GPU that the job asks for, or how many whole ones; 0 on a CPU."""
    cpus: int = 1
    """CPU cores that the job asks for, and the threads that it may run."""
    memory: int = 0
    """Main memory that its process takes, in bytes; 0 where nobody has measured its shape yet."""
    avoid: frozenset[str] = frozenset()
    """Nodes where it must not run: those where its cells failed, and sick ones."""
