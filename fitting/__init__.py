"""Laws of scale: fit them to a table of measurements, compare them, forecast with them. Arrays in, values out.

    from fitting import Table, compare, fit

    table = Table(inputs={"parameters": n, "tokens": d}, y=loss)
    result = fit("unsl", table)
    result.forecast({"parameters": 7e9, "tokens": 140e9})

Needs NumPy and, for intervals, SciPy. To add a law, see `law`.
"""

from .candidates import PLAIN, Recipe
from .errors import FittingError
from .expression import Expression, parse_expression
from .fits import Comparison, Fit, FitStatus, compare, fit
from .forecast import Forecast
from .law import Form, Frame, Law
from .metric import Metric
from .registry import LAWS
from .rmsle import Rmsle, rmsle
from .solver import Loss
from .table import Table

__all__ = [
    "LAWS",
    "PLAIN",
    "Comparison",
    "Expression",
    "Fit",
    "FitStatus",
    "FittingError",
    "Forecast",
    "Form",
    "Frame",
    "Law",
    "Loss",
    "Metric",
    "Recipe",
    "Rmsle",
    "Table",
    "compare",
    "fit",
    "parse_expression",
    "rmsle",
]
