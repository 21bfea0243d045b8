"""SLDBench's tasks: split, groups, metric and the scores on record, on a small folder of its shape."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

from fitting import FittingError
from fitting.exams import sldbench
from fitting.exams.command import add_options, run_command


@pytest.fixture
def data(tmp_path):
    """Two groups of an additive law without noise, whose larger streams are tested, and five scores."""
    rows = []
    for group, floor in (("stack", 1.0), ("pile", 2.0)):
        for n in np.geomspace(1e8, 1e10, 6):
            for streams in (1, 2, 4, 8):
                loss = floor + 40 * n**-0.3 + 0.1 * streams**-0.5
                split = "test" if streams == 8 else "train"
                rows.append({"num_params": n, "parallel_size": streams, "group": group, "loss": loss, "split": split})
    folder = tmp_path / "sldbench"
    folder.mkdir()
    pandas.DataFrame(rows).to_csv(folder / "parallel.csv", index=False)
    pandas.DataFrame(
        {
            "task": ["parallel_scaling_law"] * 4 + ["moe_scaling_law"],
            "agent_name": ["one", "one", "two", "two", "two"],
            "model_name": ["m"] * 5,
            "reward_r2": [0.5, 0.7, 0.2, 0.9, 1.0],
        }
    ).to_csv(folder / "published_results.csv", index=False)
    return tmp_path


def test_scores_on_record_are_the_best_mean_of_an_agent_and_the_best_attempt(data):
    assert sldbench.published(data) == {"parallel": sldbench.Published(human=0.99989, agents=0.6, single=0.9)}


def test_a_law_that_is_true_is_right_in_every_group_and_one_that_is_not_is_worse(data):
    results = sldbench.run_sldbench(data, laws=("cf", "m2"), tasks=["parallel"])
    assert [r.law for r in results] == ["cf", "m2"] and not any(r.reason for r in results)
    assert results[0].r2 > 0.9999 > results[1].r2
    frame = pandas.read_csv(data / "sldbench" / "parallel.csv")
    # Groups are fitted apart: with one law for both, half of what is measured would be left over.
    assert frame.groupby("group").loss.mean().diff().abs().max() > 0.9


def test_the_command_puts_ours_beside_the_scores_on_record(data, capsys):
    import argparse

    parser = argparse.ArgumentParser()
    add_options(parser)
    options = ["--data", str(data), "--sldbench", "--laws", "cf", "--only", "parallel", "--json", str(data / "x.json")]
    assert run_command(parser.parse_args(options)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[0] == "parallel" and lines[1].split()[2:] == ["0.9999", "0.6000", "0.9000"]
    assert '"law": "cf"' in (data / "x.json").read_text()


def test_a_task_that_is_none_and_a_table_that_is_missing_are_named(data):
    with pytest.raises(FittingError, match="no task nonsense; the tasks are: data_constrained"):
        sldbench.run_sldbench(data, tasks=["nonsense"])
    with pytest.raises(FittingError, match=r"sft\.csv is missing; it is published at https://"):
        sldbench.run_sldbench(data, tasks=["sft"])
