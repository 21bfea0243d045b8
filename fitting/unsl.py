"""The Unified Neural Scaling Law: its parametrisation, its structures and its ablations.

The algebra is that of `layers`, the same for every task: only coefficients and structure differ, and selection picks
them everywhere by the same procedure. No task may add a term. The parametrisation is [ours]: raw parameters with
standard normal priors (`priors`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from . import priors, tape
from .law import Form, Frame
from .layers import Break, log_k, log_q, log_r, log_top
from .tape import Value


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Which parts of the law are present.

    joint: one K over all columns. bottlenecks: one power law an input, added to it. breaks: the signs of the joint
    K's breaks. opposing: additive terms with exponents of either sign in every column (overfitting, instability).
    limit: the input that bottlenecks a limit on misperformance ("" = no such limit). harms: for hyperparameters, "" =
    only exponents in K, "large" = a term that rises with each hyperparameter, "both" = a second one that rises as it
    shrinks. ceiling: whether the metric's ceiling is in.
    """

    joint: bool = True
    bottlenecks: bool = False
    tied: bool = False
    bend: str = ""
    breaks: tuple[int, ...] = ()
    opposing: int = 0
    limit: str = ""
    harms: str = ""
    ceiling: bool = False

    def __str__(self) -> str:
        parts = []
        if self.joint:
            signs = "".join("+" if sign > 0 else "-" for sign in self.breaks)
            parts.append("joint" + (f" with break{'s' * (len(signs) > 1)} {signs}" if signs else ""))
        if self.bottlenecks:
            parts.append(
                "bottlenecks" + " of one exponent" * self.tied + f", that of {self.bend} bent" * bool(self.bend)
            )
        if self.harms:
            parts.append("harm " + ("if too large" if self.harms == "large" else "if too large or too small"))
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
            if shape.bend:
                names += [*(f"w0_{c}" for c in columns), "d0", "f0"]
        for side in self._sides():
            for h in self.frame.hyperparameters:
                names += [f"{side}_{h}", *(f"{side}_{h}_{c}" for c in columns)]
        if shape.limit:
            names += ["limit", f"limit_{shape.limit}"]
        for k in range(1, shape.opposing + 1):
            names += [f"o{k}", *(f"o{k}_{c}" for c in columns)]
        return tuple(names)

    @property
    def bounded(self) -> frozenset[str]:
        numbers = range(0 if self.shape.bend else 1, len(self.shape.breaks) + 1)
        return frozenset(f"{what}{i}" for what in "df" for i in numbers)

    def _sides(self) -> tuple[str, ...]:
        return {"": (), "large": ("large",), "both": ("large", "small")}[self.shape.harms]

    def _beta(self, p: Mapping[str, Value], column: str) -> Value:
        return priors.falling(p["beta" if self.shape.tied else f"beta_{column}"])

    def _bend(self, p: Mapping[str, Value]) -> list[Break]:
        """The break of one input's bottleneck. Where it bends, the slope along its own input can only be lost, so
        that repeated data wear out, and the other columns shift the place."""
        own = self.shape.bend
        direction = [
            self._beta(p, c) * tape.sigmoid(p[f"w0_{c}"]) if c == own else priors.direction(p[f"w0_{c}"])
            for c in self.columns
        ]
        place = priors.position(p["d0"], direction, [self.frame.half[c] for c in self.columns])
        return [Break(direction=direction, place=place, width=priors.sharpness(p["f0"]), sign=-1)]

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
            for c in self.frame.inputs:
                own = [-self._beta(p, c) if name == c else 0.0 for name in self.columns]
                bend = self._bend(p) if c == shape.bend else []
                components.append(log_k(columns, log_b=priors.amplitude(p[f"b_{c}"], middle), slopes=own, breaks=bend))
        for side in self._sides():
            for h in self.frame.hyperparameters:
                log_b = priors.amplitude(p[f"{side}_{h}"], middle, below_middle=2.0)
                components.append(log_k(columns, log_b=log_b, slopes=self._harm_slopes(p, side, h)))
        limited = [log_r(components)]
        if shape.limit:
            log_b = priors.amplitude(p["limit"], middle, below_middle=0.0)
            limited.append(log_b - priors.falling(p[f"limit_{shape.limit}"]) * z[shape.limit])
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

        def name_break(i: int, one: Break) -> None:
            """In the paper's gauge, |w| = 1."""
            direction = np.array([float(v) for v in one.direction])
            size = float(np.linalg.norm(direction)) + 1e-300
            out.update({f"w{i}_{c}": float(v) / size for c, v in zip(self.columns, direction, strict=True)})
            out[f"d{i}"] = np.exp((float(one.place) + direction @ middles) / size)
            out[f"f{i}"] = float(one.width) / size
            out[f"c{i}"] = one.sign * size

        out = {"a0": np.exp(priors.below(p["a0"], self.frame.low))}
        if shape.ceiling:
            out["aM"] = np.exp(self._log_ceiling(p))
        if shape.joint:
            slopes = [self._slope(p, f"c_{c}", c) for c in self.columns]
            power("b", priors.amplitude(p["b"], middle), slopes, self.columns, "c")
            for i, sign in enumerate(shape.breaks, start=1):
                name_break(i, self._break(p, i, sign))
        if shape.bottlenecks:
            for c in self.frame.inputs:
                power(f"b_{c}", priors.amplitude(p[f"b_{c}"], middle), [-self._beta(p, c)], [c], "beta")
            if shape.bend:
                name_break(0, self._bend(p)[0])
        for side in self._sides():
            for h in self.frame.hyperparameters:
                log_b = priors.amplitude(p[f"{side}_{h}"], middle, below_middle=2.0)
                power(f"{side}_{h}", log_b, self._harm_slopes(p, side, h), self.columns, f"{side}_{h}")
        if shape.limit:
            log_b = priors.amplitude(p["limit"], middle, below_middle=0.0)
            power("limit", log_b, [-priors.falling(p[f"limit_{shape.limit}"])], [shape.limit], "limit")
        for k in range(1, shape.opposing + 1):
            log_b = priors.amplitude(p[f"o{k}"], middle, below_middle=2.0)
            power(f"o{k}", log_b, [priors.free(p[f"o{k}_{c}"]) for c in self.columns], self.columns, f"o{k}")
        return out


