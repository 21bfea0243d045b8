"""The four layers of the Unified Neural Scaling Law, each a function of logarithms, to be swapped one at a time.

Source: Caballero, Jaini, Krueger, Rish, "Unified Neural Scaling Laws", arXiv 2605.26248. Its displayed equations were
not available to us, so every layer says what is [paper] (stated in its public descriptions), [derived] (follows by
algebra) and [ours] (our choice).

    K    smoothly connected hyperplanes in log space               `log_k`
    R    one joint component plus bottlenecks                      `log_r`
    Q    misperformance limits and what hyperparameters oppose     `log_q`
    top  irreducible limit, the metric's ceiling, overfitting      `log_top`

All quantities are logarithms; all arguments may be nodes, arrays or floats (see `tape`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .. import tape
from ..tape import Value


@dataclass(frozen=True, kw_only=True)
class Break:
    """A hyperbreak: where two hyperplanes meet.

    direction: the change of slope along every column, w; place: where along it, so that the break is the surface w .
    z = place; width: sharpness in ln y; sign: +1 if y falls faster beyond the break, -1 if it falls more slowly (or
    rises).

    In the notation of the paper's K, with |w| normalised away: c f = sign * width, f = width / |direction|, c = sign
    * |direction|.
    """

    direction: Sequence[Value]
    place: Value
    width: Value
    sign: int


def log_k(z: Sequence[np.ndarray], *, log_b: Value, slopes: Sequence[Value], breaks: Sequence[Break] = ()) -> Value:
    """ln of the multivariate broken scaling law, `slopes` being d ln y / d z before every break.

    [derived] K(x) = b prod_j x_j^-c0j prod_i (1 + (prod_j x_j^w_ij / d_i)^(1/f_i))^(-c_i f_i): a straight break can
    only change the gradient along its own normal, so this is the most general product of single breaks, up to the
    gauge fixed in `Break`.
    """
    log_y = log_b + tape.linear(slopes, z) if len(z) else log_b
    for one in breaks:
        bend = one.width * tape.softplus((tape.linear(one.direction, z) - one.place) / one.width)
        log_y = log_y - bend if one.sign > 0 else log_y + bend
    return log_y


def log_r(components: Sequence[Value]) -> Value:
    """ln R = ln of the joint K plus one bottleneck K for each input that can limit alone. [paper: the sum; ours: the
    indexing]
    """
    return tape.log_sum(components)


def log_q(limited: Sequence[Value]) -> Value:
    """ln Q = ln [sum_r 1 / (R(r) + H_r)]^-1: good performance and its limits, joined by reciprocals. [ours, from the
    paper's words]

    The first entry is what learning gives; a constant entry is a limit on misperformance, an entry that varies with
    some of the inputs a limit that is itself bottlenecked (too few steps cap performance whatever the data).
    """
    return tape.log_reciprocal_sum(limited)


def log_top(*, log_floor: Value, log_good: Value, log_overfit: Value | None, log_ceiling: Value) -> Value:
    """ln y = ln (a_0 + [1/(a_M - a_0) + 1/(Q_good + Q_overfit)]^-1). [paper: the ingredients; ours: the nesting]

    The ceiling stands around the sum because over-repeated language models level off near the logarithm of their
    vocabulary. What it caps is the part above the floor, so that y itself never exceeds a_M. A ceiling of inf and a
    floor of -inf drop out.
    """
    total = log_good if log_overfit is None else tape.log_sum([log_good, log_overfit])
    if not _absent(log_ceiling, math.inf):
        room = log_ceiling if _absent(log_floor, -math.inf) else tape.log_difference(log_ceiling, log_floor)
        total = tape.log_reciprocal_sum([room, total])
    return total if _absent(log_floor, -math.inf) else tape.log_sum([log_floor, total])


def _absent(value: Value, limit: float) -> bool:
    return isinstance(value, float) and value == limit
