"""What a trainer does when it trains: its points, its seeds, its cohorts, its checkpoints."""

from __future__ import annotations

import dataclasses
import itertools
import math
import numbers
from collections.abc import Iterator

import numpy as np

from trainers.battery.trial import Recorder, SavingRecorder, Trial, first_difference, run_in_memory
from trainers.contract import Ending, inference_budgets


def it_trains(trial: Trial) -> Iterator[str]:
    """The configurations train without an error."""
    points, ends = trial.whole
    if not points and not ends:
        yield "train(configs, context) yields nothing: yield a trainers.Point at every measurement, then an End"


def it_measures_what_was_planned(trial: Trial) -> Iterator[str]:
    """Every cell has points at its evaluation steps, each with its inference budgets, and ends at its last step."""
    trainer, (_, ends) = trial.trainer, trial.whole
    for cell, config in enumerate(trial.configs):
        planned = list(itertools.product(trainer.evaluation_steps(config), inference_budgets(trainer, config)))
        measured = [(point.step, point.inference_steps) for point in trial.points_of(cell)]
        steps = trainer.count(config).steps
        if (end := ends.get(cell)) is None:
            yield f"cell {cell} has no End though nobody asked it to stop: yield End(cell=cell, step=steps) at its end"
        elif end.ending == Ending.DIVERGED:
            yield f"cell {cell} diverged at step {end.step}: check with configurations that train"
            continue
        elif end.step != steps:
            yield f"cell {cell} ends at step {end.step}: its End has its last step, {steps}"
        if missing := [pair for pair in planned if pair not in measured]:
            yield f"cell {cell} has no point at step {missing[0][0]} with {missing[0][1]} inference steps, as planned"
        if extra := [pair for pair in measured if pair not in planned]:
            yield f"cell {cell} has a point at step {extra[0][0]} that evaluation_steps and inference_budgets lack"
        if measured != sorted(measured):
            yield f"cell {cell} has its points out of order: yield them as steps rise"


def its_points_add_up(trial: Trial) -> Iterator[str]:
    """A point's FLOPs are those counted a step, and its examples the batches so far."""
    for cell, config in enumerate(trial.configs):
        per_step, batch = trial.trainer.count(config).flops_per_step, getattr(config, "batch_size", None)
        for point in trial.points_of(cell):
            if not math.isclose(point.flops, point.step * per_step, rel_tol=1e-6):
                yield (
                    f"at step {point.step} flops = {point.flops!r}, and step * count(config).flops_per_step is "
                    f"{point.step * per_step!r}: make them equal"
                )
                break
            if batch is not None and point.examples != point.step * batch:
                yield (
                    f"at step {point.step} examples = {point.examples!r}, and step * batch_size is "
                    f"{point.step * batch!r}: make them equal"
                )
                break


def its_metrics_are_finite(trial: Trial) -> Iterator[str]:
    """Metrics are finite numbers, the same ones at every step, and no fields of the configuration; a diverged cell ends
    with `Ending.DIVERGED` instead."""
    names: dict[int, set[str]] = {}
    fields = {field.name for field in dataclasses.fields(trial.trainer.Config)}
    for (cell, step, inference_steps), point in trial.whole[0].items():
        where = f"cell {cell} at step {step}"
        if not point.metrics:
            yield f"{where} has no metrics: a point has at least one"
            return
        for name, value in point.metrics.items():
            if not isinstance(value, numbers.Real) or isinstance(value, bool):
                yield f"{where} has {name} = {value!r}: make it a float"
                return
            if name in fields:
                yield f"{where} has the metric {name}, which is a field of the configuration too: call it otherwise"
                return
            if not math.isfinite(value):
                yield f"{where} has {name} = {value}: end the cell with End(..., ending=Ending.DIVERGED) and no point"
                return
        if names.setdefault(inference_steps, set(point.metrics)) != set(point.metrics):
            odd = sorted(names[inference_steps] ^ set(point.metrics))
            yield f"{where} has other metrics than before ({', '.join(odd)}): measure the same ones every time"
            return


