"""A run shows itself: plain lines in a log, a bar on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
import threading

import pytest
from cells import measured
from rehearsal import make_study, run_study

from pipeline.plan import make_plan
from pipeline.run import Display, Progress
from pipeline.store import Failed, Failure


def test_a_run_that_resumes_has_no_pace_before_it_has_gained_anything():
    """However the shares of many cells add up."""
    cells = make_study(seeds=range(50)).cells
    progress = Progress(predicted={cell.id: 0.1 + number / 13 for number, cell in enumerate(cells)})
    for number, cell in enumerate(cells, start=1):
        progress.begin(cell, [measured(cell.id, number)])
    assert progress.share > 0
    assert progress.remaining_seconds is None


def test_a_log_gets_plain_lines(store, tmp_path):
    with open(tmp_path / "log", "w+") as log:
        display = Display(Progress.of(make_plan(make_study(), store).cells), stream=log)
        run_study(make_study(), store, listeners=[display])
        display.close()
        log.seek(0)
        lines = log.read().splitlines()
    assert "8/8 cells" in lines[-1]
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize("columns", [40, 200])
def test_a_terminal_gets_a_bar_and_failures_above_it(store, monkeypatch, columns):
    monkeypatch.setenv("TERM", "xterm")
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    shown = bytearray()
    reader = threading.Thread(target=_drain, args=(master, shown))
    reader.start()
    with open(slave, "w") as terminal:
        study = make_study()
        display = Display(Progress.of(make_plan(study, store).cells), stream=terminal)
        run_study(study, store, listeners=[display])
        failed = study.cells[0].id
        display.tell([Failed(cell=failed, failure=Failure.BUG, message="[red]odd[/red]")])
        display.close()
    reader.join()
    text = shown.decode()
    assert "━" * 10 in text, "the bar"
    assert f"cell {failed} failed (bug)" in text and "[red]odd[/red]" in text
    assert "1 failed" in text.split("[red]")[-1], "the bar is drawn again below the failure"


def _drain(master: int, into: bytearray) -> None:
    try:
        while chunk := os.read(master, 4096):
            into += chunk
    except OSError:  # The other side was closed.
        pass
