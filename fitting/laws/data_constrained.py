"""The data-constrained law of Muennighoff et al. 2023 (arXiv 2305.16264): repeated tokens and excess parameters decay.

    y  = E + A / N'^alpha + B / D'^beta
    D' = U + U R_D (1 - exp(-(D/U - 1) / R_D))                    worth of D tokens of which U are unique
    N' = U_N + U_N R_N (1 - exp(-(N/U_N - 1) / R_N))              worth of N parameters of which U_N are useful
    U_N = min(N, Nopt(U)),  Nopt(U) = G (G U)^(beta/alpha),  G = (alpha A / (beta B))^(1 / (alpha + beta))

Reads parameters, tokens and unique tokens (see `roles`), the last two in one unit: their ratio is the number of epochs.
The source ties alpha = beta and fits its first five constants to runs without repetition, then R_D and R_N to the rest.
Here all are fitted together, tied and free, and selection picks. [ours]
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .. import priors, tape
from ..errors import FittingError
from ..law import Form, Frame
from ..tape import Value
from . import roles

_PARTS = (roles.PARAMETERS, roles.TOKENS, roles.UNIQUE)
# Beyond this many times (e^40) over, what is repeated has long decayed, and exp() would overflow.
_MOST_EXCESS = 40.0


@dataclass(frozen=True, kw_only=True)
class _DataConstrained(Form):
    columns: Mapping[str, str]
    tied: bool

    @property
    def structure(self) -> str:
        return "alpha = beta" if self.tied else "alpha and beta free"

    @property
    def parameters(self) -> tuple[str, ...]:
        names = ("E", "A", "B", "alpha", "beta", "R_D", "R_N")
        return tuple(name for name in names if not (self.tied and name == "beta"))

    @property
    def equation(self) -> str:
        """N' and D' are what parameters and tokens are worth; see the module."""
        return f"E + A * N'^-alpha + B * D'^-{'alpha' if self.tied else 'beta'}"

    @property
    def bounds(self) -> Mapping[str, tuple[float, float]]:
        kinds = {"E": priors.FLOOR_BOUNDS, "alpha": priors.EXPONENT_BOUNDS, "beta": priors.EXPONENT_BOUNDS}
        return {name: kinds[name] for name in self.parameters if name in kinds}

    def _parts(self, p: Mapping[str, Value]) -> dict[str, Value]:
        """Logarithms in the table's own units, and exponents as they are. Decay starts after e^1.5 = 4.5 epochs, give
        or take as many times."""
        centre, middle = self.frame.centre, self.frame.middle
        alpha = priors.falling(p["alpha"])
        beta = alpha if self.tied else priors.falling(p["beta"])
        return {
            "log_E": priors.floor(p["E"], self.frame.low, self.frame.middle),
            "log_A": priors.amplitude(p["A"], middle) + alpha * centre[self.columns[roles.PARAMETERS]],
            "log_B": priors.amplitude(p["B"], middle) + beta * centre[self.columns[roles.TOKENS]],
            "alpha": alpha,
            "beta": beta,
            "log_R_D": p["R_D"] * 1.5 + 1.5,
            "log_R_N": p["R_N"] * 1.5 + 1.5,
        }

    def log_y(self, p: Mapping[str, Value], z: Mapping[str, np.ndarray]) -> Value:
        n, d, u = (z[self.columns[part]] + self.frame.centre[self.columns[part]] for part in _PARTS)
        return log_data_constrained(n, d, u, **self._parts(p))

    def natural(self, p: Mapping[str, float]) -> dict[str, float]:
        return {
            name.removeprefix("log_"): float(np.exp(min(value, 700.0))) if name.startswith("log_") else float(value)
            for name, value in self._parts(p).items()
        }


@dataclass(frozen=True, kw_only=True)
class DataConstrained:
    name: str = "dc"

    def forms(self, frame: Frame) -> tuple[Form, ...]:
        columns = roles.cast(frame, _PARTS, law=self.name)
        d, u = (columns[part] for part in (roles.TOKENS, roles.UNIQUE))
        if frame.centre[u] - frame.half[u] > frame.centre[d] + frame.half[d]:
            raise FittingError(
                f"{self.name} reads tokens ({d}) and unique tokens ({u}) in one unit, and every {u} exceeds every {d}; "
                "scale one of them"
            )
        return tuple(_DataConstrained(frame=frame, columns=columns, tied=tied) for tied in (True, False))


def log_data_constrained(
    log_n: np.ndarray,
    log_d: np.ndarray,
    log_u: np.ndarray,
    *,
    log_E: Value,
    log_A: Value,
    log_B: Value,
    alpha: Value,
    beta: Value,
    log_R_D: Value,
    log_R_N: Value,
) -> Value:
    """ln y at logarithms of parameters, tokens and unique tokens. An R of inf means no decay. U above D counts as D."""
    log_u = tape.minimum(log_u, log_d)
    # (alpha + beta) ln G; written so that the formula also holds on a tape.
    log_g = (tape.log(alpha) + log_A - tape.log(beta) - log_B) / (alpha + beta)
    log_useful = log_g + (beta / alpha) * (log_g + log_u)
    excess = tape.maximum(log_n - log_useful, 0.0)
    repeats = tape.expm1(tape.minimum(log_d - log_u, _MOST_EXCESS))
    log_worth_d = log_u + _decayed(repeats, log_R_D)
    log_worth_n = (log_n - excess) + _decayed(tape.exp(tape.minimum(excess, _MOST_EXCESS)) - 1.0, log_R_N)
    return tape.log_sum([log_E, log_A - alpha * log_worth_n, log_B - beta * log_worth_d])


def _decayed(repeats: Value, log_r: Value) -> Value:
    """ln(1 + R (1 - exp(-repeats / R))): what `repeats` further copies are worth, in units of the first."""
    if isinstance(log_r, float) and log_r == math.inf:
        return tape.log(1.0 + repeats)
    r = tape.exp(log_r)
    return tape.log(1.0 - r * tape.expm1(-(repeats / r)))
