"""The Unified Neural Scaling Law: its parametrisation, its structures and its ablations.

The algebra is that of `layers`, the same for every task: only coefficients and structure differ, and selection picks
them everywhere by the same procedure. No task may add a term. The parametrisation is [ours]: raw parameters with
standard normal priors (`priors`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .. import priors
from ..law import Form, Frame
from ..tape import Value
from .layers import Break, log_k, log_q, log_r, log_top


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Which parts of the law are present.

    joint: one K over all columns. bottlenecks: one power law an input, added to it. breaks: the signs of the joint
    K's breaks. tied: the bottlenecks share one exponent. opposing: additive terms with exponents of either sign in
    every column (overfitting, instability). limit: the input that bottlenecks a limit on misperformance ("" = no such
    limit). plateau: a constant limit on misperformance, fitted, around good learning. harms: for hyperparameters, "" =
    only exponents in K, "large" = a term that rises with each hyperparameter, "both" = a second one that rises as it
    shrinks. ceiling: whether the metric's ceiling is in.
    """

    joint: bool = True
    bottlenecks: bool = False
    tied: bool = False
    breaks: tuple[int, ...] = ()
    opposing: int = 0
    limit: str = ""
    plateau: bool = False
    harms: str = ""
    ceiling: bool = False

    def __str__(self) -> str:
        parts = []
        if self.joint:
            turns = " then ".join("faster" if sign > 0 else "slower" for sign in self.breaks)
            parts.append("joint" + (f" that turns {turns}" if turns else ""))
        if self.bottlenecks:
            parts.append("bottlenecks" + " of one exponent" * self.tied)
        if self.harms:
            parts.append("harm " + ("if too large" if self.harms == "large" else "if too large or too small"))
        if self.plateau:
            parts.append("plateau")
        if self.limit:
            parts.append(f"misperformance limited by {self.limit}")
        if self.opposing:
            parts.append("opposing" + (f" x{self.opposing}" if self.opposing > 1 else ""))
        return " + ".join(parts) + (", capped" if self.ceiling else "")


