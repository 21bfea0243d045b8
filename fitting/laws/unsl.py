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

# A raw parameter at which a limit or a term leaves ln y as it is, to the last bit.
_OUT_OF_REACH = 500.0


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
        return self.words(self.breaks, ordered=False)

    def words(self, breaks: Sequence[int], *, ordered: bool) -> str:
        """The parts, with the joint term's turns as they come (`then`) or only which they are (`and`)."""
        parts = []
        if self.joint:
            turns = (" then " if ordered else " and ").join("faster" if sign > 0 else "slower" for sign in breaks)
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
    def bounds(self) -> Mapping[str, tuple[float, float]]:
        numbers = range(1, len(self.shape.breaks) + 1)
        falling = [f"c_{c}" for c in self.frame.inputs] + ["beta", *(f"beta_{c}" for c in self.frame.inputs)]
        falling += [f"{side}_{h}_{h}" for side in self._sides() for h in self.frame.hyperparameters]
        kinds = {
            **dict.fromkeys(falling + [f"limit_{self.shape.limit}"], priors.EXPONENT_BOUNDS),
            "a0": priors.FLOOR_BOUNDS,
            **dict.fromkeys(("aM", "plateau"), priors.CEILING_BOUNDS),
            **dict.fromkeys((f"d{i}" for i in numbers), priors.POSITION_BOUNDS),
            **dict.fromkeys((f"f{i}" for i in numbers), priors.SHARPNESS_BOUNDS),
        }
        return {name: kinds[name] for name in self.parameters if name in kinds}

    def _order(self, p: Mapping[str, Value]) -> list[int]:
        """The numbers of the breaks, in the order in which one meets them on the way up the diagonal of all inputs."""
        met = []
        for i in range(1, len(self.shape.breaks) + 1):
            one = self._break(p, i, 1)
            along = sum(
                float(v) * self.frame.half[c]
                for v, c in zip(one.direction, self.columns, strict=True)
                if c in self.frame.inputs
            )
            met.append((float(one.place) / along if along else math.inf, i))
        return [i for _, i in sorted(met)]

    def describe(self, raw: np.ndarray) -> str:
        order = self._order(dict(zip(self.parameters, raw, strict=True)))
        return self.shape.words(tuple(self.shape.breaks[i - 1] for i in order), ordered=True)

    @property
    def equation(self) -> str:
        shape = self.shape

        def power(name: str, letter: str, columns: Sequence[str]) -> str:
            return " * ".join([name, *(f"{c}^{letter}_{c}" for c in columns)])

        terms = []
        if shape.joint:
            joint = power("b", "c", self.columns)
            for i in range(1, len(shape.breaks) + 1):
                along = " * ".join(f"{c}^w{i}_{c}" for c in self.columns)
                joint += f" * (1 + ({along}/d{i})^(1/f{i}))^(-c{i} * f{i})"
            terms.append(joint)
        if shape.bottlenecks:
            terms += [power(f"b_{c}", "beta", [c]) for c in self.frame.inputs]
        terms += [
            power(f"{side}_{h}", f"{side}_{h}", self.columns)
            for side in self._sides()
            for h in self.frame.hyperparameters
        ]
        good = " + ".join(terms)
        limits = [f"1/({power('limit', 'limit', [shape.limit])})"] * bool(shape.limit) + ["1/plateau"] * shape.plateau
        if limits:
            good = f"1/({' + '.join([f'1/({good})', *limits])})"
        total = " + ".join([good, *(power(f"o{k}", f"o{k}", self.columns) for k in range(1, shape.opposing + 1))])
        return f"a0 + 1/(1/(aM - a0) + 1/({total}))" if shape.ceiling else f"a0 + {total}"

    @property
    def host(self) -> tuple[UnslForm, Mapping[str, float]]:
        """The same core with its limit on misperformance and, of several inputs, one opposing term."""
        shape = self.shape
        fitted = self.frame.log_ceiling is None
        host = replace(shape, ceiling=True) if fitted else replace(shape, plateau=shape.plateau or not shape.limit)
        if shape.opposing == 0 and not shape.harms and len(self.columns) > 1 and not self.frame.hyperparameters:
            host = replace(host, opposing=1)
        absent = {}
        if host.ceiling and not shape.ceiling:
            absent["aM"] = _OUT_OF_REACH
        if host.plateau and not shape.plateau:
            absent["plateau"] = _OUT_OF_REACH
        if host.opposing > shape.opposing:
            absent |= {"o1": -_OUT_OF_REACH, **{f"o1_{c}": 0.0 for c in self.columns}}
        return replace(self, shape=host), absent

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
            log_floor=priors.floor(p["a0"], self.frame.low, self.frame.middle),
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

        out = {"a0": np.exp(priors.floor(p["a0"], self.frame.low, self.frame.middle))}
        if shape.ceiling:
            out["aM"] = np.exp(self._log_ceiling(p))
        if shape.joint:
            slopes = [self._slope(p, f"c_{c}", c) for c in self.columns]
            power("b", priors.amplitude(p["b"], middle), slopes, self.columns, "c")
            for i, k in enumerate(self._order(p), start=1):
                sign = shape.breaks[k - 1]
                one = self._break(p, k, sign)
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


def _additive(frame: Frame) -> Shape:
    return Shape(joint=False, bottlenecks=True, **_limits(frame)[0])


def _forms(frame: Frame, shapes: Sequence[Shape]) -> tuple[UnslForm, ...]:
    return tuple(UnslForm(frame=frame, shape=shape) for shape in dict.fromkeys(shapes))


@dataclass(frozen=True, kw_only=True)
class Unsl:
    """The law with every structure that selection may pick."""

    name: str = "unsl"

    def core(self, frame: Frame) -> str:
        """The additive law, of several inputs: one power law each."""
        return str(_additive(frame)) if len(frame.inputs) > 1 else ""

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
        if several:
            shapes.append(_additive(frame))
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
