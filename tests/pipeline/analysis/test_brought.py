"""`unsl fit` on a table of one's own: any column names, clear refusals, the same result from CSV and Parquet."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas
import pytest
from public_tables import write_addition

from pipeline import cli

COMMON = ("--metric", "loss", "--inputs", "N,D", "--laws", "cf,m2", "--held-out", "N >= 1e9")


@pytest.fixture
def runs(tmp_path):
    """Forty runs of an exact law, with a text column, an integer overflow in N * D, and one bad row."""
    random = np.random.default_rng(0)
    n = np.repeat([10**7, 3 * 10**7, 10**8, 3 * 10**8, 10**9], 8)
    d = np.tile(np.geomspace(1e8, 1e11, 8).astype(int), 5)
    loss = (1.7 + 400 / n**0.34 + 410 / d**0.28) * np.exp(random.normal(0, 1e-3, n.size))
    table = pandas.DataFrame({"N": n, "D": d, "loss": loss, "accuracy": 1 - loss / 10, "family": "a"})
    table.loc[len(table)] = [10**7, 10**8, math.nan, 0.5, "b"]
    table.to_csv(tmp_path / "runs.csv", index=False)
    table.to_parquet(tmp_path / "runs.parquet")
    return tmp_path


def fit(path, *arguments: str) -> int:
    return cli.main(["fit", str(path), *arguments])


def fitted(path, *arguments: str) -> dict:
    out = path.parent / "out.json"
    assert fit(path, *arguments, "--json", str(out)) == 0
    return json.loads(out.read_text())


@pytest.mark.parametrize("name", ["runs.csv", "runs.parquet"])
def test_a_table_of_ones_own(runs, name, capsys):
    result = fitted(runs / name, *COMMON)
    assert (result["rows_fit"], result["rows_held_out"]) == (32, 8)
    assert result["excluded"] == {"metric at its bound or missing": 1}
    cf, m2 = result["laws"]
    assert {"law", "status", "rmsle_fit", "rmsle_held_out", "rmsle_held_out_error", "seconds", "structure"} <= set(cf)
    assert cf["rmsle_held_out"] < 0.01 < m2["rmsle_held_out"]
    assert cf["parameters"]
    assert "32 points fitted, 8 held out (N >= 1e9)" in capsys.readouterr().out


def test_higher_may_be_better(runs):
    lower = fitted(runs / "runs.csv", *COMMON)
    higher = fitted(
        runs / "runs.csv",
        *COMMON,
        "--metric",
        "accuracy",
        "--direction",
        "higher",
        "--best",
        "1",
        "--exclude",
        "family == 'b'",
    )
    assert higher["excluded"] == {"family == 'b'": 1}
    assert higher["laws"][0]["rmsle_held_out"] == pytest.approx(lower["laws"][0]["rmsle_held_out"], rel=0.05)


def test_rates_of_counted_trials_may_be_at_their_bound(tmp_path):
    """An error that falls as a power of the steps, of ten trials a row: many rows have none, and they are data."""
    random = np.random.default_rng(0)
    steps = np.repeat(np.geomspace(10, 1e4, 13), 40)
    errors = random.binomial(10, 0.5 * (steps / 10) ** -0.5)
    table = pandas.DataFrame({"steps": steps, "error": errors / 10, "trials": 10})
    table.to_csv(tmp_path / "rates.csv", index=False)
    asked = ("--metric", "error", "--inputs", "steps", "--laws", "m1")
    counted = fitted(tmp_path / "rates.csv", *asked, "--count", "trials")
    lucky = fitted(tmp_path / "rates.csv", *asked)
    assert counted["rows_fit"] == 520 > lucky["rows_fit"] + 100
    exponent = counted["laws"][0]["parameters"]["c"]
    assert abs(exponent - 0.5) < 0.05 < abs(lucky["laws"][0]["parameters"]["c"] - 0.5)


def test_a_metric_that_may_be_negative_has_a_floor(runs):
    table = pandas.read_csv(runs / "runs.csv").assign(shifted=lambda rows: rows.loss - 6)
    table.to_csv(runs / "shifted.csv", index=False)
    plain = fitted(runs / "runs.csv", *COMMON)["laws"][0]
    shifted = fitted(runs / "shifted.csv", *COMMON, "--metric", "shifted", "--floor", "-6")["laws"][0]
    assert shifted["rmsle_held_out"] == pytest.approx(plain["rmsle_held_out"], rel=1e-6)


def test_everything_can_be_fitted_with_nothing_held_out(runs):
    result = fitted(runs / "runs.csv", "--metric", "loss", "--inputs", "N,D", "--laws", "cf")
    assert (result["rows_fit"], result["rows_held_out"]) == (40, 0)
    assert result["laws"][0]["rmsle_held_out"] is None


@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_a_plain_fit_finds_the_published_constants(tmp_path, seed):
    """Points of the law with its re-fitted constants, without noise: the least summed Huber loss is the truth."""
    n = np.repeat(np.geomspace(1e7, 1e10, 12), 12)
    d = np.tile(np.geomspace(1e9, 1e12, 12), 12)
    table = pandas.DataFrame({"N": n, "D": d, "loss": 1.817 + 482 / n**0.348 + 2085 / d**0.366})
    table.to_csv(tmp_path / "runs.csv", index=False)
    arguments = ("--metric", "loss", "--inputs", "N,D", "--laws", "cf", "--loss", "huber", "--plain", "--seed", seed)
    (law,) = fitted(tmp_path / "runs.csv", *arguments)["laws"]
    assert [round(value, 3) for value in sorted(law["parameters"].values())[:3]] == [0.348, 0.366, 1.817]


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("nosuch.csv", COMMON, "there is no file"),
        ("runs.csv", (), "needs --metric COLUMN and --inputs"),
        ("runs.csv", ("--metric", "los", "--inputs", "N"), "no column 'los'; did you mean 'loss'"),
        ("runs.csv", ("--metric", "loss", "--inputs", "N,tokens"), "no column 'tokens'"),
        ("runs.csv", ("--metric", "loss", "--inputs", "N,family"), "column 'family' must hold numbers"),
        ("runs.csv", (*COMMON, "--held-out", "M > 1"), "unknown column 'M'"),
        ("runs.csv", (*COMMON, "--held-out", "__import__('os').system('true')"), "not allowed"),
        ("runs.csv", (*COMMON, "--held-out", "N > 0"), "0 points to fit and 40 held out"),
        ("runs.csv", (*COMMON, "--laws", "cff"), "no law 'cff': did you mean 'cf'"),
        ("runs.csv", (*COMMON, "--count", "N"), "counts are for rates, and some values are not between 0 and 1"),
        ("runs.csv", (*COMMON, "--count", "trials"), "no column 'trials'"),
        ("runs.csv", (*COMMON, "--ceiling", "high"), "'high' must be a number above 0, auto"),
        ("broken.parquet", COMMON, "cannot be read"),
    ],
)
def test_bad_use_is_one_line_and_exit_code_2(runs, name, arguments, message, capsys):
    (runs / "broken.parquet").write_bytes(b"PAR1 not really")
    assert fit(runs / name, *arguments) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert len(printed.err.strip().splitlines()) == 1


def test_exams_are_a_verb(tmp_path, capsys):
    assert cli.main(["exam", "--list"]) == 0
    assert "held out:" in capsys.readouterr().out
    assert cli.main(["exam"]) == 2
    assert "--data" in capsys.readouterr().err
    assert cli.main(["exam", "--data", str(tmp_path / "nosuch")]) == 2


def test_exams_become_a_page(tmp_path, capsys):
    write_addition(tmp_path / "data")
    page = tmp_path / "exams.html"
    asked = ["exam", "--data", str(tmp_path / "data"), "--only", "curve-addition", "--laws", "m1,m2", "--law", "m1"]
    assert cli.main([*asked, "--processes", "1", "--html", str(page)]) == 0
    assert f"page: {page}" in capsys.readouterr().err
    assert "curve-addition" in page.read_text() and page.read_text().count("<svg") == 1
