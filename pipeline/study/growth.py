"""How a study grows: what the next round may add to it, at what cost, and until when."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fitting import Expression, FittingError, parse_expression
from pipeline.errors import PipelineError, suggest
from pipeline.study.cell import Literal

RULES = ("grid", "design")
NEWEST_ROUND = "round == newest"
"""The split of a study that grows: what the newest round added is held out, and all that was measured before is fitted.
It reads the same in every round, so the question that was recorded stays the question that is asked."""
KNOWN = ("interval", "rounds")
"""What `until` may ask for."""


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The growth of a study by `unsl rescale`, which adds one round of cells after another."""

    axes: Mapping[str, float | tuple[float, ...]]
    """Axes that grow, each with the factor from its largest value to the next; for fields that share an axis, one
    each."""
    target: str | tuple[str, ...]
    """What the study is to foretell: `parameters=7e9, dataset_size=1.4e11`."""
    budget: str
    """What the cells of one round may cost: `8gpu-hours`."""
    rule: str = "design"
    """Which cells of the grown grid a round adds. `design`: those that narrow the forecast at the target most for what
    they cost; `grid`: all of them, cheapest first."""
    until: str = ""
    """Growth is over once this holds: `interval <= 5% or rounds >= 12`. `interval` is half the width of the 90%
    interval at the target, as a part of the value. Empty: for ever."""
    law: str = ""
    """Whose forecast counts; the last of the study's laws where left out."""

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.target,) if isinstance(self.target, str) else tuple(self.target)

    def check(self, axes: Mapping[str, tuple[str, ...]], laws: tuple[str, ...]) -> None:
        """Raise PipelineError where it does not suit a study; axes: the fields of each, by its name."""
        if not self.axes:
            raise PipelineError("growth needs at least one axis, as in axes={'width': 2}")
        for name, factor in self.axes.items():
            if name not in axes:
                raise PipelineError(f"growth, axis '{name}' is none of the study's; {suggest(name, axes)}")
            factors = factor if isinstance(factor, tuple | list) else (factor,)
            if len(factors) not in (1, len(axes[name])):
                raise PipelineError(f"growth, axis '{name}': give one factor, or {len(axes[name])}")
            if not all(isinstance(one, int | float) and one >= 1 for one in factors) or max(factors) <= 1:
                raise PipelineError(f"growth, axis '{name}': factors must be at least 1 and one above it, not {factor}")
        if self.rule not in RULES:
            raise PipelineError(f"growth, rule '{self.rule}': {suggest(self.rule, RULES)}")
        if self.law and self.law not in laws:
            raise PipelineError(f"growth, law '{self.law}' is none of the study's; {suggest(self.law, laws)}")
        if not any(text.strip() for text in self.targets):
            raise PipelineError("growth needs a target, such as 'parameters=7e9, dataset_size=1.4e11'")
        if self.until:
            parse_until(self.until)

    def is_over(self, *, interval: float, rounds: int) -> bool:
        """Whether a forecast with such an interval is enough, or such a number of rounds."""
        return bool(self.until) and bool(parse_until(self.until).evaluate({"interval": interval, "rounds": rounds}))


def parse_until(text: str) -> Expression:
    """`interval <= 5%` as an expression over `KNOWN`. Raises PipelineError."""
    try:
        found = parse_expression(re.sub(r"(\d+(?:\.\d*)?)%", lambda match: repr(float(match[1]) / 100), text))
    except FittingError as error:
        raise PipelineError(f"until '{text}': {error}") from error
    if unknown := [name for name in found.names if name not in KNOWN]:
        raise PipelineError(f"until '{text}': there is no '{unknown[0]}'; {suggest(unknown[0], KNOWN)}")
    try:
        found.evaluate(dict.fromkeys(KNOWN, 1.0))
    except FittingError as error:
        raise PipelineError(f"until '{text}': {error}") from error
    return found


def larger(settings: Mapping[str, Literal], factor: float | tuple[float, ...]) -> dict[str, Literal]:
    """The next value of an axis after the one with these settings: whole numbers stay whole."""
    factors = factor if isinstance(factor, tuple | list) else (factor,) * len(settings)
    return {
        name: round(value * by) if isinstance(value, int) else float(f"{value * by:.12g}")
        for (name, value), by in zip(settings.items(), factors, strict=True)
    }
