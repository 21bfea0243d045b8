"""Events of cells of the rehearsal study, for tests of the store."""

from __future__ import annotations

from dataclasses import replace

from rehearsal import make_study

from pipeline.store import Ended, Failed, Failure, Folder, Measured, Store, Writer
from pipeline.store.lease import read_holder
from trainers import Ending, Point

CELLS = make_study().cells


class Died(BaseException):
    """The process ends here: nothing that handles errors may handle this."""


def die_at_change(monkeypatch, cut: int) -> None:
    """From now on, the process dies instead of making its `cut`-th change of the disk."""
    left = cut
    real = {name: getattr(Folder, name) for name in ("write", "remove")}

    def dying(name):
        def change(self, *arguments):
            nonlocal left
            left -= 1
            if not left:
                raise Died
            return real[name](self, *arguments)

        return change

    for name in real:
        monkeypatch.setattr(Folder, name, dying(name))


def measured(cell: str, step: int, **metrics: float) -> Measured:
    metrics = {"loss": 1 / step, **metrics}
    return Measured(
        cell=cell, point=Point(cell=0, step=step, metrics=metrics, examples=step, flops=2.0 * step, seconds=0.1)
    )


def ended(cell: str, step: int = 4) -> Ended:
    return Ended(cell=cell, step=step, ending=Ending.DONE)


def failed(cell: str) -> Failed:
    return Failed(cell=cell, failure=Failure.BUG, message="RuntimeError: no")


def fill(writer: Writer, count: int = 2) -> list[str]:
    """The first cell ends, the second is under way."""
    cells = CELLS[:count]
    writer.begin(cells, device="cpu")
    events = [measured(cell.id, step) for cell in cells for step in (1, 2)]
    assert writer.append([*events, ended(cells[0].id)]) == [*events, ended(cells[0].id)]
    return [cell.id for cell in cells]


def bury(store: Store) -> None:
    """As if the driver's process had ended without a word: another one has its number by now."""
    holder = read_holder(store.folder)
    dead = replace(holder, process_started="before", released=False)
    store.folder.write(f"lease/{holder.epoch:08d}.json", dead.to_json())


def finish(writer: Writer, cells, steps=(1, 2)) -> None:
    """Cells that run to their end, and are committed."""
    writer.begin(cells, device="cpu")
    for cell in cells:
        writer.append([*(measured(cell.id, step) for step in steps), ended(cell.id)])
    writer.commit()
