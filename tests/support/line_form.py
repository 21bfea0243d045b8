"""The simplest form of a law, for tests of what is done with one."""

from dataclasses import dataclass

from fitting import Form


@dataclass(frozen=True, kw_only=True)
class Line(Form):
    """ln y = a + b z: linear in its raw parameters, so that the answer is known in closed form."""

    structure = "line"
    parameters = ("a", "b")

    def log_y(self, p, z):
        return p["a"] + p["b"] * z["x"]

    def natural(self, p):
        return dict(p)
