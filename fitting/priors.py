"""From raw parameters to the quantities of a law.

Every raw parameter has a standard normal prior, so one ridge is a sensible prior on everything, and a start drawn
from a standard normal is a sensible law. [ours] The constants are the judgement: each function says what its prior
believes. All work on nodes, arrays and floats.
"""

from __future__ import annotations

import math

import numpy as np

from . import tape
from .tape import Value

# A floor or a ceiling keeps this distance (in ln y) from its bound: at distance 0 the logarithm of the rest is -inf.
_CLEARANCE = 0.02
# Where a floor is centred: this far (in ln y) below the least measurement, a third.
_FLOOR_CENTRE = math.log1p(math.exp(-1.0)) + _CLEARANCE
# Sharpness of a break in units of ln y: .03 is a corner that one sees in a plot, 3 a bend over more than any table
# shows.
_SHARPEST, _SMOOTHEST = 0.03, 3.0


# Between which raw values a quantity is free; beyond them it has come within a few per cent of a bound, or of a limit
# that the prior sets. A floor far down and a ceiling far up are free: they are gone, which is a finding.
FLOOR_BOUNDS = (-2.5, math.inf)
CEILING_BOUNDS = (-2.5, math.inf)
EXPONENT_BOUNDS = (-3.0, math.inf)
POSITION_BOUNDS = SHARPNESS_BOUNDS = (-3.0, 3.0)


def floor(raw: Value, lowest: float, middle: float) -> Value:
    """Logarithm of an irreducible limit; `lowest` = min ln y, `middle` = mean ln y. Centred a third below the least
    measurement (in ln y), with a long tail down.

    The bound is the mean and not the least measurement: noise puts some measurements below the limit itself, and the
    more of them there are the lower the luckiest is. With the bound at the least, 1 + 1/x under 5% noise was
    extrapolated with an error that grew with the rows (.094 with 60, .128 with 600); it is .005 with either now.
    """
    return (middle - _CLEARANCE) - tape.softplus(raw * 2.0 + _floor_shift(lowest, middle))


def _floor_shift(lowest: float, middle: float) -> float:
    """The argument of softplus that gives the distance from the mean to the centre."""
    distance = middle - lowest + _FLOOR_CENTRE - _CLEARANCE
    return distance + math.log(-math.expm1(-distance))


def above(raw: Value, highest: float) -> Value:
    """Logarithm of a ceiling over every measurement, centred a third above the greatest (in ln y) with a long tail
    up.
    """
    return (tape.softplus(raw * 2.0 - 1.0) + _CLEARANCE) + highest


def amplitude(raw: Value, middle: float, *, below_middle: float = 1.0) -> Value:
    """Logarithm of a term at the centre of the table: a third of y give or take a factor of seven; `middle` = mean ln
    y.
    """
    return raw * 2.0 + (middle - below_middle)


def falling(raw: Value) -> Value:
    """A positive exponent, centred on .3: the range of the exponents that have been published for loss and error."""
    return tape.softplus(raw) * (0.3 / math.log(2.0))


def free(raw: Value) -> Value:
    """An exponent of either sign, for hyperparameters and for what opposes."""
    return raw * 0.5


def direction(raw: Value) -> Value:
    """One entry of the change of slope across a break."""
    return raw * 0.3


def position(raw: Value, slopes: list[Value], halves: list[float]) -> Value:
    """Where a break stands along its direction: inside the hull of the table, tanh(raw) of the way to its edge."""
    # |v| has no derivative at 0, where a break along no direction would sit; the small number rounds the corner.
    reach: Value | None = None
    for slope, half in zip(slopes, halves, strict=True):
        part = tape.sqrt(slope * slope + 1e-12) * half
        reach = part if reach is None else reach + part
    assert reach is not None
    return tape.tanh(raw) * reach


def sharpness(raw: Value) -> Value:
    """The width of a break in ln y, between the sharpest and the smoothest, centred (geometrically) between them."""
    return tape.exp(tape.sigmoid(raw) * math.log(_SMOOTHEST / _SHARPEST) + math.log(_SHARPEST))


def floor_raw(log_floor: float, lowest: float, middle: float) -> float:
    """The raw parameter of `floor`, for tests and for starts that are known. Raises ValueError above the bound."""
    gap = middle - _CLEARANCE - log_floor
    if gap <= 0:
        raise ValueError("the floor is not below the mean of the measurements")
    return (float(np.log(np.expm1(gap))) - _floor_shift(lowest, middle)) / 2.0
