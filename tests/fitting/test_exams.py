"""Exams: definitions, reading, running, summaries and the command, on tables that the tests write themselves."""

import json
import math
import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from public_tables import write_addition

from fitting import FittingError, Metric, Rmsle
from fitting.exams import (
    EXAMS,
    Exam,
    ExamResult,
    Score,
    Source,
    as_json,
    choose,
    load,
    page_parts,
    ratio,
    ratio_to_best_other,
    run_exams,
    text_report,
    win_rates,
)
from fitting.exams.__main__ import main
from fitting.exams.definition import DOMAINS, HALVES
from fitting.exams.known_answers import chinchilla, known_answers, summed_huber
from fitting.expression import parse_expression

SOURCE = Source(folder="small", title="A small table", url="https://example.org/small")
EXAM = Exam(
    name="small",
    domain="language",
    source=SOURCE,
    file="runs.csv",
    column="Val Loss",
    inputs={"N": "Model Parameters"},
    levels={"D": ("corpus", {"tiny": 1e7, "large": 1e9, "huge": 1e10})},
    rows="kind == 'real'",
    held_out="N >= 1e9",
)


def write(folder, lines, header="Model Parameters,corpus,kind,Val Loss"):
    (folder / "small").mkdir(exist_ok=True)
    (folder / "small" / "runs.csv").write_text("\n".join([header, *lines]) + "\n")
    return folder


def rows():
    out = []
    for n in np.geomspace(1e6, 1e9, 7):
        for corpus, d in (("tiny", 1e7), ("large", 1e9), ("huge", 1e10)):
            out.append(f"{n!r},{corpus},real,{1.7 + 400 * n**-0.34 + 410 * d**-0.28!r}")
    return [line.replace("np.float64(", "").replace(")", "") for line in out]


@pytest.fixture
def data(tmp_path):
    return write(tmp_path, rows())


def test_definitions_are_sound():
    assert len({exam.name for exam in EXAMS}) == len(EXAMS)
    for exam in EXAMS:
        parse_expression(exam.held_out)
        if exam.rows:
            parse_expression(exam.rows)
        assert exam.source.url.startswith("https://") and exam.source.folder and exam.file.endswith(".csv")


def test_the_set_is_as_wide_as_the_literature():
    several = [exam for exam in EXAMS if not exam.one_input]
    for domain, least in (("language", 35), ("vision", 30), ("reinforcement", 30), ("other", 7)):
        assert sum(exam.domain == domain for exam in several) >= least
    assert len(EXAMS) - len(several) >= 150


def test_no_source_is_in_both_halves_and_both_have_every_domain():
    """Shots of one checkpoint, or runs of one grid, on both sides would let one half tell of the other."""
    by_source = {}
    for exam in EXAMS:
        by_source.setdefault(exam.source.folder, set()).add(exam.half)
    assert len(by_source) > 25 and all(len(halves) == 1 for halves in by_source.values())
    for half in HALVES:
        assert {e.domain for e in EXAMS if e.half == half and not e.one_input} == set(DOMAINS)


def test_choose_by_name_half_and_kind():
    assert {e.half for e in choose(half="report")} == {"report"}
    assert all("datablations" in e.name for e in choose(["datablations"]))
    with pytest.raises(FittingError, match="no exam is called"):
        choose(["datablation-s"])


def test_a_table_is_read_as_defined(data):
    sheet = load(EXAM, data)
    assert set(sheet.fitted.inputs) == {"N", "D"}
    assert len(sheet.fitted) == 18 and len(sheet.held_out) == 3
    assert sheet.held_out.inputs["N"].min() >= 1e9 > sheet.fitted.inputs["N"].max()
    assert sorted(set(sheet.fitted.inputs["D"])) == [1e7, 1e9, 1e10]


def test_four_rows_are_the_fewest_to_fit(tmp_path):
    sizes = [f"{n:g},tiny,real,{n**-0.1!r}" for n in (1e6, 2e6, 4e6, 8e6, 1e9)]
    assert len(load(EXAM, write(tmp_path, sizes)).fitted) == 4
    with pytest.raises(FittingError, match="leaves 3 rows to fit and 1 to predict"):
        load(EXAM, write(tmp_path, sizes[1:]))


@pytest.mark.parametrize("words, classes", [("birds", 200), ("cifar100", 100), ("caltech101", 101), ("imagenet", 1000)])
def test_the_error_of_guessing_is_a_classifiers_ceiling(words, classes):
    exams = [exam for exam in EXAMS if re.search(rf"\b{words}-\d+shot-", exam.name)]
    assert len(exams) == 3 + 3 * 6
    assert all(exam.metric.ceiling == pytest.approx(1 - 1 / classes, abs=1e-12) for exam in exams)


