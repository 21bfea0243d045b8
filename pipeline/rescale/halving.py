"""Successive halving by foresight: hopeless hyperparameters are not carried on.

Runs pause at the measurements nearest to 1/2^n, ..., 1/4 and 1/2 of their steps. At each such rung the settings of a
scale are compared once all of them have come to it: a law, fitted to what is measured by then, foretells the end of
every run, and those whose interval lies above that of the best are held (`fitting.halving`). Doublings, because each
decision is then about as much of the cost as all before it: a rung more adds a decision that is earlier and knows less.
Where no law can be fitted yet, runs are compared by what they measure there, with the spread of their seeds.

What is held keeps its points, which laws go on to be fitted to, and its checkpoint. Never held, and no measurement of
theirs looked at: cells with held-out points, for an exam must not lose the pupils that would fail it; nor cells that a
forecast in the ledger waits for. A decision is an event in the store. Where a driver dies before it is, the cells stand
at their rung and it is made by the next.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fitting import Fit, FitStatus, FittingError, Foretold, by_rank, foretell, hopeless
from pipeline.analysis import Divided, Question, by_task, of_grid
from pipeline.errors import PipelineError
from pipeline.forecasts import Ledger, matches
from pipeline.rescale.live import fitted_beside
from pipeline.run import Verdicts
from pipeline.store import Event, Held, Measured, Store
from pipeline.study import Cell, Study, point_columns, show_config

Rung = tuple[tuple, int]
"""A group of cells of one scale, and the number of a rung."""


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A cell that may be held."""

    cell: Cell
    names: tuple[str, ...]
    """Of its hyperparameters."""
    group: tuple
    """What it has in common with those that it is compared with: all that varies but hyperparameters and seed."""
    setting: tuple
    """Their values."""
    rungs: tuple[int, ...]
    """The steps where it pauses."""
    end: int
    """Its last step that is fitted."""


