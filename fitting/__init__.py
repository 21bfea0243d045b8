"""Laws of scale: fit them to a table of measurements, compare them, forecast with them. Arrays in, values out.

    from fitting import Table, compare, fit

    table = Table(inputs={"parameters": n, "tokens": d}, y=loss)
    result = fit("unsl", table)
    result.forecast({"parameters": 7e9, "tokens": 140e9})

Needs NumPy and, for intervals, SciPy. To add a law, see `law`; for what the unified law is, `laws.layers` and
`laws.unsl`.

Where to look: `table` and `metric` hold data, `priors` and `tape` are what laws are written with, `laws` holds one file
a law, `solver` fits one form from many starts, `candidates` walks the path of ridges, `selection` decides what
predicts, `forecast` says how far it may be off and `uncertainty` why, `fits` ties them together, `allocation` asks a
fit where to spend a budget, `design` what to measure next. `exams` is a room apart that the library knows nothing of:
it scores every law on public tables.

One equation
------------
A law predicts with one equation, the one that it shows; `unsl-mean`, `cf-mean` and so on predict with the mean of the
candidates that it stands for (see `distil`). Measured on 11 splits of several inputs and 23 learning curves, those
that take least time (a1 to a3 on 6 to 10 of them), x/ the paired standard error; "before" is the procedure of the next
section, which predicted with the mean, showed the first candidate, kept floors under the least measurement and drew
500 rows of longer tables:

                                         unsl, tables   unsl, curves    a3, tables    cf, tables    m4, curves
    equation to mean                     1.02 x/ 1.01    .99 x/ 1.02   1.01 x/ 1.01       1             1
    equation to the mean of before       1.05 x/ 1.08   1.00 x/ 1.12    .95 x/ 1.05   1.04 x/ 1.02   .93 x/ 1.10
    equation to the one shown before      .83 x/ 1.13   1.08 x/ 1.15    .82 x/ 1.12   1.04 x/ 1.02   .93 x/ 1.10
    50% and 90% intervals held, before     .71, .99       .42, .86       .67, .94      .66, 1.00     .40, .87
    and now                                .75, .99       .58, .93       .58, .91      .65, .99      .45, .84

So the equation costs next to nothing against the mean, and of the laws that change at all it is as good as what
predicted before. Floors bounded by the mean of the measurements cure an error that grew with the number of rows (see
`priors.floor`); on these splits they are no gain, and for the additive law on tables of two dozen rows a loss (.040 to
.047, .056 to .069). On tables of several inputs the unified law's intervals of 50% are still too wide. The stretch
was above 1 on 3 of 32 fits: it is inert, and the design effect does the work (without it .32 and .84 instead of .50 and
.95 on the first 13). A first correction of it for chance, by half its standard error, moved .50 and .89 on 15 fits to
.44 and .87, and was left out.

What was tried before, and what it gave
---------------------------------------
Everything in this section was measured before the one above: on 40 splits of public tables with several inputs (19
language, 18 vision, 3 other; the largest scale held out) and on 136 learning curves, in alternating halves for
development and report that shared sources; whole sources are in one half since. A number is the ratio of geometric-mean
held-out RMSLE with its paired standard error; below 1 is better. Every law had this same procedure.

    unsl to              cf          a1          a2          a3        best other of each split
    report half, 19   .68 +- .13  .74 +- .10  .81 +- .11  .80 +- .07  1.04 +- .13
    development, 21   .61 +- .10  .78 +- .08  .82 +- .09  .82 +- .05  1.19 +- .10
    136 curves            -      1.07 +- .05  .95 +- .04  .99 +- .06  1.63 +- .09

The best other is the best single choice in hindsight among 13 laws. Among all of them the unified law has the lowest
error on 7 of 19 report splits and on 7 of 21 others; on 5 of 18 in vision (the next law on 5) and on 8 of 19 in
language (the next on 2). The paper has 60.87% and 88.89% of its own tasks. Geometric-mean RMSLE of the curves: unsl
.0177, a1 .0166, bnsl .0179, a2 .0186, a3 .0201, m4 .0229, m3 .0287, m2 .0311. Nominal 90% intervals held 88% of the
held-out points of the report half and 85% of those of the curves.

Kept, each by its effect on the development half (36 splits then, tables drawn down to 300 rows), x/ the standard error:

    mean of the best tenth instead of the best one                  .89 x/ 1.11
    bottlenecks that share one exponent, as further structures      .97 x/ 1.02
    a short list of three tenths, ranked again with a quarter of
    the logarithm of the error on all fitted rows                   .94 x/ 1.04; with the line above .90 x/ 1.05
    stopping when a step gains a thousandth instead of 1e-5         1.0 on four splits, in half the time

Without gain, and left out:

    best 2%, 5%, 20%, 30% instead of a tenth                        1.07, 1.02, 1.00, 1.03
    trimmed mean, median of the members                             1.06, 1.07
    without the emphasis on the frontier, or only with it           1.01, 1.02
    a frontier along all inputs, not towards the rows wanted        1.00, but less steady (x/ 1.09)
    ranking by the fit alone                                        1.56
    a penalty on the number of coefficients                         1.00 to 1.06
    a bottleneck that bends, shifted by the other inputs            1.04
    a bottleneck worn out by another input (data repeated)          1.01 with the lines above
    a joint component of one exponent; one input left out           1.03, 1.04
    fitted ceilings left out                                        1.10
    at most rows / 2, / 3, / 4 coefficients, 23 tables of 15 to 56  1.07, 1.20, 1.17

The data-constrained law still predicts its authors' 182 runs better: .030 against .044 with large models held out,
.026 against .032 with large data. On all runs the unified law is ahead: .112 against .129, and .025 against .030. A
component of the same shape did not change that; what is missing may be the stiffness of a law of seven constants, as
on tables of two dozen rows, which the additive law of five predicts best.
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
from .law import Form, Frame, Law
from .laws import LAWS, Bnsl, find_law, load_law, log_data_constrained
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
    "Bnsl",
    "Comparison",
    "Comparisons",
    "Design",
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
    "Optimum",
    "Pick",
    "Quantity",
    "Recipe",
    "Rmsle",
    "Summary",
    "Table",
    "Uncertainty",
    "allocate",
    "compare",
    "design",
    "find_law",
    "fit",
    "load_law",
    "log_data_constrained",
    "parse_expression",
    "parse_quantity",
    "priors",
    "published",
    "rmsle",
    "tape",
]
