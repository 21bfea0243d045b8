"""The page that tells what came of the paper's blocks: shares of tasks won, then a section a block."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.paper.files import Kept
from pipeline.paper.shares import Shares, shares
from pipeline.report import Block, Code, Document, Grid, Picture, Section, Text
from pipeline.study import TIERS
from pipeline.study import Block as PaperBlock

INTRODUCTION = """\
The experiments of *Unified Neural Scaling Laws* (Caballero, Jaini, Krueger and Rish, arXiv 2605.26248, 2026), run
anew at sizes that the machines named below train in minutes. A block asks one question of the paper; every task of it
has a fit of its own. Laws see the fitted points alone and are scored on the others, which lie at larger scale: RMSLE
is the root mean squared error of ln(metric), ± its root standard log error. Bold is the least error of a row. The
numbers are as they came."""
COMMANDS = """\
unsl reproduce --list                 # every block with its file, cells, cost and state
unsl reproduce --tier cpu             # trains nothing that is here already, fits, and writes this page again
unsl reproduce parity --tier gpu      # the same block at another size"""


def page(
    kept: Sequence[Kept],
    blocks: Mapping[str, PaperBlock],
    folder: Path,
    *,
    desiderata: Sequence[Mapping[str, Any]] = (),
    public: Sequence[Mapping[str, Any]] = (),
) -> Document:
    """The page of the blocks that were run. folder: where their figures are, and the page will be. desiderata: what
    `evidence` found of them at the cpu tier. public: the answers on the paper's public table.
    """
    order = {tier: number for number, tier in enumerate(TIERS)}
    found = sorted(kept, key=lambda one: (order.get(one.tier, len(order)), one.block))
    sections = []
    for tier in dict.fromkeys(one.tier for one in found):
        of_tier = [one for one in found if one.tier == tier]
        won = _shares(shares([row for one in of_tier for row in one.rows], blocks))
        title = f"Tier {tier}: which law forecasts best"
        sections.append(Section(title=title, menu=f"Tier {tier}", blocks=[*won, *_overview(of_tier, blocks)]))
        if tier == "cpu" and desiderata:
            sections.append(_desiderata(desiderata))
        sections += [_block(one, blocks[one.block], folder) for one in of_tier]
    if public:
        sections.append(_public(public))
    return Document(
        name="reproduction",
        kicker="Unified Neural Scaling Laws, run anew",
        title="The paper, block by block",
        blocks=[Text(text=INTRODUCTION), Code(text=COMMANDS)],
        sections=sections,
    )


def _shares(found: Sequence[Shares]) -> Iterator[Block]:
    laws = list(found[0].won) if found else []
    rows = [
        [
            one.family,
            str(one.tasks),
            *(_share(one.won[law], best=max(one.won.values())) for law in laws),
            f"{one.published:.2%}" if one.published else "",
        ]
        for one in found
    ]
    yield _table(["tasks", "number", *laws, "the paper's unsl"], rows)
    yield Text(
        text="A task is one metric of one task of a block; compared are the laws of several inputs. The paper's shares "
        "are of its own 23 vision and 9 language tasks, of networks far larger than these: shares of so few and so "
        "small tasks test nothing of the paper. They are what came."
    )


def _share(value: float, *, best: float) -> str:
    return f"**{value:.1%}**" if value == best else f"{value:.1%}"


def _overview(kept: Sequence[Kept], blocks: Mapping[str, PaperBlock]) -> Iterator[Block]:
    rows = []
    for one in kept:
        own = [row for row in one.rows if not row["ask"]]
        for task in dict.fromkeys(row["task"] for row in own):
            scores = {row["law"]: float(row["rmsle_held_out"]) for row in own
                      if row["task"] == task and row["rmsle_held_out"]}  # fmt: skip
            best = min(scores, key=scores.__getitem__, default="")
            rows.append(
                [
                    f"[{one.block}](#{_anchor(one.block, one.tier)})",
                    task,
                    f"{one.cells:,}",
                    f"{one.points:,}",
                    f"{one.training_seconds / 60:.1f}",
                    f"{scores['unsl']:.4f}" if "unsl" in scores else "",
                    f"{best} {scores[best]:.4f}" if best else "",
                ]
            )
    yield _table(["block", "task", "cells", "points", "training minutes", "unsl", "best law"], rows)
    if missing := sorted(blocks.keys() - {one.block for one in kept}):
        yield Text(text=f"Not run at this tier: {', '.join(missing)}.")


def _desiderata(found: Sequence[Mapping[str, Any]]) -> Section:
    said = "That the law's form fulfils them is algebra, and tested; here is whether networks behave so."
    rows = [
        [str(row["number"]), row["desideratum"], row["evidence"], f"[{row['block']}](#{_anchor(row['block'], 'cpu')})"]
        for row in found
    ]
    return Section(
        title="The eight desiderata, in real runs",
        menu="Desiderata",
        blocks=[Text(text=said), _table(["", "desideratum", "what was measured", "block"], rows)],
    )


def _public(rows: Sequence[Mapping[str, Any]]) -> Section:
    said = (
        "Language models trained on repeated data (arXiv 2305.16264): parameters, tokens and unique tokens. The paper "
        "says that the unified law errs an eighth of the data-constrained law `dc` there. `unsl reproduce --data DIR` "
        "repeats it with a table of one's own."
    )
    answers = [{**row, "ask": f"{row['exam']}, {row['held_out']}", "task": "", "rmsle_fit": "yes"} for row in rows]
    return Section(title="The paper's public table", menu="Public table", blocks=[Text(text=said), _answers(answers)])