def test_what_is_left_out_is_counted(tmp_path):
    extra = [rows()[0], "2e6,tiny,real,", "3e6,tiny,real,-1", "4e6,unheard of,real,2", "5e6,tiny,imagined,2"]
    sheet = load(EXAM, write(tmp_path, rows() + extra))
    assert dict(sheet.excluded) == {"empty or not finite": 2, "not positive": 1, "listed twice": 1}
    assert len(sheet.fitted) == 18


def test_a_metric_of_which_more_is_better_is_mapped(data):
    exam = replace(EXAM, metric=Metric(name="error", direction="higher", best=50.0))
    assert load(exam, data).fitted.y == pytest.approx(50.0 - load(EXAM, data).fitted.y)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"file": "other.csv"}, "is missing; the table is published at https://example.org/small"),
        ({"column": "loss"}, "has no column 'loss'"),
        ({"inputs": {"N": "params"}}, "has no column 'params'"),
        ({"levels": {"D": ("pool", {})}}, "has no column 'pool'"),
        ({"held_out": "N > 1e12"}, "0 to predict"),
        ({"held_out": "size > 1"}, "unknown column 'size'"),
    ],
)
def test_a_table_that_does_not_fit_the_exam_gives_one_clear_error(data, change, words):
    with pytest.raises(FittingError, match=words):
        load(replace(EXAM, **change), data)


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    with pytest.raises(FittingError, match="line 23"):
        load(EXAM, write(tmp_path, [*rows(), "1e6,tiny"]))


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(FittingError, match="there is no folder"):
        run_exams(tmp_path / "nowhere", exams=[EXAM])


@dataclass(frozen=True, kw_only=True)
class Broken:
    name: str = "broken"

    def forms(self, frame):
        raise ZeroDivisionError("oh dear")


def test_exams_survive_a_failing_law_and_a_failing_exam(data):
    seen = []
    results = run_exams(
        data,
        exams=[replace(EXAM, name="absent", file="absent.csv"), EXAM],
        laws=[Broken(), "cf", "dc"],
        processes=1,
        progress=lambda done, total, share, exam, score: seen.append((done, total, share, exam, score.law)),
    )
    absent, held = results
    assert "absent.csv is missing" in absent.reason and absent.scores == ()
    assert [s.law for s in held.scores] == ["broken", "cf", "dc"]
    assert held.scores[0].reason == "ZeroDivisionError: oh dear"
    assert held.score("cf").rmsle_held_out.value < 1e-2
    assert "unique_tokens" in held.scores[2].reason
    assert len(seen) == 3 and seen[-1][:3] == (3, 3, 1.0)
    report = text_report(results, law="cf")
    assert "NOT HELD" in report and "oh dear" in report


