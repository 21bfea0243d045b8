"""Laws of scale: fit them to a table of measurements, compare them, forecast with them. Arrays in, values out.

    from fitting import Table, compare, fit

    table = Table(inputs={"parameters": n, "tokens": d}, y=loss)
    result = fit("unsl", table)
    result.forecast({"parameters": 7e9, "tokens": 140e9})

Needs NumPy and, for intervals, SciPy. To add a law, see `law`; for what the unified law is, `laws.layers` and
`laws.unsl`.

Where to look: `table` and `metric` hold data, `priors` and `tape` are what laws are written with, `laws` holds one file
a law, `solver` fits one form from many starts, `candidates` walks the path of ridges, `selection` decides what
predicts, `forecast` says how far it may be off and `uncertainty` why, `fits` ties them together, `compare` and
`blending` are about several laws, `allocation` and `budget_search` ask a fit where to spend a budget, `design` what to
measure next and `halving` what to stop.
`exams` is a room apart that the library knows nothing of: it scores every law on public tables.

A law predicts with one equation, the one that it shows; `unsl-mean`, `cf-mean` and so on predict with the mean of the
candidates that it stands for (see `distil`), and `blend` with several laws. On 67 exams of 11 sources that came when
the procedure had been chosen on others (but for its caution, which was kept with them in view), the held-out error of
the unified law to that of others, +- the paired standard error, and how often the intervals of each hold:

           unsl-mean        a1             a2             a3             cf            blend           unsl
    error  .974 +- .015  .879 +- .041   .902 +- .056   .913 +- .036   .560 +- .051  1.003 +- .010      1
    50%        52%           44%            47%            47%            47%            52%          54%
    90%        85%           79%            79%            83%            81%            85%          86%

`exams/notebook.md` says what was tried, what was kept and what gave nothing, each with its error.
"""

from . import priors, tape
from .allocation import Allocation, Allocations, allocate
from .candidates import PLAIN, Recipe
from .compare import Comparison, Comparisons, compare
from .design import Design, Pick, design
from .errors import FittingError
from .expression import Expression, Quantity, parse_expression, parse_quantity
from .fits import Fit, FitStatus, fit
from .forecast import Forecast
from .halving import Foretold, by_rank, foretell, hopeless
from .law import Form, Frame, Law
from .laws import LAWS, Blend, Bnsl, find_law, load_law, log_data_constrained
from .metric import Metric
from .optimum import PUBLISHED, Optimum, published
from .rmsle import Rmsle, rmsle
from .solver import HUBER_WIDTH, Loss
from .summary import Summary
from .table import Table
from .uncertainty import Uncertainty

__all__ = [
    "HUBER_WIDTH",
    "LAWS",
    "PLAIN",
    "PUBLISHED",
    "Allocation",
    "Allocations",
    "Blend",
    "Bnsl",
    "Comparison",
    "Comparisons",
    "Design",
    "Expression",
    "Fit",
    "FitStatus",
    "FittingError",
    "Forecast",
    "Foretold",
    "Form",
    "Frame",
    "Law",
    "Loss",
    "Metric",
    "Optimum",
    "Pick",
    "Quantity",
    "Recipe",
    "Rmsle",
    "Summary",
    "Table",
    "Uncertainty",
    "allocate",
    "by_rank",
    "compare",
    "design",
    "find_law",
    "fit",
    "foretell",
    "hopeless",
    "load_law",
    "log_data_constrained",
    "parse_expression",
    "parse_quantity",
    "priors",
    "published",
    "rmsle",
    "tape",
]
