"""`unsl reproduce`: run the paper's blocks, and write its tables and figures anew from what came."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fitting import find_law
from pipeline.errors import PipelineError
from pipeline.plan import Prices, make_plan
from pipeline.study import TIERS, Block, known_blocks, load_block
from pipeline.verbs.ending import STOPPED
from pipeline.verbs.output import say, write_json, write_text
from pipeline.verbs.run import RUN
from pipeline.verbs.verb import Verb, add_json, add_laws, add_prices, add_store, add_wandb, names, store_of

PUBLIC_TABLE = "public.csv"
"""In the folder of results."""


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("blocks", nargs="*", metavar="BLOCK", help="blocks of experiments/paper/ (default: all)")
    add("--tier", choices=TIERS, default="cpu", help="their size (default: cpu, minutes a block on two cores)")
    add("--list", action="store_true", help="show the blocks with their file, cells, cost and state, and run nothing")
    add("--data", metavar="DIR", help="folder of public tables: those of the paper among them are fitted too")
    add("--out", default="reproduction", metavar="DIR", help="folder of tables, figures and the page that tells them")
    add_store(parser)
    add_json(parser)
    add_laws(parser)
    add("--device-type", default="", metavar="NAME", help="what --list predicts for: h100, a10g, cpu, ...")
    add("--executor", choices=("ray", "inline"), default="ray", help="a Ray cluster, or this process")
    add("--budget", metavar="LIMIT", help="what each block may cost in all: 40gpu-hours, 8h100-hours, 200usd")
    add_prices(parser)
    add_wandb(parser)


def run(options: argparse.Namespace) -> int:
    blocks = [load_block(name) for name in dict.fromkeys(options.blocks or known_blocks())]
    for block in blocks:
        block.study(options.tier).check()
    for law in names(options.laws):
        find_law(law)
    if options.list:
        return _list(blocks, options)
    out = Path(options.out)
    if any(folder.exists() and not folder.is_dir() for folder in (out, *out.parents)):
        raise PipelineError(f"--out {out} is no folder: name one")
    from pipeline.paper import read_kept

    if options.data:
        _public(options, out)
    done = [_reproduce(block, options) for block in blocks]
    if STOPPED in done:
        return STOPPED
    everything = {name: load_block(name) for name in known_blocks()}
    kept = [one for path in sorted(out.glob("*/*.json")) if (one := read_kept(path)) and one.block in everything]
    _write_page(kept, everything, out)
    asked = {block.name for block in blocks}
    facts = _facts([one for one in kept if one.tier == options.tier and one.block in asked], everything)
    if options.json:
        write_json(options.json, facts)
    if options.json != "-":
        from pipeline.verbs import show

        show.reproduction(facts)
        print(f"page: {out / 'index.html'}, and as Markdown {out / 'README.md'}")
    return max(done, default=0)


def _public(options: argparse.Namespace, out: Path) -> None:
    """The laws' answers on the paper's public table."""
    from pipeline.paper import PUBLIC, public_answers, to_csv

    rows = public_answers(options.data, laws=names(options.laws), seed=options.seed)
    out.mkdir(parents=True, exist_ok=True)
    write_text(str(out / PUBLIC_TABLE), to_csv(rows, PUBLIC))


def _reproduce(block: Block, options: argparse.Namespace) -> int:
    """One block, from its cells to its files. Returns 1 where cells are left or nothing can be fitted."""
    from pipeline.analysis import fingerprint
    from pipeline.paper import answer, digest, draw_answers, draw_asks, keep, read_kept, restore

    study, out = block.study(options.tier), Path(options.out)
    store = store_of(options.store, study)
    if restore(store, block.name, options.tier):
        say(f"{block.name}: its points came with unsl")
    code = 0
    if any(not one.state.finished for one in make_plan(study, store).cells):
        code = _run(block, options)
        if code == STOPPED:
            return code
    points = store.table()
    made_from = digest(block, options.tier, fingerprint(study, points, laws=names(options.laws), seed=options.seed))
    beside = out / options.tier / block.name
    known = read_kept(beside.with_suffix(".json"))
    if known and known.made_from == made_from:
        say(f"{block.name}: unchanged, nothing was fitted again")
        return code
    try:
        answers = answer(block, options.tier, points, laws=names(options.laws), seed=options.seed, tell=say)
        keep(out, answers, store, made_from=made_from)
        draw_answers(answers, f"{beside}.png")
        draw_asks(answers, f"{beside}-asks.png")
    except PipelineError as error:
        say(f"{block.name}: {error}")
        return 1
    except OSError as error:
        raise PipelineError(f"{out} cannot be written ({error.strerror}): name another folder with --out") from error
    return code


def _run(block: Block, options: argparse.Namespace) -> int:
    """`unsl run` of the block's study."""
    words = [f"experiments.paper.{block.name}", "--tier", options.tier, "--store", options.store]
    words += ["--executor", options.executor, "--wandb", options.wandb, "--price", options.price]
    words += ["--budget", options.budget] if options.budget else []
    parser = argparse.ArgumentParser()
    RUN.add_options(parser)
    return RUN.run(parser.parse_args(words))


