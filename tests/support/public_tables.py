"""Folders of public tables in which an exam of the catalogue finds its own."""

from __future__ import annotations

from pathlib import Path


def write_addition(data: Path) -> None:
    """A power law where `curve-addition` looks for its table."""
    folder = data / "bnsl-4digit-addition"
    folder.mkdir(parents=True)
    lines = [f"{x},{2.0 * x**-0.3},{int(x < 800)}" for x in range(100, 1000, 50)]
    (folder / "addition.csv").write_text("\n".join(["train_dataset_size,test_cross_entropy,training", *lines]))
