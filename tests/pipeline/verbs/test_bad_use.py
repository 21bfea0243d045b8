"""What can be asked wrongly and what can fail outside: an exit code, and one line that says what to do."""

from __future__ import annotations

import math
import os
import re
import shlex
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas
import pytest
from rehearsal import make_study, run_study, write_study

from pipeline import Axis, Growth, Split, cli
from pipeline.store import Store, Writer

ROOT = Path(__file__).parents[3]
TARGET = "parameters=1e5, dataset_size=1e5, step=512"
GROWTH = {
    "growth": Growth(axes={"parameters": 2}, target=TARGET, budget="1cpu-hours"),
    "split": Split(held_out="round == newest"),
}
STUDIES = {
    "unrun": {},
    "misspelt": {"axes": [Axis("paramters", (1,))]},
    "stranger": {"trainer": "oracel"},
    "lawless": {"laws": ("cff",)},
    "lawfile": {"laws": ("none.py:LAW",)},
    "trainerless": {"trainer": "none.py:MINE"},
    "nan": {"axes": [Axis("learning_rate", (math.nan,))]},
    "negative": {"axes": [Axis("parameters", (-1,))]},
    "texts": {"axes": [Axis("parameters", ("many",))]},
    "torn": {"split": Split(held_out="parameters >")},
    "unknown": {"split": Split(held_out="width > 3")},
    "divided": {"split": Split(held_out="parameters / 0 > 1")},
    "blind": {"inputs": ("parametres",)},
    "empty": {"axes": [Axis("parameters", ())]},
    "growing": GROWTH,
    "bound": GROWTH | {"split": Split(held_out="parameters > 2000")},
    "shrinking": GROWTH | {"growth": Growth(axes={"parameters": 0.5}, target=TARGET, budget="1cpu-hours")},
    "failing": {"fixed": {"steps": 64, "fault": "error"}},
}
FILES = {
    "syntax.py": "STUDY = (\n",
    "nothing.py": "",
    "raising.py": "1 / 0\n",
    "leaving.py": "import sys\nsys.exit('enough')\n",
    "lacking.py": "import nothing_there\n",
    "five.py": "STUDY = 5\n",
    "bytes.py": "\0",
    "part.py": "class Part:\n    name = 'part'\n\n\nPART = Part()\n",
    "empty.csv": "",
    "headed.csv": "N,loss\n",
    "few.csv": "N,loss\n1,2\n2,3\n",
    "torn.csv": 'N,loss\n"1,2\n',
    "torn.parquet": "PAR1 not really",
    "file": "a file",
}
TABLE = "fit runs.csv --metric loss --inputs N,D --laws cf"
SPENT = "allocate runs.csv --metric loss --inputs N,D --law cf"
NEXT = "next runs.csv --metric loss --inputs N,D --target 'N=1e9, D=1e9'"
INLINE = "--executor inline --device cpu --wandb off"
STUDY_VERBS = ("plan", "run", "status", "fit", "report", "rescale", "sync")
BAD = [
    # What cannot be understood.
    ("", "arguments are required: VERB"),
    ("rnu quickstart", "there is no verb 'rnu': did you mean 'run'"),
    ("plan", "arguments are required: STUDY"),
    ("plan rehearsal other", "unrecognized arguments: other"),
    ("plan rehearsal --jsn", "unrecognized arguments: --jsn"),
    ("plan ''", "there is no study ''"),
    *((f"{verb} nosuch", "there is no study 'nosuch'") for verb in STUDY_VERBS),
    ("plan ./nosuch.py", "no such file"),
    ("plan no.such.module", "no such module is installed"),
    ("plan .", "there is no study '.'"),
    ("plan folder", "there is no study 'folder'"),
    ("plan folder/", "there is no study 'folder/': no such file"),
    ("plan ../quickstart", "there is no study '../quickstart'"),
    # Tiers.
    ("plan rehearsal --tier gpu", "no tier 'gpu': it has no tiers"),
    ("plan math-modular --tier tpu", "no tier 'tpu': its tiers are cpu, gpu"),
    ("run language-gpu", "did you mean 'language --tier gpu'"),
    ("plan rehearsal.py:OTHER", "no tier 'OTHER'"),
    # Studies that are not sound.
    ("plan syntax.py", "syntax.py cannot be read: line 1: '\\(' was never closed"),
    ("plan nothing.py", "nothing.py has no STUDY"),
    ("plan raising.py", "raising.py cannot be read: line 1: ZeroDivisionError"),
    ("plan leaving.py", "leaving.py cannot be read: line 2: SystemExit: enough"),
    ("plan lacking.py", "No module named 'nothing_there'"),
    ("plan five.py", "STUDY in five.py must be a pipeline.Study, not int"),
    ("plan bytes.py", "bytes.py cannot be read: .*null bytes"),
    ("plan misspelt", "axis 'paramters'.*did you mean 'parameters'"),
    ("run stranger", "there is no trainer 'oracel': did you mean 'oracle'"),
    ("run trainerless", "there is no file .*none.py"),
    ("plan nan", "learning_rate = nan must be finite"),
    ("plan negative", "parameters = -1 must be at least 1"),
    ("plan texts", "parameters = 'many' must be int"),
    ("plan torn", "held_out: cannot read"),
    ("plan unknown", "held_out: unknown column 'width'"),
    ("plan divided", "held_out: .*divides by zero"),
    ("plan blind", "input 'parametres'.*did you mean 'parameters'"),
    ("plan empty", "has no cells"),
    ("fit rehearsal --laws cff", "no law 'cff': did you mean 'cf'"),
    ("fit rehearsal --laws none.py:LAW", "there is no file none.py"),
    # What is not there yet.
    ("status unrun", "`unsl run unrun` starts it"),
    ("fit unrun", "`unsl run unrun` makes them"),
    ("report unrun", "`unsl run unrun` makes them"),
    # Options.
    ("run unrun --device tpu", "--device: invalid choice: 'tpu'.*cuda"),
    (f"run unrun {INLINE} --device cuda", "no GPU that torch can see; use --device cpu"),
    ("run unrun --workers 0", "'0' must be a whole number, at least 1"),
    ("run unrun --workers two", "'two' must be a whole number"),
    (f"run unrun {INLINE} --workers 2", "--workers is for Ray"),
    ("run unrun --hang-minutes nan", "'nan' must be a number above 0"),
    ("run unrun --hang-minutes -1", "'-1' must be a number above 0"),
    ("run unrun --wait never", "'never' must be a number above 0"),
    ("run unrun --budget 40", "must be a number of hours or dollars, such as 40gpu-hours"),
    ("run unrun --budget nangpu-hours", "must be a number of hours or dollars"),
    ("run unrun --trim", "give --budget too"),
    (f"run unrun {INLINE} --budget 1gpu-hours", "the cells train on cpu: use cpu-hours"),
    (f"run unrun {INLINE} --budget 0.0000000001cpu-hours", "--trim runs the 0 cells that fit"),
    ("run unrun --wandb maybe", "invalid choice: 'maybe'"),
    ("run unrun --retry done", "invalid choice: 'done'"),
    ("fit rehearsal --seed -1", "'-1' must be a whole number, at least 0"),
    ("fit rehearsal --loss mse", "invalid choice: 'mse'"),
    ("fit rehearsal --metric loss", "--metric is for a table of your own"),
    ("plan rehearsal --json /nonexistent/plan.json", "there is no folder /nonexistent"),
    ("fit rehearsal --json folder", "'folder' is no file"),
    ("report rehearsal --out /nonexistent/report.html", "there is no folder /nonexistent"),
    # What to run next.
    ("next rehearsal", "say what is to be foretold, as in --target"),
    ("next nosuch --target 'parameters=3'", "there is no study 'nosuch'"),
    (f"next unrun --target '{TARGET}'", "`unsl run unrun` makes them"),
    (f"next rehearsal --target '{TARGET}'", "has no cell left that would be fitted: extend its grid"),
    ("next rehearsal --target 'parameters=many, dataset_size=1, step=1'", "is not a number"),
    ("next rehearsal --target 'step=3'", "must say parameters, dataset_size too"),
    (f"next rehearsal --target '{TARGET}' -n 0", "'0' must be a whole number, at least 1"),
    (f"next rehearsal --target '{TARGET}' --budget 4", "must be a number of hours or dollars"),
    (f"next rehearsal --target '{TARGET}' --cost 6", "--cost is for a table of your own"),
    ("next runs.csv --metric loss --inputs N,D", "say what a row costs, as in --cost '6 \\* N \\* D'"),
    ("next runs.csv --metric loss --inputs N,D --cost '6*N*D'", "say what is to be foretold"),
    (f"{NEXT} --cost '6*N*D' --law nosuch", "nosuch"),
    (f"{NEXT} --cost '6*N*D' --budget 4gpu-hours", "of a table it is a number in the unit of --cost"),
    (f"{NEXT} --cost '6*N*D' --law cf", "has no row that waits for its loss, and is no grid"),
    ("run unrun --target 'step=3'", "--target is for --order design"),
    ("run unrun --until 'interval <= 5%'", "--until asks for a forecast: give --refit too"),
    ("run unrun --refit 5", "'5' is no period: write 30m, 12h, 7d or 1w"),
    ("run unrun --refit 5m --until 'intervall <= 5%'", "did you mean 'interval'"),
    ("run unrun --refit 5m --until 'interval <='", "cannot read the expression"),
    ("run unrun --refit 5m --target 'step=3'", "must say parameters, dataset_size too"),
    ("run unrun --order shortest", "invalid choice: 'shortest'"),
    (f"run unrun {INLINE} --order design --target 'step=3'", "must say parameters, dataset_size too"),
    # Rehearsals.
    ("rehearse nosuch", "there is no study 'nosuch'"),
    ("rehearse unrun", "say what is to be foretold, as in --target"),
    ("rehearse unrun --target 'step=3'", "must say parameters, dataset_size too"),
    (f"rehearse unrun --target '{TARGET}' -n 1", "'1' must be a whole number, at least 2"),
    (f"rehearse unrun --target '{TARGET}' --noise 0", "'0' must be a number above 0"),
    (f"rehearse unrun --target '{TARGET}' --losses 4", "give the least and the greatest"),
    (f"rehearse unrun --target '{TARGET}' --losses 4,0.5", "give the least and the greatest"),
    (f"rehearse unrun --target '{TARGET}' --law nosuch", "nosuch"),
    (f"rehearse unrun --target '{TARGET}' --processes 0", "'0' must be a whole number"),
    # Rescaling.
    ("rescale rehearsal", "does not say how it grows: add growth=Growth\\("),
    ("rescale bound", "its split must hold out the newest, as in held_out='round == newest'"),
    ("rescale shrinking", "growth, axis 'parameters': factors must be at least 1"),
    ("rescale growing --every 7", "'7' is no period: write 30m, 12h, 7d or 1w"),
    ("rescale growing --budget 40", "must be a number of hours or dollars, such as 40gpu-hours"),
    (f"rescale growing {INLINE} --budget 1gpu-hours", "the cells train on cpu: use cpu-hours"),
    (f"rescale growing {INLINE} --budget 1usd", "nobody said what cpu costs: --price cpu=2.5"),
    (f"rescale growing {INLINE} --budget 0.0000000001cpu-hours", "8 cells of the grid are to be run first"),
    ("rescale growing --target 'width=3'", "there is no column 'width'"),
    ("rescale growing --target 'parameters=3'", "must say dataset_size, step too"),
    # Stores.
    ("plan rehearsal --store file", "--store 'file' is no folder"),
    ("run rehearsal --store file/deeper", "--store 'file/deeper' is no folder"),
    ("run rehearsal --store ''", "--store '' is no folder"),
    ("plan rehearsal --store nosuch://bucket", "nosuch"),
    # Tables.
    ("fit nosuch.csv --metric loss --inputs N", "there is no file nosuch.csv"),
    ("fit folder.csv --metric loss --inputs N", "folder.csv cannot be read: IsADirectoryError"),
    ("fit empty.csv --metric loss --inputs N", "empty.csv cannot be read"),
    ("fit headed.csv --metric loss --inputs N", "0 points to fit"),
    ("fit few.csv --metric loss --inputs N", "2 points to fit"),
    ("fit torn.csv --metric loss --inputs N", "torn.csv"),
    ("fit torn.parquet --metric loss --inputs N", "torn.parquet cannot be read"),
    ("fit runs.csv", "needs --metric COLUMN and --inputs"),
    ("fit runs.csv --metric los --inputs N", "no column 'los'; did you mean 'loss'"),
    ("fit runs.csv --metric loss --inputs N,family", "column 'family' must hold numbers"),
    (f"{TABLE} --tasks kind", "runs.csv has no column 'kind'"),
    (
        "allocate rehearsal --cost 'parameters * step' --budget 1e6 --task vit",
        "no task 'vit': --task takes one of none",
    ),
    (f"{TABLE} --group seeds", "no column 'seeds'; did you mean 'seed'"),
    (f"{TABLE} --held-out 'M > 1'", "unknown column 'M'"),
    (f"{TABLE} --held-out 'N >'", "cannot read the expression"),
    (f"{TABLE} --held-out 'N / 0 > 1'", "divides by zero"),
    (f"{TABLE} --held-out 'N > 0'", "0 points to fit and 40 held out"),
    (f"{TABLE} --exclude 'N'", "not a yes/no|no yes/no|yes/no"),
    (f"{TABLE} --ceiling nan", "'nan' must be a number above 0, auto"),
    (f"{TABLE} --best nan", "'nan' must be a number"),
    (f"{TABLE} --tier gpu", "only studies have tiers"),
    # Forecasts.
    ("forecast", "arguments are required: STUDY"),
    ("forecast unrun", "`unsl run unrun` makes them"),
    ("forecast rehearsal --at parameters=", "parameters is '', which is not a number"),
    ("forecast rehearsal --at parametres=3", "no column 'parametres'; did you mean 'parameters'"),
    ("forecast rehearsal --at parameters=0", "parameters is 0, and laws are defined for positive finite numbers"),
    ("forecast rehearsal --at parameters=nan", "parameters is nan, and laws are defined for positive finite numbers"),
    ("forecast rehearsal --at parameters=5", "must say dataset_size, step too"),
    ("forecast rehearsal --level 2", "--level 2 must be a probability between 0 and 1"),
    ("forecast rehearsal --laws cff", "unknown law 'cff'"),
    ("forecast runs.csv --metric loss --inputs N,D --laws cf", "say what to forecast, as in --at 'N="),
    ("ledger nosuch.csv", "there is no file nosuch.csv"),
    ("check unrun", "no forecast of unrun was written down yet: `unsl forecast unrun --ledger` writes one"),
    ("check runs.csv", "no forecast of runs.csv was written down yet"),
    ("check nosuch.csv", "there is no file nosuch.csv"),
    ("check rehearsal --figure /nonexistent/x.svg", "there is no folder /nonexistent"),
    # Budgets.
    ("allocate rehearsal", "arguments are required: --cost, --budget"),
    ("allocate unrun --cost 6*parameters --budget 1e9", "`unsl run unrun` makes them"),
    (f"{SPENT} --cost 6*M*N --budget 1e18", "the cost names M: fix it at a number, or name one of N, D"),
    (f"{SPENT} --cost N --budget 1e18", "nothing limits D"),
    (f"{SPENT} --cost '6*N*' --budget 1e18", "cannot read the expression"),
    (f"{SPENT} --cost 6*N*D --budget -1", "--budget -1: give positive finite numbers"),
    (f"{SPENT} --cost 6*N*D --budget nan", "--budget nan: give positive finite numbers"),
    (f"{SPENT} --cost 6*N*D --budget much", "--budget much: give numbers, such as 1e21,1e22"),
    (f"{SPENT} --cost 6*N*D --budget 1e9 --fix N=x", "--fix N=x: write NAME=NUMBER"),
    (f"{SPENT} --cost 6*N*D --budget 1e9 --fix M=3", "M is fixed, but neither the law nor the cost knows it"),
    (f"{SPENT} --cost 6*N*D --budget 1e9 --within 'N >'", "cannot read the expression"),
    (f"{SPENT} --cost 6*N*D --budget 1e9 --figure /nonexistent/x.svg", "there is no folder /nonexistent"),
    # Trainers and new studies.
    ("check-trainer oracel", "did you mean 'oracle'"),
    ("check-trainer none.py:MINE", "there is no file .*none.py"),
    ("check-trainer part.py", "write part.py:NAME"),
    ("check-trainer part.py:WHOLE", "part.py has no 'WHOLE'"),
    ("check-trainer part.py:PART", "it lacks `version`"),
    ("check-trainer syntax.py:MINE", "syntax.py:MINE' cannot be loaded: SyntaxError"),
    ("new Width", "'Width' is no name for a study"),
    ("new ../width", "'../width' is no name for a study"),
    ("new rehearsal", "there is a file rehearsal.py already"),
    # The paper's blocks.
    ("reproduce partiy", "the paper has no block 'partiy': did you mean 'parity'"),
    ("reproduce --tier tpu", "--tier: invalid choice: 'tpu'"),
    ("reproduce parity --list --price h100=cheap", "h100=cheap"),
    ("reproduce parity --tier tiny --list --device-type h1000", "there is no device type 'h1000'"),
    ("reproduce parity --tier tiny --laws cff", "unknown law 'cff'; the laws are: unsl"),
    ("reproduce parity --tier tiny --executor inline --budget 1gpu-hours", "the cells train on cpu"),
    ("reproduce parity --tier tiny --data nosuch", "there is no folder nosuch"),
    ("reproduce parity --tier tiny --out file", "--out file is no folder"),
    ("reproduce parity --tier tiny --store file", "--store 'file' is no folder"),
    # Exams.
    ("exam", "name the folder of the tables with --data"),
    ("exam --data nosuch", "nosuch"),
    ("exam --data folder --laws cff", "unknown law 'cff'"),
    ("exam --data folder --processes 0", "'0' must be a whole number"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A person's folder: a study that has run, studies that are not sound, tables good and bad."""
    made = tmp_path_factory.mktemp("folder")
    study = make_study()
    run_study(study, Store(str(made / "runs"), study.name))
    for one in (study, *(make_study(name=name, **changes) for name, changes in STUDIES.items())):
        # A literal that Python writes down as something it cannot read again.
        path = write_study(made, one)
        path.write_text("from math import nan\n" + path.read_text())
    for name, text in FILES.items():
        (made / name).write_text(text)
    (made / "folder").mkdir()
    (made / "folder.csv").mkdir()
    draw = np.random.default_rng(0)
    rows = {"N": np.geomspace(1e3, 1e6, 40), "D": draw.uniform(1e3, 1e6, 40), "loss": draw.uniform(1, 2, 40)}
    pandas.DataFrame({**rows, "seed": 0, "family": "gpt"}).to_csv(made / "runs.csv")
    return made


@pytest.fixture(autouse=True)
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith(("AWS_", "UNSL_", "RAY_"))]:
        monkeypatch.delenv(name)
    return folder


def said(capsys, words: str, code: int) -> str:
    """What a use that ends with this exit code says: one line on standard error, nothing on standard output."""
    assert cli.main(shlex.split(words)) == code
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("unsl: ") and not printed.out
    assert "Traceback" not in line and "fault of unsl" not in line
    return line


def test_there_are_many():
    assert len({words for words, _ in BAD}) == len(BAD) >= 60


@pytest.mark.parametrize("words, message", BAD, ids=[words for words, _ in BAD])
def test_bad_use_is_one_line_and_exit_code_2(words, message, capsys):
    line = said(capsys, words, 2)
    assert re.search(message, line), line


OUTSIDE = [
    ("plan rehearsal --store s3://bucket/studies", "cannot be read: NoCredentialsError: Unable to locate credentials"),
    ("run unrun --store s3://bucket/studies", "cannot be written: NoCredentialsError: .*: mend the cause and run"),
    (f"run unrun {INLINE} --store /proc/unsl", "/proc/unsl/unrun cannot be written: .*: mend the cause and run"),
]


@pytest.mark.parametrize("words, message", OUTSIDE, ids=[words for words, _ in OUTSIDE])
def test_what_fails_outside_is_one_line_and_exit_code_3(words, message, capsys, monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nonexistent")
    line = said(capsys, words, 3)
    assert re.search(message, line), line


def test_a_cluster_that_cannot_be_reached_is_named(capsys, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:1")
    monkeypatch.setattr("ray.init", lambda **settings: [][0])
    line = said(capsys, "run unrun --wandb off", 3)
    assert "the cluster at ray://127.0.0.1:1 cannot be reached (IndexError: list index out of range)" in line
    monkeypatch.delenv("RAY_ADDRESS")
    assert "or use --executor inline" in said(capsys, "run unrun --wandb off", 3)


def test_another_driver_is_waited_for_if_one_asks_to(here, capsys):
    write_study(here, make_study(name="held"))
    with ExitStack() as stack:
        stack.enter_context(Writer.open(Store(str(here / "runs"), "held")))
        assert "another driver is running this study" in said(capsys, f"run held {INLINE}", 3)
        assert cli.main(shlex.split(f"run held {INLINE} --wait 0.005")) == 3
        waited, refused = capsys.readouterr().err.splitlines()
        assert waited.startswith("waiting for process ") and "another driver is running this study" in refused
        threading.Timer(0.5, stack.pop_all().close).start()
        assert cli.main(shlex.split(f"run held {INLINE} --wait")) == 0
    assert "8 done" in capsys.readouterr().out


def test_a_fault_of_its_own_leaves_a_traceback_in_a_file(capsys, monkeypatch):
    monkeypatch.setattr("pipeline.verbs.plan.make_plan", lambda *asked: [][0])
    assert cli.main(["plan", "rehearsal"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    found = re.fullmatch(r"unsl: a fault of unsl itself: IndexError: .*; the traceback to report is in (\S+)", line)
    assert "in run\n" in Path(found[1]).read_text()
    os.unlink(found[1])


def test_exit_code_1_is_for_cells_that_failed_or_are_left(capsys):
    assert cli.main(shlex.split(f"run failing {INLINE}")) == 1
    assert cli.main(shlex.split(f"run failing {INLINE}")) == 1, "failed cells are not forgotten"
    assert cli.main(shlex.split(f"run unrun {INLINE} --budget 0.000003cpu-hours --trim")) == 1
    assert "held back by the budget" in capsys.readouterr().err


def shell(command: str, **settings) -> subprocess.CompletedProcess:
    """The command line in a shell, in the current folder."""
    unsl = f"{sys.executable} -c 'import sys; sys.path[0] = \"{ROOT}\"; import unsl; sys.exit(unsl.main())'"
    return subprocess.run(["bash", "-c", command.replace("unsl", unsl, 1)], capture_output=True, text=True, **settings)


@pytest.mark.parametrize(
    "command, code, message",
    [
        ("unsl plan rehearsal --all >&-", 0, ""),
        ("set -o pipefail; unsl plan rehearsal --all | true", 0, ""),
        (
            "unsl plan rehearsal > /dev/full",
            3,
            "unsl: the system refuses (No space left on device)",
        ),
        ("unsl plan rehearsal 2>&- --tier gpu", 2, ""),
        ("unsl plan rehearsal > /dev/full 2> /dev/full", 3, ""),
    ],
)
def test_wherever_the_output_goes(command, code, message, here):
    done = shell(command)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1 if message else 0), done.stderr
    assert done.stderr.startswith(message)
