"""Tables on a terminal, and in a log."""

from __future__ import annotations

from collections.abc import Sequence

PLAIN_WIDTH = 160
"""Columns where the output is no terminal, as in a file or a log."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text under a header."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            """The reader may go, as in `| head`: that is for the command line to judge, and no failure."""
            raise

    console = Terminal(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    made = Table(*header, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        made.add_row(*(Text(value) for value in row))
    console.print(made)
