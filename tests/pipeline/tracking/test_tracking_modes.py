"""Whether W&B is used at all, and what is kept from it: keys, the machine, its user."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from offline_wandb import read_offline_runs
from tracked import CELLS, python, run_id

from pipeline import PipelineError
from pipeline.tracking.account import choose_mode

pytestmark = pytest.mark.usefixtures("no_account")


def test_modes(monkeypatch, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    assert choose_mode("auto") == "offline"
    with pytest.raises(PipelineError, match="wandb login"):
        choose_mode("online")
    with pytest.raises(PipelineError, match="must be auto"):
        choose_mode("sometimes")
    (home / ".netrc").write_text("machine api.wandb.ai login user password 12345\n")
    assert choose_mode("auto") == choose_mode("online") == "online"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert choose_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "12345")
    assert choose_mode("auto") == "online"
    assert choose_mode("offline") == "offline"
    for wish, mode in (("offline", "offline"), ("disabled", "off")):
        monkeypatch.setenv("WANDB_MODE", wish)
        assert choose_mode("auto") == mode


def test_off_imports_no_wandb(folder):
    done = python(
        "import sys; from rehearsal import make_study; from pipeline.tracking import make_tracker\n"
        "from pipeline.store import SavedFit\n"
        f"study = make_study(); tracker = make_tracker('off', study=study, folder={folder!r})\n"
        "tracker.begin(study.cells[0], []); tracker.tell([]); tracker.summarise(SavedFit.from_rows([]))\n"
        "print(tracker.close(1).runs, tracker.note, 'wandb' in sys.modules)"
    )
    assert done.stdout == "0  False\n", done.stderr
    assert not os.path.exists(folder)


def test_neither_the_key_nor_the_machine_is_written_down(folder):
    """Run elsewhere, as wandb reads the environment once a process."""
    program = (
        "import sys; from rehearsal import make_study; from pipeline.tracking import make_tracker\n"
        f"study = make_study(); tracker = make_tracker('offline', study=study, folder={folder!r})\n"
        "tracker.begin(study.cells[0], []); print(tracker.close(60).runs)"
    )
    secret = "f00d" * 10
    changes = {"WANDB_API_KEY": secret, "USER": "somebody-here"}
    done = python(program, "an-argument", **changes)
    assert (done.stdout, done.stderr) == ("1\n", "")
    (written,) = Path(folder).rglob("*.wandb")
    content = written.read_bytes()
    hidden = (secret, "somebody-here", "an-argument")
    assert read_offline_runs(folder)[run_id(CELLS[0])].host == ""
    assert run_id(CELLS[0]).encode() in content
    assert not [word for word in hidden if word.encode() in content]
    everything = b"".join(path.read_bytes() for path in Path(folder).rglob("*") if path.is_file())
    assert secret.encode() not in everything