def test_results_do_not_depend_on_the_number_of_processes(data):
    exams = [EXAM, replace(EXAM, name="again", held_out="D > 5e9")]
    one, two = (run_exams(data, exams=exams, laws=["cf", "m2"], processes=n) for n in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert [(s.law, s.rmsle_held_out, s.structure) for s in a.scores] == [
            (s.law, s.rmsle_held_out, s.structure) for s in b.scores
        ]


def result(name, domain="language", **errors):
    scores = tuple(
        Score(
            law=law,
            status="converged",
            structure="",
            reason="" if value else "does not suit",
            rmsle_fit=Rmsle(value=0.0, error=0.0, points=4) if value else None,
            rmsle_held_out=Rmsle(value=value, error=0.0, points=4) if value else None,
            coverage=0.5,
            coverage_50=0.25,
            seconds=1.0,
        )
        for law, value in errors.items()
    )
    exam = replace(EXAM, name=name, domain=domain)
    return ExamResult(exam=exam, rows_fit=9, rows_held_out=4, excluded={}, scores=scores)


RESULTS = (
    result("a", unsl=0.01, a3=0.02, cf=0.04),
    result("b", unsl=0.04, a3=0.02, cf=None),
    result("c", domain="vision", unsl=0.01, a3=0.03, cf=0.01001),
    result("d", domain="vision", unsl=0.01, a3=None, cf=None),
)


def test_ratios_are_paired():
    a3 = ratio(RESULTS, "unsl", "a3")
    logs = np.log([0.5, 2.0, 1 / 3])
    assert a3.value == pytest.approx(math.exp(logs.mean()))
    assert a3.error == pytest.approx(a3.value * logs.std(ddof=1) / math.sqrt(3))
    assert (a3.wins, a3.exams) == (2, 3)
    assert ratio(RESULTS, "unsl", "cf").exams == 2
    assert ratio(RESULTS, "unsl", "nobody").exams == 0


def test_the_best_other_law_is_chosen_on_each_exam():
    best = ratio_to_best_other(RESULTS, "unsl")
    assert best.value == pytest.approx(math.exp(np.log([0.5, 2.0, 0.01 / 0.01001]).mean()))


def test_a_win_needs_a_rival():
    vision, language = win_rates(RESULTS, "unsl")
    assert (vision.domain, vision.wins, vision.exams, vision.paper) == ("vision", 1, 1, 0.6087)
    assert (language.wins, language.exams, language.value) == (1, 2, 0.5)
    assert (language.rival, language.rival_wins) == ("a3", 1)
    assert (vision.rival, vision.rival_wins) == ("", 0)


def test_report_names_numbers_and_json_is_plain():
    report = text_report(RESULTS)
    assert "88.89%" in report and "60.87%" in report and "0.0100±0.0000*" in report
    values = json.loads(json.dumps(as_json(RESULTS), allow_nan=False))
    assert values["exams"][1]["laws"][2] == values["exams"][1]["laws"][2] | {"law": "cf", "rmsle_held_out": None}
    assert values["summaries"][0]["ratios"][0]["rival"] == "a3"


def test_a_page_has_its_parts_and_a_figure_an_exam(data):
    curve = replace(
        EXAM, name="a curve", inputs={"D": "Model Parameters"}, levels={}, rows="corpus == 'huge'", held_out="D > 5e8"
    )
    results = run_exams(data, exams=[EXAM, curve], laws=["cf", "m2"], processes=1)
    parts = page_parts(results, (), data, law="cf")
    assert [part.title for part in parts if part.figures] == [
        "Every exam: several inputs, development half",
        "Every exam: one input, development half",
    ]
    for part in parts:
        for figure in part.figures:
            axes = Figure().add_subplot()
            figure.draw(axes)
            assert len(axes.lines) >= 3 and axes.get_legend().texts
            scores = next(result.scores for result in results if result.exam == figure.exam)
            named = {line.get_label().split()[0] for line in axes.lines}
            assert {score.law for score in scores if score.predicted} <= named
    assert any(cell.endswith("*") for part in parts for table in part.tables for row in table.rows for cell in row)


@pytest.fixture
def public(tmp_path):
    """A folder in which one exam of the catalogue finds its table."""
    write_addition(tmp_path)
    return tmp_path


def test_command(public, tmp_path, capsys):
    out = tmp_path / "out.json"
    options = ["--data", str(public), "--laws", "m1,m2", "--law", "m1", "--processes", "1"]
    assert main([*options, "--only", "curve-addition", "--json", str(out)]) == 0
    printed = capsys.readouterr()
    assert "curve-addition" in printed.out and "best other law" in printed.out
    assert "[2/2]" in printed.err
    assert [law["law"] for law in json.loads(out.read_text())["exams"][0]["laws"]] == ["m1", "m2"]


def test_command_says_what_is_missing(public, capsys):
    options = ["--data", str(public), "--laws", "m1", "--processes", "1"]
    assert main([*options, "--only", "chinchilla"]) == 1
    assert "published at https://github.com/epoch-research" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options, words",
    [
        ([], "--data"),
        (["--data", "nowhere"], "there is no folder nowhere"),
        (["--data", ".", "--only", "nothing"], "no exam is called nothing"),
        (["--data", ".", "--laws", "nothing"], "unknown law 'nothing'"),
    ],
)
def test_command_refuses_bad_use(options, words, capsys):
    assert main(options) == 2
    assert words in capsys.readouterr().err


def test_command_lists_exams(capsys):
    assert main(["--list"]) == 0
    assert "datablations-all-by-size" in capsys.readouterr().out


def test_known_answers_without_tables_say_so(tmp_path, capsys):
    assert main(["--data", str(tmp_path), "--known-answers"]) == 1
    assert "not checked" in capsys.readouterr().out
    answers = known_answers(tmp_path)
    assert len(answers) == 3 and all("is missing" in a.note and not a.agrees for a in answers)


def test_the_published_constants_are_found_again_in_points_that_were_made_of_them(tmp_path):
    """The five largest losses are of runs that went wrong, and are left out."""
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(5e7, 1e10, 7), np.geomspace(1e9, 1e12, 7)))
    loss = 1.8172 + 477.84 * n**-0.3473 + 2143.86 * d**-0.3672
    points = [*zip(n, d, loss, strict=True), *((1e9, 1e10, 9.0 + k) for k in range(5))]
    (tmp_path / (folder := next(e for e in EXAMS if e.name == "chinchilla").source.folder)).mkdir()
    lines = [f"{n:.9g},{d:.9g},{loss:.12g},{6 * n * d:.9g}" for n, d, loss in points]
    (tmp_path / folder / "chinchilla.csv").write_text("\n".join(["N,D,loss,C", *lines]))
    *constants, huber = chinchilla(tmp_path, seeds=1)
    assert len(constants) == 5 and all(answer.agrees for answer in constants)
    assert not huber.agrees, "real points have noise"


def test_summed_huber_is_quadratic_then_linear():
    assert summed_huber(np.array([5e-4])) == pytest.approx(1.25e-7)
    assert summed_huber(np.array([1e-3, -1.0])) == pytest.approx(5e-7 + 1e-3 * (1 - 5e-4))
