"""The broken neural scaling law: a power law of one input with smooth breaks, above an irreducible limit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .. import priors, tape
from ..law import Form, Frame
from ..tape import Value
from .one_input import OneInput


@dataclass(frozen=True, kw_only=True)
class _Bnsl(OneInput):
    """y = a + b x^-c0 prod_i (1 + (x / d_i)^(1 / f_i))^(-c_i f_i): a power law with smooth breaks.

    The break is written as in UNSL: along v = c_i (either sign) with sharpness c_i f_i in ln y.
    `signs`: for each break +1 if the curve falls faster after it, -1 if it falls more slowly or rises.
    """

    signs: tuple[int, ...]

    @property
    def structure(self) -> str:
        return self._words(self.signs, " and ")

    def _words(self, signs: Sequence[int], joined: str) -> str:
        words = joined.join("faster" if sign > 0 else "slower" for sign in signs)
        return f"in {self.column}, {len(signs)} break{'s' * (len(signs) != 1)}" + (f" ({words})" if words else "")

    def _order(self, p: Mapping[str, Value]) -> list[int]:
        """The numbers of the breaks in the order of their places."""
        return sorted(range(1, len(self.signs) + 1), key=lambda i: float(p[f"d{i}"]))

    def describe(self, raw: np.ndarray) -> str:
        order = self._order(dict(zip(self.parameters, raw, strict=True)))
        return self._words([self.signs[i - 1] for i in order], " then ")

    @property
    def parameters(self) -> tuple[str, ...]:
        breaks = [f"{what}{i}" for i in range(1, len(self.signs) + 1) for what in ("c", "d", "f")]
        return ("a", "b", "c0", *breaks)

    @property
    def equation(self) -> str:
        x, numbers = self.column, range(1, len(self.signs) + 1)
        return f"a + b * {x}^-c0" + "".join(f" * (1 + ({x}/d{i})^(1/f{i}))^(-c{i} * f{i})" for i in numbers)

    @property
    def bounds(self) -> Mapping[str, tuple[float, float]]:
        kinds = {
            "a": priors.FLOOR_BOUNDS,
            "c": priors.EXPONENT_BOUNDS,
            "d": priors.POSITION_BOUNDS,
            "f": priors.SHARPNESS_BOUNDS,
        }
        return {name: kinds[name[0]] for name in self.parameters if name[0] in kinds}

    def _break(self, p: Mapping[str, Value], i: int) -> tuple[Value, Value, Value]:
        """Slope change (positive), position and sharpness in ln y of break i."""
        change = priors.falling(p[f"c{i}"])
        place = tape.tanh(p[f"d{i}"]) * self.frame.half[self.column]
        return change, place, priors.sharpness(p[f"f{i}"])

    def log_y(self, p: Mapping[str, Value], z: Mapping[str, np.ndarray]) -> Value:
        x = z[self.column]
        log_power = priors.amplitude(p["b"], self.frame.middle) - priors.falling(p["c0"]) * x
        for i, sign in enumerate(self.signs, start=1):
            change, place, width = self._break(p, i)
            bend = width * tape.softplus(change * (x - place) / width)
            log_power = log_power - bend if sign > 0 else log_power + bend
        return tape.log_sum([priors.floor(p["a"], self.frame.low, self.frame.middle), log_power])

    def natural(self, p: Mapping[str, float]) -> dict[str, float]:
        centre = self.frame.centre[self.column]
        c0 = priors.falling(p["c0"])
        out = {
            "a": np.exp(priors.floor(p["a"], self.frame.low, self.frame.middle)),
            "b": np.exp(priors.amplitude(p["b"], self.frame.middle) + c0 * centre),
            "c0": c0,
        }
        for i, k in enumerate(self._order(p), start=1):
            sign = self.signs[k - 1]
            change, place, width = self._break(p, k)
            out |= {f"c{i}": sign * change, f"d{i}": np.exp(place + centre), f"f{i}": width / change}
        return out


@dataclass(frozen=True, kw_only=True)
class Bnsl:
    """Broken neural scaling law with up to `breaks` breaks (Caballero et al. 2022, arXiv 2210.14891)."""

    name: str = "bnsl"
    breaks: int = 2

    def forms(self, frame: Frame) -> tuple[Form, ...]:
        signs: list[tuple[int, ...]] = [()]
        if self.breaks >= 1:
            signs += [(1,), (-1,)]
        if self.breaks >= 2:
            signs += [(1, 1), (1, -1), (-1, -1)]
        return tuple(_Bnsl(frame=frame, column=column, signs=pair) for column in frame.inputs for pair in signs)


def log_bnsl(x: np.ndarray, a: float, b: float, c0: float, breaks: list[tuple[float, float, float]]) -> np.ndarray:
    """The published formula from natural coefficients, breaks as (c, d, f): the reference that reductions are tested
    against.
    """
    log_power = math.log(b) - c0 * np.log(x)
    for c, d, f in breaks:
        log_power = log_power - c * f * np.logaddexp(0.0, (np.log(x) - math.log(d)) / f)
    return np.logaddexp(math.log(a), log_power) if a > 0 else log_power