@dataclass(frozen=True, kw_only=True)
class UnslForm(Form):
    """One shape of the law on the scale of one table."""

    shape: Shape

    @property
    def structure(self) -> str:
        return str(self.shape)

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.frame.inputs, *self.frame.hyperparameters)

    @property
    def parameters(self) -> tuple[str, ...]:
        shape, columns = self.shape, self.columns
        names = ["a0"]
        if shape.ceiling and self.frame.log_ceiling is None:
            names.append("aM")
        if shape.joint:
            names += ["b", *(f"c_{c}" for c in columns)]
            for i in range(1, len(shape.breaks) + 1):
                names += [*(f"w{i}_{c}" for c in columns), f"d{i}", f"f{i}"]
        if shape.bottlenecks:
            names += [f"b_{c}" for c in self.frame.inputs]
            names += ["beta"] if shape.tied else [f"beta_{c}" for c in self.frame.inputs]
        for side in self._sides():
            for h in self.frame.hyperparameters:
                names += [f"{side}_{h}", *(f"{side}_{h}_{c}" for c in columns)]
        if shape.limit:
            names += ["limit", f"limit_{shape.limit}"]
        if shape.plateau:
            names.append("plateau")
        for k in range(1, shape.opposing + 1):
            names += [f"o{k}", *(f"o{k}_{c}" for c in columns)]
        return tuple(names)

    @property
    def bounded(self) -> frozenset[str]:
        numbers = range(1, len(self.shape.breaks) + 1)
        return frozenset(f"{what}{i}" for what in "df" for i in numbers)

    def _sides(self) -> tuple[str, ...]:
        return {"": (), "large": ("large",), "both": ("large", "small")}[self.shape.harms]

    def _beta(self, p: Mapping[str, Value], column: str) -> Value:
        return priors.falling(p["beta" if self.shape.tied else f"beta_{column}"])

    def _slope(self, p: Mapping[str, Value], name: str, column: str) -> Value:
        """d ln y / d z of good learning: negative for what scales, of either sign for a hyperparameter."""
        return -priors.falling(p[name]) if column in self.frame.inputs else priors.free(p[name])

    def _harm_slopes(self, p: Mapping[str, Value], side: str, h: str) -> list[Value]:
        """Exponents of one hyperparameter's harm: rising on its own side, free in every other column."""
        rising = 1.0 if side == "large" else -1.0
        return [
            rising * priors.falling(p[f"{side}_{h}_{c}"]) if c == h else priors.free(p[f"{side}_{h}_{c}"])
            for c in self.columns
        ]

    def _break(self, p: Mapping[str, Value], i: int, sign: int) -> Break:
        direction = [priors.direction(p[f"w{i}_{c}"]) for c in self.columns]
        place = priors.position(p[f"d{i}"], direction, [self.frame.half[c] for c in self.columns])
        return Break(direction=direction, place=place, width=priors.sharpness(p[f"f{i}"]), sign=sign)

    def _log_ceiling(self, p: Mapping[str, Value]) -> Value:
        if not self.shape.ceiling:
            return math.inf
        known = self.frame.log_ceiling
        return priors.above(p["aM"], self.frame.high) if known is None else known

    def log_y(self, p: Mapping[str, Value], z: Mapping[str, np.ndarray]) -> Value:
        shape, middle = self.shape, self.frame.middle
        columns = [z[c] for c in self.columns]
        components = []
        if shape.joint:
            components.append(
                log_k(
                    columns,
                    log_b=priors.amplitude(p["b"], middle),
                    slopes=[self._slope(p, f"c_{c}", c) for c in self.columns],
                    breaks=[self._break(p, i, sign) for i, sign in enumerate(shape.breaks, start=1)],
                )
            )
        if shape.bottlenecks:
            components += [priors.amplitude(p[f"b_{c}"], middle) - self._beta(p, c) * z[c] for c in self.frame.inputs]
        for side in self._sides():
            for h in self.frame.hyperparameters:
                log_b = priors.amplitude(p[f"{side}_{h}"], middle, below_middle=2.0)
                components.append(log_k(columns, log_b=log_b, slopes=self._harm_slopes(p, side, h)))
        limited = [log_r(components)]
        if shape.limit:
            log_b = priors.amplitude(p["limit"], middle, below_middle=0.0)
            limited.append(log_b - priors.falling(p[f"limit_{shape.limit}"]) * z[shape.limit])
        if shape.plateau:
            limited.append(priors.above(p["plateau"], self.frame.high))
        overfit = [
            log_k(
                columns,
                log_b=priors.amplitude(p[f"o{k}"], middle, below_middle=2.0),
                slopes=[priors.free(p[f"o{k}_{c}"]) for c in self.columns],
            )
            for k in range(1, shape.opposing + 1)
        ]
        return log_top(
            log_floor=priors.below(p["a0"], self.frame.low),
            log_good=log_q(limited),
            log_overfit=log_r(overfit) if overfit else None,
            log_ceiling=self._log_ceiling(p),
        )

    def natural(self, p: Mapping[str, float]) -> dict[str, float]:
        shape, middle, centre = self.shape, self.frame.middle, self.frame.centre
        middles = np.array([centre[c] for c in self.columns])

        def power(name: str, log_b: float, exponents: Sequence[float], columns: Sequence[str], letter: str) -> None:
            """b prod_j x_j^exponent_j, amplitude moved from the centre of the table to x = 1."""
            out[name] = np.exp(log_b - sum(e * centre[c] for e, c in zip(exponents, columns, strict=True)))
            out.update({f"{letter}_{c}": float(e) for e, c in zip(exponents, columns, strict=True)})

        out = {"a0": np.exp(priors.below(p["a0"], self.frame.low))}
        if shape.ceiling:
            out["aM"] = np.exp(self._log_ceiling(p))
        if shape.joint:
            slopes = [self._slope(p, f"c_{c}", c) for c in self.columns]
            power("b", priors.amplitude(p["b"], middle), slopes, self.columns, "c")
            for i, sign in enumerate(shape.breaks, start=1):
                one = self._break(p, i, sign)
                direction = np.array([float(v) for v in one.direction])
                size = float(np.linalg.norm(direction)) + 1e-300
                out |= {f"w{i}_{c}": float(v) / size for c, v in zip(self.columns, direction, strict=True)}
                out |= {
                    f"d{i}": np.exp((float(one.place) + direction @ middles) / size),
                    f"f{i}": float(one.width) / size,
                    f"c{i}": sign * size,
                }
        if shape.bottlenecks:
            for c in self.frame.inputs:
                power(f"b_{c}", priors.amplitude(p[f"b_{c}"], middle), [-self._beta(p, c)], [c], "beta")
        for side in self._sides():
            for h in self.frame.hyperparameters:
                log_b = priors.amplitude(p[f"{side}_{h}"], middle, below_middle=2.0)
                power(f"{side}_{h}", log_b, self._harm_slopes(p, side, h), self.columns, f"{side}_{h}")
        if shape.limit:
            log_b = priors.amplitude(p["limit"], middle, below_middle=0.0)
            power("limit", log_b, [-priors.falling(p[f"limit_{shape.limit}"])], [shape.limit], "limit")
        if shape.plateau:
            out["plateau"] = np.exp(priors.above(p["plateau"], self.frame.high))
        for k in range(1, shape.opposing + 1):
            log_b = priors.amplitude(p[f"o{k}"], middle, below_middle=2.0)
            power(f"o{k}", log_b, [priors.free(p[f"o{k}_{c}"]) for c in self.columns], self.columns, f"o{k}")
        return out