class Halving:
    """A `pipeline.run.Rungs` that is also one of the driver's listeners.

    rungs: how many. beside: decisions are made in a thread, while cells train. Raises PipelineError for a study in
    which nothing can be held.
    """

    def __init__(self, study: Study, store: Store, law: str, rungs: int, *, beside: bool = True):
        self._study, self._store, self._law, self._beside = study, store, law, beside
        self._runners = {one.cell.id: one for one in runners(study, rungs, _waited_for(study, store))}
        self._steps: dict[str, int] = {}
        """Of those that will run and have not ended, the last."""
        self._paused: dict[str, int] = {}
        """The number of the rung at which a cell stands."""
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._verdicts = Verdicts()

    def admit(self, cells: Sequence[Cell], reached: Mapping[str, int]) -> Sequence[Cell]:
        here = [cell for cell in cells if cell.id in self._runners]
        self._steps |= {cell.id: reached.get(cell.id, 0) for cell in here}
        return [cell for cell in here if self._steps[cell.id] in self._runners[cell.id].rungs]

    def until(self, cell: Cell, reached: int) -> int:
        runner = self._runners.get(cell.id)
        return next((rung for rung in runner.rungs if rung > reached), 0) if runner else 0

    def pause(self, cells: Sequence[Cell], reached: Mapping[str, int]) -> None:
        for cell in cells:
            self._steps[cell.id] = reached[cell.id]
            self._paused[cell.id] = sum(rung <= reached[cell.id] for rung in self._runners[cell.id].rungs) - 1

    def begin(self, cell: Cell, points: Sequence[Measured]) -> None: ...

    def tell(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.cell not in self._steps:
                continue
            if isinstance(event, Measured):
                self._steps[event.cell] = max(event.point.step, self._steps[event.cell])
            else:
                del self._steps[event.cell]

    def verdicts(self, *, hungry: bool, idle: bool) -> Verdicts:
        if self._thread is None and not hungry:  # The longer nobody needs it, the more a decision knows.
            return Verdicts()
        if self._thread is None:
            rungs = {(self._runners[id].group, number) for id, number in self._paused.items()}
            ready = [rung for rung in rungs if idle or not self._to_come(*rung)]
            if not ready:
                return Verdicts()
            asked = {
                rung: [id for id, number in self._paused.items() if (self._runners[id].group, number) == rung]
                for rung in sorted(ready, key=repr)
            }
            self._paused = {id: number for id, number in self._paused.items() if id not in sum(asked.values(), [])}
            self._thread = threading.Thread(target=self._decide, args=(asked,), name="halving", daemon=True)
            self._thread.start()
        if not self._beside:
            self._thread.join()
        if self._thread.is_alive():
            return Verdicts()
        self._thread = None
        if self._error is not None:
            raise self._error
        return self._verdicts

    def _to_come(self, group: tuple, number: int) -> bool:
        """Whether a cell will yet come to a rung."""
        of_group = (self._runners[id] for id in self._steps if self._runners[id].group == group)
        return any(self._steps[one.cell.id] < one.rungs[number] for one in of_group if number < len(one.rungs))

    def _decide(self, asked: Mapping[Rung, Sequence[str]]) -> None:
        try:
            held = decide(self._study, self._store, self._law, self._runners, asked)
            names = {event.cell for event in held}
            self._verdicts = Verdicts(
                held=held, go_on=[id for cells in asked.values() for id in cells if id not in names]
            )
        except BaseException as error:
            self._error = error


def decide(
    study: Study, store: Store, law: str, known: Mapping[str, Runner], asked: Mapping[Rung, Sequence[str]]
) -> list[Held]:
    """Which cells that stand at a rung are held, by what the store has measured of those that may be held."""
    rows, records = of_grid(study, store.table()), store.records()
    gone = {id for id, record in records.items() if record.status == "held"}
    held: list[Held] = []
    for question, part in by_task(Question.of_study(study), rows).values():
        here = set(part["cell"])
        groups = {rung: cells for rung, cells in asked.items() if here & set(cells)}
        if not groups:
            continue
        try:
            divided = question.divide(part)
        except PipelineError:  # Too little is measured yet.
            continue
        runs = [one for one in known.values() if one.group in {group for group, _ in groups}]
        found = _fitted(law, divided, runs)
        for (group, number), cells in groups.items():
            of_group = [one for one in runs if one.group == group]
            held += _hold(divided, found, of_group, number, set(cells), gone)
    return held


def _fitted(law: str, divided: Divided, runs: Sequence[Runner]) -> Fit | None:
    names = divided.fitted.columns
    ends = [_ends(one, names) for one in runs]
    try:
        return fitted_beside(law, divided.fitted, {name: np.concatenate([end[name] for end in ends]) for name in names})
    except FittingError:
        return None


def _hold(
    divided: Divided, found: Fit | None, runs: Sequence[Runner], number: int, cells: set[str], gone: set[str]
) -> list[Held]:
    """The held ones of some cells of a group at a rung."""
    rows = divided.rows[~divided.rows["held_out"]]
    rungs = {one.cell.id: one.rungs[number] for one in runs if number < len(one.rungs)}
    now = rows[rows["step"] == rows["cell"].map(rungs)]
    by_id = {one.cell.id: one for one in runs}
    settings = sorted({by_id[id].setting for id in now["cell"]})
    if not settings:
        return []
    place = {setting: number for number, setting in enumerate(settings)}
    of_rows = np.array([place[by_id[id].setting] for id in now["cell"]])
    log_y, values = np.log(now["loss"].to_numpy(float)), np.array(settings, float)
    said, how = None, f"foretold by {found.law if found else ''}"
    if found is not None and found.status is not FitStatus.FAILED:
        ends = [_ends(by_id[id], found.columns) for id in dict.fromkeys(now["cell"])]
        end = {name: np.concatenate([one[name] for one in ends]) for name in found.columns}
        of_end = [place[by_id[id].setting] for id in dict.fromkeys(now["cell"])]
        of_end = np.repeat(of_end, [len(next(iter(one.values()))) for one in ends])
        said = foretell(found, {name: now[name] for name in found.columns}, log_y, of_rows, end, of_end)
        said = said if np.isfinite([said.low, said.high]).all() else None
    if said is None:
        said, how = by_rank(log_y, of_rows), "measured"
    if said is None:
        return []
    here = {one.cell.id for one in runs if one.setting in place}
    left = np.array([all(id in gone for id in here if by_id[id].setting == setting) for setting in settings])
    best = int(np.argmin(np.where(left, np.inf, said.middle)))
    against = f"against {_range(divided, said, best)} with {_named(runs[0], settings[best])}"
    worse = hopeless(values, said, left)
    reasons = {settings[one]: f"halved: {how} {_range(divided, said, one)} {against}" for one in worse}
    return [
        Held(cell=id, step=rungs[id], reason=reasons[by_id[id].setting])
        for id in sorted(cells)
        if by_id[id].setting in reasons
    ]


def _range(divided: Divided, said: Foretold, setting: int) -> str:
    ends = divided.question.metric.from_loss(np.exp([said.low[setting], said.high[setting]]))
    return " to ".join(f"{end:.4g}" for end in sorted(ends))


def _named(runner: Runner, setting: tuple) -> str:
    return show_config(dict(zip(runner.names, setting, strict=True)))


def _ends(runner: Runner, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of the last points of a run that are fitted."""
    points = point_columns(runner.cell)
    last = np.flatnonzero(points["step"] == runner.end)
    columns = {**runner.cell.columns, **{name: values[last] for name, values in points.items()}}
    return {name: np.broadcast_to(np.asarray(columns[name], float), last.size) for name in names}


def runners(study: Study, rungs: int, waited_for: Collection[str]) -> list[Runner]:
    """The cells of a study that may be held. Raises PipelineError where there are none, and says why."""
    fields = [name for axis in study.axes for name in axis.fields]
    names = [name for name in fields if name in study.hyperparameters]
    names = [name for name in names if len({cell.config[name] for cell in study.cells}) > 1]
    if not names:
        raise PipelineError(
            f"study '{study.name}' has no hyperparameter that varies, and --halve stops hopeless ones: give an axis "
            "several values and name it in `hyperparameters`"
        )
    apart = [name for name in fields if name not in study.hyperparameters]
    found, single = [], 0
    for cell in study.cells:
        held_out, excluded = study.planned_split(cell)
        if (held_out & ~excluded).any() or cell.id in waited_for:
            continue
        steps = np.unique(point_columns(cell)["step"][~excluded]).astype(int)
        if steps.size < 2:
            single += 1
            continue
        away = [np.abs(np.log(steps[:-1] / (cell.counts.steps / 2**rung))) for rung in range(rungs, 0, -1)]
        found.append(
            Runner(
                cell=cell,
                names=tuple(names),
                group=tuple(cell.config[name] for name in apart),
                setting=tuple(cell.config[name] for name in names),
                rungs=tuple(sorted({int(steps[np.argmin(one)]) for one in away})),
                end=int(steps[-1]),
            )
        )
    if not found:
        why = (
            "its cells are measured at one step alone, and runs are compared on their way: measure more often"
            if single
            else "every cell has held-out points, or a forecast waits for it: what is held out is never stopped"
        )
        raise PipelineError(f"study '{study.name}' has nothing that --halve may stop: {why}")
    return found


def _waited_for(study: Study, store: Store) -> set[str]:
    """The cells that would measure what a forecast in the ledger waits for."""
    import pandas

    found: set[str] = set()
    entries, records = Ledger(store.folder).entries(), store.records()
    if not entries:
        return found
    pieces = []
    for cell in study.cells:
        points = point_columns(cell)
        reached = records[cell.id].step if cell.id in records else 0
        pieces.append(pandas.DataFrame({"cell": cell.id, **cell.columns, **points})[points["step"] > reached])
    rows = pandas.concat(pieces, ignore_index=True)
    for entry in entries:
        found |= set(rows["cell"].to_numpy()[matches(entry.targets, entry.keys, rows)[1]])
    return found
