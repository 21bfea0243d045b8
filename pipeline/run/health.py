"""A sick node told from a sick cell.

A cell with a bug fails wherever it is tried; on a node with a broken GPU every cell fails. So a failed cell is tried
once more on another node, and what happens there decides: if it fails again, the cell is to blame, else the node where
it failed first. A node where several jobs failed one after another, none of which has failed elsewhere, is not used
meanwhile; once one of them has done well elsewhere, it is proved to be sick.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable

SICK_AFTER = 3
"""Jobs that failed in a row on one node and nowhere else: one may be chance, and two of a bad shape come together."""


class Health:
    """What became of jobs, by node."""

    def __init__(self) -> None:
        self._nodes: dict[str, set[str]] = {}
        """Nodes where a cell failed."""
        self._in_a_row: dict[str, dict[Hashable, set[str]]] = {}
        """Jobs that failed on a node since one last did well there, each with its cells."""
        self._messages: dict[str, str] = {}
        self.proved: dict[str, str] = {}
        """Nodes to blame for what failed there, as a cell did well elsewhere; with what was said there last."""

    def failed(self, cells: Collection[str], node: str, *, job: Hashable, message: str = "") -> None:
        """Cells failed on a node; those of one `job` failed together, and count once."""
        self._messages[node] = message
        for cell in cells:
            self._nodes.setdefault(cell, set()).add(node)
        self._in_a_row.setdefault(node, {}).setdefault(job, set()).update(cells)

    def did_well(self, cell: str, node: str) -> None:
        """A cell ran to its end on a node."""
        self._in_a_row.pop(node, None)
        for other in self._nodes.pop(cell, set()) - {node}:
            if self._suspect(other):
                self.proved.setdefault(other, self._messages[other])

    def failed_on(self, cell: str) -> frozenset[str]:
        """Nodes where a cell failed."""
        return frozenset(self._nodes.get(cell, ()))

    def elsewhere_too(self, cells: Iterable[str]) -> bool:
        """Whether one of the cells has failed on two nodes, of which none is proved to be sick."""
        return any(len(self._nodes.get(cell, set()) - self.proved.keys()) > 1 for cell in cells)

    def sick(self, nodes: Collection[str], *, may_grow: bool) -> frozenset[str]:
        """Those of the nodes that are not to be used.

        Where more than half of them are suspects and nothing is proved, the study is to blame and not the nodes. Where
        all of them are sick and no other may come, they are used: a job has to run somewhere.
        """
        suspects = {node for node in nodes if self._suspect(node)}
        sick = suspects & self.proved.keys() if 2 * len(suspects) > len(nodes) else suspects
        return frozenset() if not may_grow and len(sick) == len(nodes) else frozenset(sick)

    def _suspect(self, node: str) -> bool:
        jobs = {frozenset(cells) for cells in self._in_a_row.get(node, {}).values()}
        return sum(all(self._nodes.get(cell, set()) <= {node} for cell in cells) for cells in jobs) >= SICK_AFTER