_BREAKS: tuple[tuple[int, ...], ...] = ((), (1,), (-1,), (1, -1))
_ALL_BREAKS = (*_BREAKS, (1, 1), (-1, -1))


def _limits(frame: Frame) -> tuple[dict[str, bool], ...]:
    """How performance may level off at its worst: not at all; or at a limit that is fitted. A ceiling that the metric
    fixes is always in, one that it lacks is always out, and what is fitted is then the plateau of good learning."""
    if frame.log_ceiling is None:
        return ({"ceiling": False}, {"ceiling": True})
    known = math.isfinite(frame.log_ceiling)
    return ({"ceiling": known}, {"ceiling": known, "plateau": True})


def _forms(frame: Frame, shapes: Sequence[Shape]) -> tuple[UnslForm, ...]:
    return tuple(UnslForm(frame=frame, shape=shape) for shape in dict.fromkeys(shapes))


@dataclass(frozen=True, kw_only=True)
class Unsl:
    """The law with every structure that selection may pick."""

    name: str = "unsl"

    def forms(self, frame: Frame) -> tuple[UnslForm, ...]:
        limits = _limits(frame)
        several, hyper = len(frame.inputs) > 1, bool(frame.hyperparameters)
        if not several and not hyper:
            # With one input a bottleneck or an opposing power law is a break, by additive symmetry.
            return _forms(frame, [Shape(breaks=b, **limit) for b in _ALL_BREAKS for limit in limits])
        cores = [Shape(breaks=b) for b in _BREAKS]
        if several:
            cores += [Shape(breaks=b, bottlenecks=True) for b in _BREAKS]
        if hyper:
            # Every term has an exponent a column, so two breaks or both kinds of harm at once outgrow most tables.
            cores = [core for core in cores if len(core.breaks) < 2]
            extras = [{"harms": harms} for harms in ("", "large", "both")] + [{"opposing": 1}]
        else:
            cores += [Shape(joint=False, bottlenecks=True)]
            stiff = ((False, ()), (True, ()), (True, (-1,)))
            cores += [Shape(joint=joint, bottlenecks=True, tied=True, breaks=b) for joint, b in stiff]
            extras = [{}, {"opposing": 1}]
        shapes = [replace(core, **extra, **limit) for core in cores for extra in extras for limit in limits]
        if several and not hyper:
            worst = limits[-1]
            shapes += [Shape(bottlenecks=True, limit=c, **extra, **worst) for c in frame.inputs for extra in extras]
        return _forms(frame, shapes)


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """UNSL with parts taken away. [paper names the ablations, form ours]

    A1: a_0 + K. A2: A1 with the ceiling. A3: A2 with one additive opposing K.
    """

    name: str
    capped: bool
    opposing: int

    def forms(self, frame: Frame) -> tuple[UnslForm, ...]:
        limit = _limits(frame)[-1] if self.capped else {}
        return _forms(frame, [Shape(breaks=b, opposing=self.opposing, **limit) for b in _ALL_BREAKS])
