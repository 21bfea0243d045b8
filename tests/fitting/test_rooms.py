"""The rooms of `fitting`: the library knows nothing of the exams, and the exams enter it by its door."""

import pytest
from rooms import ROOT, imported

import fitting

ROOM = ROOT / "fitting"


def wrong(path, root=ROOT):
    inner = path.relative_to(root / "fitting").parts
    room = inner[0] if len(inner) > 1 else "library"
    for module, name in imported(path, root):
        inside = module.split(".")[0] == "fitting"
        if room == "exams" and inside and not module.startswith("fitting.exams"):
            if module != "fitting" or name not in fitting.__all__:
                yield f"{module}.{name} is behind the library's door"
        elif room != "exams" and f"{module}.{name}.".startswith("fitting.exams."):
            yield f"{module} is the exams, of which the library knows nothing"
        elif room == "laws" and inside and not module.startswith("fitting.laws"):
            known = {"errors", "law", "metric", "priors", "table", "tape"}
            if (name if module == "fitting" else module.split(".")[1]) not in known:
                yield f"{module}.{name} stands above the laws"


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOM)))
def test_rooms_are_entered_by_their_doors(path):
    assert not list(wrong(path))


@pytest.mark.parametrize(
    "file, line",
    [
        ("exams/page.py", "from ..forecast import Forecast"),
        ("exams/page.py", "from fitting.table import Table"),
        ("fits.py", "from .exams import EXAMS"),
        ("laws/cf.py", "from ..selection import select"),
        ("laws/cf.py", "from .. import fits"),
    ],
)
def test_a_reach_past_a_door_is_seen(tmp_path, file, line):
    path = tmp_path / "fitting" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line)
    assert len(list(wrong(path, tmp_path))) == 1


def test_every_name_of_the_door_is_there():
    assert all(hasattr(fitting, name) for name in fitting.__all__)