def _write_page(kept: Sequence[Any], blocks: Mapping[str, Block], out: Path) -> None:
    import pandas

    from pipeline.paper import DESIDERATA, NEEDS, evidence, page, read_public, to_csv
    from pipeline.report import write_document

    points = {name: out / "cpu" / f"{name}.parquet" for name in NEEDS}
    found = evidence({name: pandas.read_parquet(path) for name, path in points.items() if path.is_file()})
    if found:
        write_text(str(out / "desiderata.csv"), to_csv(found, DESIDERATA))
    if kept:
        public = read_public(out / PUBLIC_TABLE)
        made = page(kept, blocks, out, desiderata=found, public=public)
        write_text(str(out / "README.md"), made.to_markdown())
        write_document(made, out / "index.html")


def _facts(kept: Sequence[Any], blocks: Mapping[str, Block]) -> dict[str, Any]:
    from pipeline.paper import shares

    rows = [dict(row) for one in kept for row in one.rows]
    return {"answers": rows, "shares": [vars(one) for one in shares(rows, blocks)]}


def _list(blocks: Sequence[Block], options: argparse.Namespace) -> int:
    """What each block is, would cost and has answered."""
    from pipeline.paper import committed, committed_cells, read_kept

    prices = Prices.parse(options.price)
    rows = []
    for block in blocks:
        study = block.study(options.tier)
        made = make_plan(study, store_of(options.store, study), options.device_type)
        plan = made.to_json()
        done = {one.cell.id for one in made.cells if one.state.finished} or committed_cells(block.name, options.tier)
        beside = Path(options.out) / options.tier / f"{block.name}.json"
        kept = read_kept(beside) or read_kept(committed(block.name, options.tier).with_suffix(".json"))
        rows.append(
            {
                "block": block.name,
                "question": block.text.partition("\n")[0],
                "file": f"experiments/paper/{block.name}.py",
                "cells": len(made.cells),
                "done": sum(one.cell.id in done for one in made.cells),
                "flops": plan["total_flops"],
                "device": made.device.name,
                "cost": prices.show({made.device.name: sum(one.predicted_seconds for one in made.cells)}),
                "run": kept.date if kept else None,
                "answers": [dict(row) for row in kept.rows if not row["ask"]] if kept else [],
            }
        )
    if options.json:
        write_json(options.json, rows)
    if options.json != "-":
        from pipeline.verbs import show

        show.blocks(rows)
    return 0


REPRODUCE = Verb(
    name="reproduce",
    summary="run the paper's blocks, and write its tables and figures anew",
    example="unsl reproduce parity modular --tier cpu --out reproduction",
    add_options=add_options,
    run=run,
)
