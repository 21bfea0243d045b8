"""What all laws of one input have in common.

On a table with several inputs, one form an input is tried and validation on the fitted rows picks the input that is
read.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..law import Form


@dataclass(frozen=True, kw_only=True)
class OneInput(Form):
    """A form that reads one column."""

    column: str

    @property
    def structure(self) -> str:
        return f"in {self.column}"

    @property
    def exclusive(self) -> str:
        return self.column