def _anchor(block: str, tier: str) -> str:
    return f"{block.replace('_', '-')}-{tier}"


def _block(kept: Kept, block: PaperBlock, folder: Path) -> Section:
    title = f"{kept.block.replace('_', '-')} {kept.tier}"
    return Section(title=title, menu=kept.block.replace("_", " "), blocks=list(_told(kept, block, folder)))


def _told(kept: Kept, block: PaperBlock, folder: Path) -> Iterator[Block]:
    fields = docstring_fields(block.text)
    yield Text(text=f"*{fields['']}*")
    for name in ("Paper", "Ours", "Expect"):
        if name in fields:
            yield Text(text=f"**{name}.** {fields[name]}")
    own = [row for row in kept.rows if _is_task(row, block, kept.tier)]
    yield _answers(own)
    for name in (f"{kept.tier}/{kept.block}.png", f"{kept.tier}/{kept.block}-asks.png"):
        if (folder / name).is_file():
            caption = f"{kept.block}: measured, fitted and extrapolated"
            yield Picture(caption=caption, png=(folder / name).read_bytes(), file=name)
    if varied := [row for row in kept.rows if not _is_task(row, block, kept.tier)]:
        yield Text(text="The same points, other hulls and numbers of fitted points:")
        yield _answers(varied)
    for what, reason in kept.left_out.items():
        yield Text(text=f"Left out: {what}: {reason}.")
    if kept.forecasts:
        yield from _forecasts(kept)
    if kept.spent:
        yield from _spent(kept)
    yield Text(text=_origin(kept, block))


def _is_task(row: Mapping[str, Any], block: PaperBlock, tier: str) -> bool:
    ask = block.asked(tier).get(row["ask"])
    return not row["ask"] or (ask is not None and ask.metric is not None)


def _answers(rows: Sequence[Mapping[str, Any]]) -> Grid:
    """A line a question and task, a column a law; laws that fit none of them are left out."""
    laws = [law for law in dict.fromkeys(row["law"] for row in rows)
            if any(row["law"] == law and row["rmsle_fit"] for row in rows)]  # fmt: skip
    lines = []
    for key in dict.fromkeys((row["ask"], row["task"]) for row in rows):
        of = {row["law"]: row for row in rows if (row["ask"], row["task"]) == key}
        first = next(iter(of.values()))
        lines.append(
            [
                ", ".join(filter(None, key)) or "all",
                f"{first['rows_fit']} / {first['rows_held_out']}",
                *(_error(of.get(law)) for law in laws),
            ]
        )
    return _table(["", "fitted / held out", *laws], lines)


def _error(row: Mapping[str, Any] | None) -> str:
    if row is None or not row["rmsle_held_out"]:
        return "–"
    text = f"{float(row['rmsle_held_out']):.4f} ± {float(row['rmsle_held_out_error']):.4f}"
    return f"**{text}**" if row["best"] else text


def _forecasts(kept: Kept) -> Iterator[Block]:
    first = kept.entries[0]
    count = sum(int(entry["blind"]) for entry in kept.entries)
    yield Text(
        text=f"Forecasts were in the ledger on {first['time'][:19].replace('T', ' ')} UTC (entry {first['number']}, "
        f"{first['hash'][:12]}), before {count:,} of the held-out points were measured:"
    )
    rows = [
        [row["law"], f"{row['forecasts']:,}", f"{row['rmsle']:.4f}", f"{row['bias']:+.4f}",
         f"{row['held_50']:.0%}", f"{row['held_90']:.0%}", f"{row['crps']:.4f}"]
        for row in kept.forecasts
    ]  # fmt: skip
    yield _table(["law", "blind forecasts", "RMSLE", "bias", "in 50%", "in 90%", "CRPS"], rows)


def _spent(kept: Kept) -> Iterator[Block]:
    columns = [name for name in dict.fromkeys(name for row in kept.spent for name in row) if name != "reason"]
    yield Text(
        text="Where the fitted laws spend a budget. At an optimum the multiplier (d ln y / d ln x) / (d ln C / d ln x) "
        "is the same by every input, and above 0 where the law would rather spend less. `beyond` says by what factor "
        "an input, one that was given too, lies outside what was fitted:"
    )
    yield _table(columns, [[_number(row.get(name)) for name in columns] for row in kept.spent if "reason" not in row])
    for row in kept.spent:
        if "reason" in row:
            yield Text(text=f"{row['task']} {row['law']}: {row['reason']}.")


def _origin(kept: Kept, block: PaperBlock) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in kept.versions.items())
    asked = "; ".join(f"{name}: `{value}`" for name, value in kept.asked.items() if value)
    return (
        f"`experiments/paper/{block.name}.py`, {kept.cells:,} cells, {kept.points:,} points, last measured {kept.date} "
        f"on {kept.machine}; {kept.training_seconds:,.0f} s of training, {kept.fitting_seconds:,.0f} s of fitting "
        f"beside other work; {versions}. {asked}. Points: [{kept.block}.parquet]({kept.tier}/{kept.block}.parquet), "
        f"answers: [{kept.block}.csv]({kept.tier}/{kept.block}.csv)."
    )


def docstring_fields(text: str) -> dict[str, str]:
    """`Paper`, `Ours`, `Expect`, ... of a block's docstring, each on one line; its first line has no name."""
    first, _, rest = text.partition("\n")
    found = {"": first.strip()}
    for match in re.finditer(r"^(\w+) {2,}(.*(?:\n {8,}.*)*)", rest, re.MULTILINE):
        found[match[1]] = " ".join(match[2].split())
    return found


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Grid:
    return Grid(header=header, rows=rows)
