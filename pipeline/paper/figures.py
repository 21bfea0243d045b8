"""Figures in the paper's manner: what was observed and fitted, what was held out, and the law through both.

A panel a question's task. Filled marks were fitted, hollow ones held out; a line is the law where it was fitted, and
goes on in dashes where it extrapolates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.analysis import Divided, Tasks
from pipeline.paper.answers import Answers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

MOST_PANELS, MOST_LINES = 6, 5
PLACES = 120
"""Along a line."""
COLOURS = ("#665ddb", "#a845a8", "#de5170", "#f08a3c", "#5a8f29")
"""Of ordered levels, as in the report."""
LAWS = {"unsl": "#d55e00", "a1": "#56b4e9", "a2": "#0072b2", "a3": "#003f6b", "cf": "#009e73", "bnsl": "#8a6d00"}
"""Colours of laws."""
OTHER = "#0072b2"
"""Of the laws of one input."""
DPI = 130


def draw_answers(answers: Answers, path: str) -> None:
    """Every task of the study's own question and of those that ask another metric, in one file."""
    chosen = [
        (", ".join(filter(None, (ask, task))), tasks, task)
        for ask, tasks in answers.asks.items()
        if not ask or answers.block.asked(answers.tier)[ask].metric
        for task in tasks.divided
    ][:MOST_PANELS]
    figure, panels = _panels(len(chosen))
    for axes, (title, tasks, task) in zip(panels, chosen, strict=True):
        divided = tasks.divided[task]
        _title(axes, title or answers.block.name.replace("_", " "), tasks, task)
        along, by = _columns(divided, answers.block.along)
        if divided.held_out is None or _slice(divided, along, by)["held_out"].any():
            _draw_along(axes, tasks, task, along, by)
        else:
            _draw_predicted(axes, tasks, task)
    figure.savefig(path, dpi=DPI)


def draw_asks(answers: Answers, path: str) -> bool:
    """Held-out error over the questions that vary the hull or the number of points; whether there are any."""
    asked = answers.block.asked(answers.tier)
    varied = [name for name in answers.asks if name and not asked[name].metric]
    groups = [[name for name in varied if bool(asked[name].points) == counts] for counts in (False, True)]
    groups = [group for group in groups if group]
    if not groups:
        return False
    figure, panels = _panels(len(groups))
    for axes, names in zip(panels, groups, strict=True):
        task = next(iter(answers.asks[names[0]].divided))
        scores: dict[str, list[float]] = {}
        for name in names:
            for row in answers.asks[name].comparisons[task]:
                if row.law in LAWS:
                    value = row.rmsle_held_out.value if row.rmsle_held_out else np.nan
                    scores.setdefault(row.law, []).append(value)
        for law, values in scores.items():
            axes.plot(range(len(names)), values, "o-", color=LAWS[law], label=law, linewidth=2 if law == "unsl" else 1)
        axes.set(yscale="log", ylabel="held-out RMSLE")
        axes.set_xticks(range(len(names)), names, rotation=25, ha="right", fontsize=8)
        axes.legend(fontsize=8, frameon=False)
        _plain_ticks(axes.yaxis, axes.get_ylim())
    figure.savefig(path, dpi=DPI)
    return True


def _panels(count: int) -> tuple[Figure, Sequence[Axes]]:
    from matplotlib.figure import Figure

    columns = min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(4.2 * columns + (1.2 if columns == 1 else 0), 3.4 * rows), layout="constrained")
    made = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for spare in made[count:]:
        spare.set_axis_off()
    return figure, made[:count]


def _title(axes: Axes, title: str, tasks: Tasks, task: str) -> None:
    scores = _scores(tasks, task)
    best = min(scores, key=scores.__getitem__, default="")
    said = f"unsl {scores['unsl']:.3g}" if "unsl" in scores else ""
    other = f", best: {best} {scores[best]:.3g}" if best and best != "unsl" else ""
    axes.set_title(f"{title}   held-out RMSLE {said}{other}" if said or other else title, fontsize=8, loc="left")


def _scores(tasks: Tasks, task: str) -> dict[str, float]:
    return {row.law: row.rmsle_held_out.value for row in tasks.comparisons[task] if row.rmsle_held_out}


def _draw_predicted(axes: Axes, tasks: Tasks, task: str) -> None:
    """Measured against foretold, where no row of the grid holds both kinds of points: the unified law and the best."""
    divided, scores = tasks.divided[task], _scores(tasks, task)
    metric = divided.question.metric
    laws = dict.fromkeys(["unsl", min(scores, key=scores.__getitem__)]) if scores else {}
    for row in tasks.comparisons[task]:
        if row.law in laws and row.fit is not None:
            for table, face in ((divided.fitted, None), (divided.held_out, "none")):
                foretold, measured = (metric.from_loss(y) for y in (row.fit.predict(table.columns), table.y))
                axes.plot(foretold, measured, "o", color=LAWS.get(row.law, OTHER), markersize=3.5, markerfacecolor=face,
                          label=f"{row.law}, {'fitted' if face is None else 'held out'}")  # fmt: skip
    ends = np.array(axes.get_xlim() + axes.get_ylim())
    axes.plot([ends.min(), ends.max()], [ends.min(), ends.max()], color="#999999", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel=f"{metric.name}, by the law", ylabel=f"{metric.name}, measured")
    axes.legend(fontsize=6.5, frameon=False)
    _plain_ticks(axes.xaxis, axes.get_xlim())
    _plain_ticks(axes.yaxis, axes.get_ylim())


