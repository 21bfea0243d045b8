"""Where every trainer passes when it is run: its points and ends, held to what the contract says of them.

A metric that is not finite ends its cell as diverged: that point is no data, and neither is what follows. Everything
else that breaks the contract (a point after an end, a step that goes back, a metric that is no number, a run that ends
without a word) is a mistake of the trainer, and the error says which.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator, Sequence
from typing import Any

from trainers.contract import Checkpoint, Context, End, Ending, Point, Trainer, TrainerError


def run_trainer(trainer: Trainer, configs: Sequence[Any], context: Context) -> Iterator[Point | End]:
    """`trainer.train(configs, context)`, checked. Raises TrainerError where the trainer breaks its contract."""
    observed = _Observed(context)
    ended: set[int] = set()
    diverged: set[int] = set()
    measured: dict[int, tuple[int, set[int]]] = {}  # by cell: the last step, and the inference steps there

    def broken(says: str) -> TrainerError:
        return TrainerError(f"trainer '{trainer.name}' breaks its contract: {says}")

    events = trainer.train(configs, observed)
    try:
        for event in events:
            if (says := _broken_event(event, len(configs))) is not None:
                raise broken(says)
            cell, step = event.cell, event.step
            if cell in diverged:
                continue
            if cell in ended:
                raise broken(f"cell {cell} goes on at step {step} after its End")
            if isinstance(event, End):
                ended.add(cell)
                yield event
                continue
            last, inference_steps = measured.get(cell, (observed.begun.get(cell, -1), None))
            if (says := _broken_point(event, last, inference_steps)) is not None:
                raise broken(says)
            if all(math.isfinite(value) for value in event.metrics.values()):
                known = inference_steps if inference_steps and step == last else set()
                measured[cell] = step, known | {event.inference_steps}
                yield event
                continue
            diverged.add(cell)
            yield End(cell=cell, step=step, ending=Ending.DIVERGED)
            if len(diverged | ended) == len(configs):
                return  # Nobody is left whom further training could matter to.
    finally:
        getattr(events, "close", lambda: None)()
    silent = sorted(set(range(len(configs))) - ended - diverged)
    if silent and not observed.told_to_stop:
        raise broken(
            f"train() returned without an End for cell {silent[0]} although it was not asked to stop: "
            "yield trainers.End(cell=..., step=...) when a cell has had its last step"
        )


def _broken_event(event: Any, cells: int) -> str | None:
    if not isinstance(event, Point | End):
        return f"train() yielded a {type(event).__name__}; it yields trainers.Point and trainers.End"
    if not _is_count(event.cell) or event.cell >= cells:
        return f"an event is of cell {event.cell!r}; cells are the indices of the {cells} configurations, from 0 on"
    if not _is_count(event.step):
        return f"cell {event.cell} speaks of step {event.step!r}; steps are whole numbers"
    return None


def _broken_point(point: Point, last: int, inference_steps: set[int] | None) -> str | None:
    """`inference_steps` are those measured at step `last`; None where it has no points yet since it began at `last`."""
    where = f"cell {point.cell} at step {point.step}"
    if not point.metrics:
        return f"{where} has no metrics; a point has at least one"
    for name, value in point.metrics.items():
        if not isinstance(name, str) or not isinstance(value, numbers.Real):
            return f"{where} has the metric {name!r} = {value!r}; a metric is a number under a name"
    for name in ("examples", "flops", "seconds"):
        value = getattr(point, name)
        if not isinstance(value, numbers.Real) or not math.isfinite(value) or value < 0:
            return f"{where} has {name} = {value!r}; it is a finite number, at least 0"
    if inference_steps is None and point.step <= last:
        return f"{where} was measured again after it was resumed at step {last}"
    if point.step < last:
        return f"{where} follows step {last}; steps rise"
    if point.step == last and point.inference_steps in inference_steps:
        return f"{where} was measured twice with {point.inference_steps} inference steps"
    return None


def _is_count(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= 0


class _Observed:
    """A context that remembers at which steps cells began, and whether the trainer was told to stop."""

    def __init__(self, context: Context):
        self._context, self.device, self.ranks = context, context.device, getattr(context, "ranks", None)
        self.begun: dict[int, int] = {}
        self.told_to_stop = False

    def load(self, cell: int) -> Checkpoint | None:
        checkpoint = self._context.load(cell)
        if checkpoint is not None:
            self.begun[cell] = checkpoint.step
        return checkpoint

    def checkpoint_due(self) -> bool:
        return self._context.checkpoint_due()

    def save(self, cell: int, checkpoint: Checkpoint) -> None:
        self._context.save(cell, checkpoint)

    def should_stop(self) -> bool:
        stop = self._context.should_stop()
        self.told_to_stop = self.told_to_stop or stop
        return stop
