"""The simplest form of a law, for tests of what is done with one."""

from dataclasses import dataclass

import numpy as np

from fitting import Form, Frame, Table
from fitting.candidates import Member, Rows
from fitting.solver import Ending


@dataclass(frozen=True, kw_only=True)
class Line(Form):
    """ln y = a + b z: linear in its raw parameters, so that the answer is known in closed form."""

    structure = "line"
    parameters = ("a", "b")

    def log_y(self, p, z):
        return p["a"] + p["b"] * z["x"]

    def natural(self, p):
        return dict(p)


X = np.linspace(-1.0, 1.0, 9)
FRAME = Frame.from_table(Table(inputs={"x": np.exp(X)}, y=np.exp(X)))
Z = {"x": X}


def member(a, b):
    return Member(
        form=Line(frame=FRAME),
        raw=np.array([a, b], float),
        ridge=0.0,
        loss=0.0,
        ending=Ending.CONVERGED,
        score=0.0,
        key=("line", 0, 0),
    )


def rows_of(log_y, weights=None, within=0.0, x=X):
    weights = np.ones(x.size) if weights is None else weights
    return Rows(z={"x": x}, log_y=log_y, weights=weights, q=np.linspace(0, 1, x.size), measured=x.size, within=within)
