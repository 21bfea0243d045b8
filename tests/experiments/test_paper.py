"""The paper's blocks: each is sound at every tier, fits its device, says what it should, and runs at its tiny one."""

from __future__ import annotations

import json

import pytest

from fitting import parse_expression
from pipeline import cli
from pipeline.paper import page, read_kept
from pipeline.paper.page import docstring_fields
from pipeline.plan import check_memory, make_plan
from pipeline.store import Store
from pipeline.study import TIERS, known_blocks, load_block

EVERY = [(name, tier) for name in known_blocks() for tier in TIERS]


def test_there_are_blocks():
    assert {"parity", "addition", "modular", "language", "vision", "reinforcement", "inference"} <= set(known_blocks())


@pytest.mark.parametrize("name", known_blocks())
def test_a_block_says_what_it_is(name):
    block = load_block(name)
    fields = docstring_fields(block.text)
    assert {"", "Paper", "Ours", "Tiers", "Expect", "Run"} <= fields.keys() and fields[""].endswith("?")
    assert list(block.tiers) == list(TIERS)
    assert fields["Run"] == f"unsl reproduce {name}"
    for tier, study in block.tiers.items():
        suffix = "" if tier == "cpu" else f"-{tier}"
        assert study.name == f"paper-{name.replace('_', '-')}{suffix}"


@pytest.mark.parametrize("name, tier", EVERY)
def test_every_tier_is_sound_and_fits_its_device(name, tier, tmp_path):
    block = load_block(name)
    study = block.study(tier)
    study.check()
    shares = [study.held_out_share(cell) for cell in study.cells]
    assert min(shares) < 1 and max(shares) > 0
    for ask in block.asked(tier).values():
        for text in (ask.held_out, *ask.excluded.values()):
            assert not text or parse_expression(text)
    if study.device == "gpu":
        made = make_plan(study, Store(str(tmp_path), study.name), "h100")
        check_memory(study, made.cells, made.device)


@pytest.mark.parametrize("name", known_blocks())
def test_the_tiny_tier_runs_to_its_page(name, tmp_path, monkeypatch, capsys):
    """Without W&B and Ray; what is made of what was learned is not looked at."""
    monkeypatch.chdir(tmp_path)
    words = ["reproduce", name, "--tier", "tiny", "--executor", "inline", "--wandb", "off", "--store", "runs", "--json"]
    assert cli.main(words) == 0
    facts = json.loads(capsys.readouterr().out.partition("\n{")[2].join(["{", ""]))
    block = load_block(name)
    assert {row["ask"] for row in facts["answers"]} == set(block.asked("tiny"))
    kept = read_kept(tmp_path / "reproduction" / "tiny" / f"{name}.json")
    assert kept is not None and kept.cells == len(block.study("tiny").cells) and kept.entries
    assert (tmp_path / "reproduction" / "tiny" / f"{name}.png").stat().st_size > 1000
    assert name.replace("_", "-") in page([kept], {name: block}, tmp_path / "reproduction").to_markdown()
