"""SLDBench: seven tasks with a split and a metric of their own, beside the scores that agents and people reached.

Lin et al., arXiv 2507.21184. Within a task every group of rows is fitted apart; R2 is over the test rows of all groups
together, clipped to [-1, 1]. No law has a term for any task. Two metrics are negative and are shifted; proportions may
be zero, which a power law cannot read, and are shifted by the least positive one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from fitting import FittingError, Law, Metric, Recipe, Table, compare, find_law

from .definition import read_columns

FOLDER = "sldbench"
_URL = "https://github.com/PlanarG/active-sl"
# The least positive proportion of the mixtures.
_SHIFT = 1 / 32


@dataclass(frozen=True, kw_only=True)
class Task:
    """One table. targets: columns that are predicted, each by a fit of its own; R2 is the mean over them. own: where
    each target has an input of its own among the hyperparameters (a domain's loss and its share of the data), those,
    in the order of the targets. shift: what is added to every column so that it is positive."""

    name: str
    targets: Sequence[str]
    inputs: Mapping[str, str]
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    metric: Metric = field(default_factory=Metric)
    own: Sequence[str] = ()
    shift: float = 0.0


TASKS = (
    Task(
        name="data_constrained",
        targets=("loss",),
        inputs={"N": "params", "tokens": "tokens", "unique_tokens": "unique_tokens"},
    ),
    Task(
        name="domain_mixture",
        targets=tuple(f"loss_domain_{k}" for k in range(1, 6)),
        inputs={},
        hyperparameters={f"share_{k}": f"proportion_domain_{k}" for k in range(1, 6)},
        own=tuple(f"share_{k}" for k in range(1, 6)),
        shift=_SHIFT,
    ),
    Task(
        name="easy_question",
        targets=("brier_score",),
        inputs={"C": "flops"},
        metric=Metric(name="Brier score", direction="higher", best=0.0, ceiling=1.0),
    ),
    Task(
        name="lr_bsz",
        targets=("lm_loss",),
        inputs={"N": "non_embedding_param_size", "D": "data_size"},
        hyperparameters={"lr": "lr", "batch": "bsz"},
    ),
    Task(name="parallel", targets=("loss",), inputs={"N": "num_params", "streams": "parallel_size"}),
    Task(name="sft", targets=("sft_loss",), inputs={"examples": "sft_data_size"}),
    Task(
        name="vocab",
        targets=("unigram_normalized_loss",),
        inputs={"N": "non_vocab_parameters", "D": "num_characters"},
        hyperparameters={"vocabulary": "vocab_size"},
        metric=Metric(name="loss below unigram + 6", floor=-6.0),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One law on one task. reason: why it has no score, "" if it has one."""

    task: str
    law: str
    r2: float
    seconds: float
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Published:
    """Scores on record for one task. human: of the law that the authors of the data published. agents: the best mean of
    an agent over its attempts. single: the best attempt of any."""

    human: float
    agents: float
    single: float


# Of the laws that the data's authors published, as SLDBench reports them (arXiv 2507.21184, table 1).
_HUMAN = {
    "data_constrained": 0.911,
    "domain_mixture": 0.671,
    "easy_question": -1.0,
    "lr_bsz": -0.076,
    "parallel": 0.99989,
    "sft": 0.957,
    "vocab": 0.966,
}


def published(data: str | Path) -> dict[str, Published]:
    """By task. Raises FittingError if the table of scores is missing."""
    columns = read_columns(_path(data, "published_results"))
    attempts: dict[str, dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for task, agent, model, score in zip(
        columns["task"], columns["agent_name"], columns["model_name"], columns["reward_r2"], strict=True
    ):
        attempts[str(task).removesuffix("_scaling_law")][str(agent), str(model)].append(float(score))
    return {
        task: Published(
            human=_HUMAN[task],
            agents=max(float(np.mean(scores)) for scores in by_agent.values()),
            single=max(max(scores) for scores in by_agent.values()),
        )
        for task, by_agent in attempts.items()
        if task in _HUMAN
    }


def run_sldbench(
    data: str | Path,
    *,
    laws: Sequence[str | Law] = ("unsl",),
    tasks: Sequence[str] = (),
    recipe: Recipe | None = None,
    seed: int = 0,
    progress: Callable[[Result], None] | None = None,
) -> tuple[Result, ...]:
    """Every law on every task (or on those named), from `data`/sldbench. Raises FittingError for an unknown name or a
    missing table; a law that does not suit a task has a reason there."""
    known = [task.name for task in TASKS]
    unknown = [name for name in tasks if name not in known]
    if unknown:
        raise FittingError(f"SLDBench has no task {', '.join(unknown)}; the tasks are: {', '.join(known)}")
    found = [find_law(law) for law in laws]
    results: list[Result] = []
    for task in TASKS:
        if not tasks or task.name in tasks:
            for result in _results(task, read_columns(_path(data, task.name)), found, recipe, seed):
                results.append(result)
                if progress is not None:
                    progress(result)
    return tuple(results)


def _results(
    task: Task, columns: Mapping[str, np.ndarray], laws: Sequence[Law], recipe: Recipe | None, seed: int
) -> list[Result]:
    test = columns["split"] == "test"
    predicted = {law.name: np.full((len(task.targets), test.size), np.nan) for law in laws}
    seconds, reasons = dict.fromkeys(predicted, 0.0), dict.fromkeys(predicted, "")
    for k, target in enumerate(task.targets):
        loss = task.metric.to_loss(columns[target])
        for group in dict.fromkeys(columns["group"]):
            mine = columns["group"] == group
            tables = [_table(task, columns, loss, mine & part, task.own[k : k + 1]) for part in (~test, test)]
            for row in compare(laws, *tables, seed=seed, recipe=recipe):
                seconds[row.law] += row.seconds
                if row.fit is None or row.rmsle_held_out is None:
                    reasons[row.law] = reasons[row.law] or f"{group}: {row.reason}"
                else:
                    predicted[row.law][k, mine & test] = row.fit.predict(tables[1].columns)
    measured = np.stack([columns[target][test] for target in task.targets])
    scatter = ((measured - measured.mean(1, keepdims=True)) ** 2).sum(1)
    results = []
    for law, values in predicted.items():
        missed = ((task.metric.from_loss(values[:, test]) - measured) ** 2).sum(1)
        r2 = float(np.clip((1 - missed / scatter).mean(), -1, 1))
        results.append(Result(task=task.name, law=law, r2=r2, seconds=seconds[law], reason=reasons[law]))
    return results


def _table(
    task: Task, columns: Mapping[str, np.ndarray], loss: np.ndarray, rows: np.ndarray, scaling: Sequence[str]
) -> Table:
    """The rows of one table; `scaling` are hyperparameters that are inputs for this target."""

    def some(names: Mapping[str, str]) -> dict[str, np.ndarray]:
        return {name: columns[column][rows] + task.shift for name, column in names.items()}

    inputs = {**task.inputs, **{name: task.hyperparameters[name] for name in scaling}}
    return Table(
        inputs=some(inputs),
        hyperparameters=some({k: v for k, v in task.hyperparameters.items() if k not in inputs}),
        y=loss[rows],
        ceiling=task.metric.ceiling,
    )


def _path(data: str | Path, name: str) -> Path:
    path = Path(data) / FOLDER / f"{name}.csv"
    if not path.is_file():
        raise FittingError(f"SLDBench's table {path} is missing; it is published at {_URL} (arXiv 2507.21184)")
    return path


def text_report(results: Sequence[Result], scores: Mapping[str, Published]) -> str:
    """R2 on the test rows, a task a line, for people."""
    laws = list(dict.fromkeys(result.law for result in results))
    tasks = list(dict.fromkeys(result.task for result in results))
    by_name = {(result.task, result.law): result for result in results}
    rows = [["R2 on the test rows", *laws, "authors' law", "best agent", "best attempt"]]
    columns = []
    for task in tasks:
        known = scores[task]
        columns.append([*(by_name[task, law].r2 for law in laws), known.human, known.agents, known.single])
        rows.append([task, *(f"{value:.4f}" for value in columns[-1])])
    rows.append(["mean", *(f"{value:.4f}" for value in np.mean(columns, axis=0))])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"  {result.task}, {result.law}: {result.reason}" for result in results if result.reason]
    return "\n".join(lines)


def as_json(results: Sequence[Result], scores: Mapping[str, Published]) -> str:
    return json.dumps(
        {
            "results": [asdict(result) for result in results],
            "published": {task: asdict(score) for task, score in scores.items()},
        },
        indent=1,
    )
