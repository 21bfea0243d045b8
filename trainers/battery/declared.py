"""What a trainer says before it trains: its parts, its configuration, its counts, its plan."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import math
import numbers
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from trainers.battery.trial import Trial
from trainers.contract import Counts, TrainerError, field_types
from trainers.registry import location_of, missing_parts

FRAMEWORKS = ("torch", "jax", "tensorflow", "transformers", "ray", "wandb", "pandas", "matplotlib")
"""What counting must not import: each takes longer than a plan of thousands of cells."""
SECONDS_TO_COUNT = 120
"""Longer than any import takes."""


def it_has_every_part(trial: Trial) -> Iterator[str]:
    """A trainer has a name, a version, a Config and the four functions of the contract."""
    yield from missing_parts(trial.trainer)


def its_config_is_plain_and_frozen(trial: Trial) -> Iterator[str]:
    """`Config` is a frozen dataclass of ints, floats, strings and bools, all with defaults, one of them `seed`."""
    config = trial.trainer.Config
    if not config.__dataclass_params__.frozen:
        yield f"{config.__name__} can be changed after it is made: write @dataclass(frozen=True)"
    if "seed" not in {field.name for field in dataclasses.fields(config)}:
        yield f"{config.__name__} has no `seed`: add `seed: int = 0`, and let it decide every random number"
    for field in dataclasses.fields(config):
        if field.default is dataclasses.MISSING:
            yield f"field {field.name} has no default: give it the value that most runs want"
    try:
        field_types(config)
    except TrainerError as error:
        yield str(error)


def its_fields_are_documented(trial: Trial) -> Iterator[str]:
    """Every field of `Config` is followed by a docstring that says what it is, and in what unit."""
    for owner in trial.trainer.Config.__mro__:
        if not dataclasses.is_dataclass(owner):
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        for statement, following in itertools.pairwise([*body.body, ast.Pass()]):
            documented = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            if isinstance(statement, ast.AnnAssign) and not documented:
                yield f'field {statement.target.id} has no docstring: write """what it is, in its unit""" below it'


def it_counts_what_a_run_costs(trial: Trial) -> Iterator[str]:
    """`count` gives `Counts` of whole numbers: parameters, steps, bytes; and FLOPs above 0."""
    for config in trial.configs:
        counts = trial.trainer.count(config)
        if not isinstance(counts, Counts):
            yield f"count(config) gives a {type(counts).__name__}: return trainers.Counts(...)"
            continue
        for name in ("parameters", "parameters_without_embeddings", "steps", "bytes"):
            value = getattr(counts, name)
            if type(value) is not int or value < 0:
                yield f"count(config).{name} = {value!r}: make it an int, at least 0"
        flops = counts.flops_per_step
        if type(flops) not in (int, float) or not math.isfinite(flops) or flops <= 0:
            yield f"count(config).flops_per_step = {flops!r}: make it a finite float above 0, of one step of training"
        if not 0 < counts.parameters_without_embeddings <= counts.parameters:
            yield (
                f"{counts.parameters_without_embeddings} parameters without embeddings of {counts.parameters} in all: "
                "the first are some of the second, and at least 1"
            )


def it_counts_without_a_framework(trial: Trial) -> Iterator[str]:
    """A plan of thousands of cells answers at once: neither loading nor counting imports a framework."""
    program = (
        "import sys; from trainers import load_trainer, inference_budgets; t = load_trainer(sys.argv[1]); "
        "c = t.Config(); t.count(c); t.evaluation_steps(c); t.cohort_key(c); inference_budgets(t, c); "
        f"print(*sorted({set(FRAMEWORKS)!r} & set(sys.modules)))"
    )
    # From where our own packages are found first, whatever the user's folder holds.
    ours = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program, location_of(trial.trainer)],
        capture_output=True,
        text=True,
        cwd=ours,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=SECONDS_TO_COUNT,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        yield f"in a process of its own it cannot be loaded and counted: {last}"
    elif loaded := done.stdout.split():
        yield f"loading and counting imports {', '.join(loaded)}: import such packages inside train()"


def its_steps_are_known_before(trial: Trial) -> Iterator[str]:
    """`evaluation_steps` are whole numbers that rise to `count(config).steps`, the last of them."""
    for config in trial.configs:
        steps, last = list(trial.trainer.evaluation_steps(config)), trial.trainer.count(config).steps
        if not steps or any(not isinstance(step, numbers.Integral) or step < 0 for step in steps):
            yield f"evaluation_steps(config) = {steps[:5]!r}: make them whole numbers, at least one"
        elif any(later <= earlier for earlier, later in itertools.pairwise(steps)):
            yield f"evaluation_steps(config) = {steps[:8]!r} do not rise: sort them, each once"
        elif steps[-1] != last:
            yield f"the last of evaluation_steps(config) is {steps[-1]} and count(config).steps {last}: make them equal"


def its_cohort_key_can_be_compared(trial: Trial) -> Iterator[str]:
    """`cohort_key` is hashable, and equal for equal configurations and for those that are checked here."""
    keys = []
    for config in trial.configs:
        key, again = (trial.trainer.cohort_key(each) for each in (config, dataclasses.replace(config)))
        try:
            hash(key)
        except TypeError:
            yield f"cohort_key(config) = {key!r} cannot be hashed: return a tuple of numbers and strings"
            return
        if key != again:
            yield "two equal configurations have different keys: let cohort_key depend on the configuration alone"
        keys.append(key)
    if len(set(keys)) > 1:
        yield "the configurations to check with have different cohort keys: give some of one cohort"
