"""A block of the paper: studies of one phenomenon at several sizes, and the questions that are put to their points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fitting import Metric
from pipeline.errors import PipelineError
from pipeline.study.study import Study

TIERS = ("tiny", "cpu", "gpu", "paper")
"""Sizes, from seconds on a core to a cluster."""
PAPER_LAWS = ("unsl", "a1", "a2", "a3", "cf", "dc", "bnsl", "m1", "m2", "m3", "m4")
"""The paper's law, its three ablations and the rivals that it names."""
RIVALS = ("unsl", "a1", "a2", "a3")
"""Between which the paper counts the tasks that each wins."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A question, by what differs from that of the study itself. Every task of the study is asked it."""

    metric: Metric | None = None
    held_out: str = ""
    excluded: Mapping[str, str] = field(default_factory=dict)
    """Rules beside those of the study."""
    points: int = 0
    """As many of the fitted points at most, drawn at random; 0 takes all."""
    tiers: Sequence[str] = ()
    """The tiers to which it is put; none for all."""


@dataclass(frozen=True, kw_only=True)
class Spending:
    """A budget that the fitted law spends."""

    cost: str
    """Of the inputs: `6 * parameters * step`."""
    budgets: Sequence[float]
    fixed: Mapping[str, float] = field(default_factory=dict)
    """Inputs that are given."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """See the module's docstring."""

    tiers: Mapping[str, Study]
    asks: Mapping[str, Ask] = field(default_factory=dict)
    """By name, beside the study's own question."""
    family: str = ""
    """`vision` or `language`, where the paper says of how many of its tasks the law was best."""
    spending: Mapping[str, Spending] = field(default_factory=dict)
    """By tier: where the fitted law would spend its budgets."""
    along: str = ""
    """The column that its figures go along; empty for training time."""
    name: str = ""
    """That of its file."""
    text: str = ""
    """Its file's docstring."""

    def study(self, tier: str) -> Study:
        """Raises PipelineError where it has no such tier."""
        if tier not in self.tiers:
            raise PipelineError(f"block '{self.name}' has no tier '{tier}': its tiers are {', '.join(self.tiers)}")
        return self.tiers[tier]

    def asked(self, tier: str) -> dict[str, Ask]:
        """The questions of a tier; the study's own first, without a name."""
        return {"": Ask()} | {name: ask for name, ask in self.asks.items() if not ask.tiers or tier in ask.tiers}