def one_seed_gives_one_result(trial: Trial) -> Iterator[str]:
    """Two runs of the same configurations give the same points, to the last bit."""
    if found := first_difference(trial.whole[0], run_in_memory(trial.trainer, trial.configs)[0], exact=True):
        yield f"a second run of the same configurations differs: {found}; draw every random number from the seed"


def the_seed_decides(trial: Trial) -> Iterator[str]:
    """Another seed gives other points."""
    config = trial.configs[0]
    other, _ = run_in_memory(trial.trainer, [trial.reseeded(config)])
    if trial.alone(0) == other:
        yield f"seeds {config.seed} and {config.seed + 7} give the same points: draw every random number from the seed"


def a_cohort_equals_its_cells_alone(trial: Trial) -> Iterator[str]:
    """A cell's points do not depend on the cells that it trains with, but for rounding."""
    for cell in range(len(trial.configs)):
        alone = {(cell, *key[1:]): point for key, point in trial.alone(cell).items()}
        together = {key: point for key, point in trial.whole[0].items() if key[0] == cell}
        if found := first_difference(alone, together, exact=False):
            yield f"alone and in its cohort, {found}; keep cells apart in train(), or give them different cohort keys"


def an_interrupted_run_equals_an_uninterrupted_one(trial: Trial) -> Iterator[str]:
    """A run that was asked to stop saves its cells and returns; resumed, it gives the same points to the last bit."""
    whole = trial.whole[0]
    if all(len(trial.trainer.evaluation_steps(config)) < 2 for config in trial.configs):
        yield "every run has one measurement, so that none can be interrupted: check with longer ones"
        return
    for stop_after in (1, max(2, len(whole) // 3)):
        first = Recorder(stop_after_points=stop_after)
        before, ended = run_in_memory(trial.trainer, trial.configs, first)
        if len(ended) == len(trial.configs):
            yield (
                "it went on to its end though it was asked to stop: ask context.should_stop() after every measurement, "
                "save the unfinished cells and return"
            )
            return
        begun = {cell for cell, _, _ in before} - set(ended)
        if lost := sorted(begun - set(first.saved)):
            yield f"asked to stop it saved no checkpoint of cell {lost[0]}: context.save(cell, Checkpoint(...))"
            return
        left = [cell for cell in range(len(trial.configs)) if cell not in ended]
        second = Recorder(saved={place: first.saved[cell] for place, cell in enumerate(left) if cell in first.saved})
        resumed, _ = run_in_memory(trial.trainer, [trial.configs[cell] for cell in left], second)
        after = {
            (left[place], *key): dataclasses.replace(point, cell=left[place])
            for (place, *key), point in resumed.items()
        }
        for cell, step, _ in after:
            if cell in first.saved and step <= first.saved[cell].step:
                yield f"resumed at step {first.saved[cell].step}, it measured step {step} again: go on from there"
                return
        if found := first_difference(whole, before | after, exact=True):
            yield f"interrupted after {stop_after} points and resumed, {found}; save all that the next step depends on"
            return


def its_checkpoints_are_plain_arrays(trial: Trial) -> Iterator[str]:
    """A checkpoint holds numpy arrays of numbers under names, copies that later steps leave alone."""
    context = SavingRecorder()
    run_in_memory(trial.trainer, trial.configs, context)
    for checkpoint, then in context.kept:
        for name, array in checkpoint.arrays.items():
            if not isinstance(array, np.ndarray) or array.dtype == object:
                yield f"a checkpoint's {name!r} is a {type(array).__name__}: save numpy arrays of numbers"
                return
            if not np.array_equal(array, then[name], equal_nan=array.dtype.kind in "fc"):
                yield f"a saved checkpoint's {name!r} changed afterwards: save a copy"
                return