_BREAKS: tuple[tuple[int, ...], ...] = ((), (1,), (-1,), (1, -1))


def _ceilings(frame: Frame) -> tuple[bool, ...]:
    """A known ceiling is always in, none is always out, an unknown one is tried both ways."""
    if frame.log_ceiling is None:
        return (False, True)
    return (math.isfinite(frame.log_ceiling),)


def _forms(frame: Frame, shapes: Sequence[Shape]) -> tuple[UnslForm, ...]:
    return tuple(UnslForm(frame=frame, shape=shape) for shape in dict.fromkeys(shapes))


@dataclass(frozen=True, kw_only=True)
class Unsl:
    """The law with every structure that selection may pick."""

    name: str = "unsl"

    def forms(self, frame: Frame) -> tuple[UnslForm, ...]:
        several = len(frame.inputs) > 1
        if not several and not frame.hyperparameters:
            return _forms(
                frame, [Shape(breaks=b, ceiling=c) for b in (*_BREAKS, (1, 1), (-1, -1)) for c in _ceilings(frame)]
            )
        cores = [Shape(breaks=b) for b in _BREAKS]
        if several:
            cores += [Shape(breaks=b, bottlenecks=True) for b in _BREAKS]
            cores += [Shape(joint=False, bottlenecks=True)]
        harms = ("", "large", "both") if frame.hyperparameters else ("",)
        shapes = []
        for core, harm, opposing, ceiling in itertools.product(cores, harms, (0, 1), _ceilings(frame)):
            if frame.hyperparameters and (not core.joint or len(core.breaks) > 1 or (harm and opposing)):
                continue
            shapes.append(
                Shape(
                    joint=core.joint,
                    bottlenecks=core.bottlenecks,
                    breaks=core.breaks,
                    harms=harm,
                    opposing=opposing,
                    ceiling=ceiling,
                )
            )
        if several and True in _ceilings(frame) and not frame.hyperparameters:
            shapes += [Shape(bottlenecks=True, opposing=o, limit=c, ceiling=True) for c in frame.inputs for o in (0, 1)]
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
        # A law that claims a ceiling where the metric has none has a ceiling out of reach: the term drops out.
        capped = self.capped and True in _ceilings(frame)
        return _forms(
            frame, [Shape(breaks=b, ceiling=capped, opposing=self.opposing) for b in (*_BREAKS, (1, 1), (-1, -1))]
        )
