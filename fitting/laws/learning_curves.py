"""The four laws of one input that Alabdulmohsin, Neyshabur and Zhai 2022 compare (arXiv 2209.06640).

    M1   y = b x^-c                            a power law
    M2   y = e + b x^-c                        a power law above an irreducible limit
    M3   y = b (1/x + g)^c                     a power law that levels off
    M4   (y - e) / (e0 - y)^a = b x^-c         levels off at both ends: e where x is large, e0 where it is small

M4 gives y only implicitly. With y = e + (e0 - e) sigmoid(v) its logarithm reads

    a softplus(v) - softplus(-v) = ln b - c ln x + (a - 1) ln(e0 - e)

whose left side rises with slope between 1 and a and bends one way only, so Newton's steps converge from anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .. import priors, tape
from ..law import Form, Frame
from ..tape import Node, Symbol, Value
from .one_input import OneInput

# Newton doubles its digits a step once it is near; from the worst start it needs about twenty.
_NEWTON_STEPS = 60


@dataclass(frozen=True, kw_only=True)
class _M1(OneInput):
    @property
    def parameters(self) -> tuple[str, ...]:
        return ("b", "c")

    @property
    def equation(self) -> str:
        return f"b * {self.column}^-c"

    @property
    def bounds(self) -> Mapping[str, tuple[float, float]]:
        return {"c": priors.EXPONENT_BOUNDS}

    def _parts(self, p: Mapping[str, Value]) -> tuple[Value, Value]:
        # The only term: it is y itself, not a part of it.
        return priors.amplitude(p["b"], self.frame.middle, below_middle=0.0), priors.falling(p["c"])

    def log_y(self, p: Mapping[str, Value], z: Mapping[str, np.ndarray]) -> Value:
        log_b, c = self._parts(p)
        return log_b - c * z[self.column]

    def natural(self, p: Mapping[str, float]) -> dict[str, float]:
        log_b, c = self._parts(p)
        return {"b": np.exp(log_b + c * self.frame.centre[self.column]), "c": c}


@dataclass(frozen=True, kw_only=True)
class _M2(OneInput):
    """y = e + b x^-c: a power law above an irreducible limit."""

    @property
    def parameters(self) -> tuple[str, ...]:
        return ("e", "b", "c")

    @property
    def equation(self) -> str:
        return f"e + b * {self.column}^-c"

    @property
    def bounds(self) -> Mapping[str, tuple[float, float]]:
        return {"e": priors.FLOOR_BOUNDS, "c": priors.EXPONENT_BOUNDS}

    def _parts(self, p: Mapping[str, Value]) -> tuple[Value, Value, Value]:
        return (
            priors.floor(p["e"], self.frame.low, self.frame.middle),
            priors.amplitude(p["b"], self.frame.middle),
            priors.falling(p["c"]),
        )

    def log_y(self, p: Mapping[str, Value], z: Mapping[str, np.ndarray]) -> Value:
        log_e, log_b, c = self._parts(p)
        return tape.log_sum([log_e, log_b - c * z[self.column]])

    def natural(self, p: Mapping[str, float]) -> dict[str, float]:
        log_e, log_b, c = self._parts(p)
        return {"e": np.exp(log_e), "b": np.exp(log_b + c * self.frame.centre[self.column]), "c": c}


@dataclass(frozen=True, kw_only=True)
class _M3(OneInput):
    @property
    def parameters(self) -> tuple[str, ...]:
        return ("b", "c", "g")

    @property
    def equation(self) -> str:
        return f"b * (1/{self.column} + g)^c"

    @property
    def bounds(self) -> Mapping[str, tuple[float, float]]:
        return {"c": priors.EXPONENT_BOUNDS}

    def _parts(self, p: Mapping[str, Value]) -> tuple[Value, Value, Value]:
        """ln b and c as in M1; ln of g in units of 1 / the middle of x, centred on levelling off where the data end."""
        half = self.frame.half[self.column]
        log_b = priors.amplitude(p["b"], self.frame.middle, below_middle=0.0)
        return log_b, priors.falling(p["c"]), (p["g"] - 1.0) * half

    def log_y(self, p: Mapping[str, Value], z: Mapping[str, np.ndarray]) -> Value:
        log_b, c, log_g = self._parts(p)
        return log_b + c * tape.log_sum([-z[self.column], log_g])

    def natural(self, p: Mapping[str, float]) -> dict[str, float]:
        log_b, c, log_g = self._parts(p)
        centre = self.frame.centre[self.column]
        return {"b": np.exp(log_b + c * centre), "c": c, "g": np.exp(log_g - centre)}


@dataclass(frozen=True, kw_only=True)
class _M4(OneInput):
    """e stands below the mean of the measurements, e0 above them all (or at the metric's known ceiling); a > 0,
    centred on 1."""

    @property
    def parameters(self) -> tuple[str, ...]:
        return ("e", "e0", "a", "b", "c") if self._known is None else ("e", "a", "b", "c")

    @property
    def equation(self) -> str:
        return f"e + (e0 - y)^a * b * {self.column}^-c"

    @property
    def bounds(self) -> Mapping[str, tuple[float, float]]:
        kinds = {"e": priors.FLOOR_BOUNDS, "e0": priors.CEILING_BOUNDS, "c": priors.EXPONENT_BOUNDS}
        return {name: kinds[name] for name in self.parameters if name in kinds}

    @property
    def _known(self) -> float | None:
        """ln e0 if the metric fixes it."""
        ceiling = self.frame.log_ceiling
        return None if ceiling is None or math.isinf(ceiling) else ceiling

    def _parts(self, p: Mapping[str, Value]) -> tuple[Value, Value, Value, Value, Value]:
        """ln e, ln e0, a, the right side above at the middle of x, c."""
        log_e0 = priors.above(p["e0"], self.frame.high) if self._known is None else self._known
        a = tape.softplus(p["a"]) / math.log(2.0)
        return (
            priors.floor(p["e"], self.frame.low, self.frame.middle),
            log_e0,
            a,
            p["b"] * 2.0 - 1.0,
            priors.falling(p["c"]),
        )

    def log_y(self, p: Mapping[str, Value], z: Mapping[str, np.ndarray]) -> Value:
        log_e, log_e0, a, right, c = self._parts(p)
        v = solve_m4(right - c * z[self.column], a)
        return tape.log_sum([log_e, tape.log_difference(log_e0, log_e) - tape.softplus(-v)])

    def natural(self, p: Mapping[str, float]) -> dict[str, float]:
        log_e, log_e0, a, right, c = self._parts(p)
        log_b = right + c * self.frame.centre[self.column] + (1.0 - a) * tape.log_difference(log_e0, log_e)
        return {"e": np.exp(log_e), "e0": np.exp(log_e0), "a": a, "b": np.exp(log_b), "c": c}


@dataclass(frozen=True, kw_only=True)
class _LearningCurve:
    form: type[OneInput]
    name: str

    def forms(self, frame: Frame) -> tuple[Form, ...]:
        return tuple(self.form(frame=frame, column=column) for column in frame.inputs)


M1 = _LearningCurve(name="m1", form=_M1)
M2 = _LearningCurve(name="m2", form=_M2)
M3 = _LearningCurve(name="m3", form=_M3)
M4 = _LearningCurve(name="m4", form=_M4)


def solve_m4(right: Value, a: Value) -> Value:
    """The v with a softplus(v) - softplus(-v) = right, to machine precision, for arrays that broadcast; a > 0.

    On a tape, its derivatives follow from the equation itself: dv/d right = 1/F' and dv/da = -softplus(v)/F'.
    """
    if isinstance(right, Symbol):
        return right.call("solve_m4", right, np.maximum(a, 1e-6))
    r = right.value if isinstance(right, Node) else np.asarray(right, float)
    # A shape near 0 would make the curve flat on one side; nothing in a table tells 1e-6 from less.
    shape = np.maximum(a.value if isinstance(a, Node) else np.asarray(a, float), 1e-6)
    v = np.where(r < 0, r, r / shape)
    for _ in range(_NEWTON_STEPS):
        step = (shape * tape.softplus(v) - tape.softplus(-v) - r) / _slope(v, shape)
        v = v - step
        if not (np.abs(step) > 1e-12 * (1.0 + np.abs(v))).any():
            break
    slope = _slope(v, shape)
    parents = []
    if isinstance(right, Node):
        parents.append((right.index, 1.0 / slope))
    if isinstance(a, Node):
        parents.append((a.index, -tape.softplus(v) / slope))
    node = right if isinstance(right, Node) else a
    return node.tape.record(v, tuple(parents)) if isinstance(node, Node) else v


def _slope(v: np.ndarray, a: np.ndarray) -> np.ndarray:
    return a * tape.sigmoid(v) + tape.sigmoid(-v)
