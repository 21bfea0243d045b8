"""The tutorial runs as it stands."""

import re
from pathlib import Path

import fitting


def test_every_block_runs_in_order(capsys):
    text = (Path(fitting.__file__).parent / "tutorial.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(blocks) >= 6
    space: dict = {}
    for block in blocks:
        exec(compile(block, "tutorial.md", "exec"), space)
    assert "alpha_N" in capsys.readouterr().out
