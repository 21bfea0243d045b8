"""A fit as a figure: measured against predicted, and what is left over against scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import FittingError
from .selection import scale_coordinate

if TYPE_CHECKING:
    from .fits import Fit


def draw(fit: Fit, axes: Any = None) -> Any:
    """The Figure; `axes` are two matplotlib Axes, made if None. Raises FittingError for a fit without its table."""
    from matplotlib.figure import Figure

    if fit.table is None:
        raise FittingError("a fit that was read from JSON has no table to draw; fit the table again")
    if axes is None:
        axes = Figure(figsize=(9, 3.8), layout="constrained").subplots(1, 2)
    left, right = axes
    predicted, measured = fit.predict(fit.table.columns), fit.table.y
    ends = [min(predicted.min(), measured.min()), max(predicted.max(), measured.max())]
    left.plot(ends, ends, color="#999999", linewidth=1)
    left.plot(predicted, measured, ".", color="#0072b2", markersize=4)
    left.set(xscale="log", yscale="log", xlabel=f"predicted by {fit.law}", ylabel="measured", title=fit.structure)
    residuals = fit.residuals()
    right.axhline(0.0, color="#999999", linewidth=1)
    right.plot(scale_coordinate(fit.table, None), residuals, ".", color="#0072b2", markersize=4)
    rms = float(np.sqrt(np.mean(residuals**2)))
    right.set(xlabel="scale, smallest to largest row", ylabel="ln measured - ln predicted", title=f"rms {rms:.3g}")
    return left.figure