def _plain_ticks(axis: Axis, ends: tuple[float, float]) -> None:
    """0.6 rather than a power of ten, at the decades or, where the axis spans less than one, between them too."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    between = ends[1] < 12 * ends[0]
    axis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if between else ""))
    axis.set_tick_params(which="both", labelsize=7)


def _draw_along(axes: Axes, tasks: Tasks, task: str, along: str, by: str | None) -> None:
    divided = tasks.divided[task]
    rows = _slice(divided, along, by)
    metric, fits = divided.question.metric, {row.law: row.fit for row in tasks.comparisons[task] if row.rmsle_fit}
    levels = _levels(rows, by)
    edge = float(divided.fitted.columns[along].max())
    x = np.geomspace(rows[along].min(), rows[along].max(), PLACES)
    for number, level in enumerate(levels):
        part = rows if by is None else rows[rows[by] == level]
        colour = COLOURS[number * (len(COLOURS) - 1) // max(len(levels) - 1, 1)]
        fitted, held_out = part[~part["held_out"]], part[part["held_out"]]
        label = "" if by is None else f"{by.replace('_', ' ')} {level:g}"
        axes.plot(fitted[along], metric.from_loss(fitted["loss"].to_numpy()), "o", color=colour, markersize=3.5)
        axes.plot(held_out[along], metric.from_loss(held_out["loss"].to_numpy()), "o", color=colour, markersize=3.5,
                  markerfacecolor="none")  # fmt: skip
        law = fits.get("unsl") or next(iter(fits.values()), None)
        if law is None:
            continue
        place = {name: np.full(PLACES, float(part[name].iloc[0])) for name in divided.fitted.columns} | {along: x}
        y = metric.from_loss(law.predict({name: place[name] for name in law.columns}))
        inside = (x <= edge) & bool(len(fitted))
        axes.plot(x[inside], y[inside], "-", color=colour, linewidth=1.4)
        axes.plot(x[x >= edge] if len(fitted) else x, y[x >= edge] if len(fitted) else y, "--", color=colour,
                  linewidth=1.2, label=label)  # fmt: skip
    if rows.loc[~rows["held_out"], along].max() < rows[along].max():
        axes.axvline(edge, color="#999999", linewidth=0.8, linestyle=":")
    low = metric.from_loss(np.array([rows["loss"].min() / 1.15, rows["loss"].max() * 1.15]))
    axes.set(xscale="log", yscale="log", xlabel=along.replace("_", " "), ylabel=metric.name.replace("_", " "))
    axes.set_ylim(*sorted(map(float, low)))
    if by is not None:
        axes.legend(fontsize=6.5, frameon=False)
    _plain_ticks(axes.xaxis, axes.get_xlim())
    _plain_ticks(axes.yaxis, axes.get_ylim())


def _columns(divided: Divided, asked: str) -> tuple[str, str | None]:
    """The horizontal column: that which is asked for, or training time; and the one that changes the loss most, of
    which each value has a line."""
    names = [*divided.question.inputs, *divided.question.hyperparameters]
    varying = [name for name in names if divided.rows[name].nunique() > 1]
    steps = [name for name in (asked, "step", "examples") if name in varying]
    along = (steps or varying)[0]
    log = np.log(divided.rows["loss"])
    effect = {name: log.groupby([divided.rows[along], divided.rows[name]]).mean().groupby(level=0).std().mean()
              for name in varying if name != along}  # fmt: skip
    known = {name: value for name, value in effect.items() if np.isfinite(value)}
    return along, max(known, key=known.__getitem__, default=None)


def _slice(divided: Divided, along: str, by: str | None) -> Any:
    """The rows at one value of every other column: that with most of both kinds of points."""
    rows = divided.rows
    others = [name for name in (*divided.question.inputs, *divided.question.hyperparameters)
              if name not in (along, by) and rows[name].nunique() > 1]  # fmt: skip
    if by == "parameters":
        others = [name for name in others if name not in ("width", "depth")]
    if not others:
        return rows
    grouped = rows.groupby(others)["held_out"].agg(["size", "sum"])
    score = grouped["size"] + np.minimum(grouped["sum"], grouped["size"] - grouped["sum"])
    chosen = score[score == score.max()].index[-1]
    values: Mapping[str, Any] = dict(zip(others, chosen if isinstance(chosen, tuple) else (chosen,), strict=True))
    for name, value in values.items():
        rows = rows[rows[name] == value]
    return rows


def _levels(rows: Any, by: str | None) -> list[float]:
    if by is None:
        return [1.0]
    values = sorted(rows[by].unique())
    if len(values) <= MOST_LINES:
        return values
    return [values[i] for i in np.linspace(0, len(values) - 1, MOST_LINES).round().astype(int)]
