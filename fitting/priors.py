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

# A floor or a ceiling keeps this distance (in ln y) from the nearest measurement: at distance 0 the logarithm of the
# rest is -inf.
_CLEARANCE = 0.02
# Sharpness of a break in units of ln y: .03 is a corner that one sees in a plot, 3 a bend over more than any table
# shows.
_SHARPEST, _SMOOTHEST = 0.03, 3.0


def below(raw: Value, lowest: float) -> Value:
    """Logarithm of a floor under every measurement; `lowest` = min ln y. Centred a third below (in ln y) with a long
    tail down.
    """
    return lowest - (tape.softplus(raw * 2.0 - 1.0) + _CLEARANCE)


def above(raw: Value, highest: float) -> Value:
    """Logarithm of a ceiling over every measurement; the mirror image of `below`."""
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


def floor_raw(log_floor: float, lowest: float) -> float:
    """The raw parameter of `below`, for tests and for starts that are known. Raises ValueError too close to the
    measurements.
    """
    gap = lowest - log_floor - _CLEARANCE
    if gap <= 0:
        raise ValueError("the floor is not below the measurements")
    return (float(np.log(np.expm1(gap))) + 1.0) / 2.0
