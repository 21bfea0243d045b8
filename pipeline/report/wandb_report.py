"""The report as one of W&B's own, made once and brought up to date in place: text, tables and the equation from the
facts, and panels that W&B draws of the study's runs and of the figures that its fit has sent.

It needs the package `wandb-workspaces`, which nothing else here does: `pip install 'unsl[wandb-report]'`. W&B has no
server that runs here. What is sent was tested against a stand-in on loopback that keeps it, and read back by the
package's own model; that W&B's pages show it as it is meant was not.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from pipeline.errors import OutsideError, PipelineError
from pipeline.report.document import Block, Heading
from pipeline.report.facts import Facts
from pipeline.report.telling import facts_document
from pipeline.store import Folder
from pipeline.tracking import choose_mode, project_name

KEPT = "wandb_report.json"
"""In the study's store: which of W&B's reports is the study's, whatever machine brings it up to date."""
MOST_TITLE = 128
"""Characters that W&B takes."""
POINTS, FIGURES = "points/", "fit/figures/"
"""How the study's runs name them (`pipeline.tracking`)."""


def publish_report(facts: Facts, figures: Sequence[str], folder: Folder) -> str:
    """Write the study's report at W&B, or bring it up to date; its address.

    figures: names of those that the fit has sent. folder: the study's store. Raises PipelineError where the package is
    not installed or nobody is logged in, OutsideError where W&B does not take it.
    """
    api = require_wandb_report()
    made = _made(api, facts, figures)
    known = _known(folder)
    if known.get("project") == made.project and known.get("entity") == made.entity:
        made.id = known.get("id", "")
    try:
        _save(made)
    except Exception as error:  # whatever wandb and its server make of it
        raise OutsideError(f"W&B did not take the report: {_first_line(error)}") from error
    kept = {"id": made.id, "entity": made.entity, "project": made.project, "url": made.url}
    try:
        folder.write(KEPT, json.dumps(kept, indent=1).encode())
    except OSError as error:
        raise OutsideError(f"the report is at {made.url}, but the store cannot keep that: {error}") from error
    return made.url


def require_wandb_report() -> Any:
    """The package that writes reports at W&B. Raises PipelineError where it is missing, or nobody is logged in."""
    try:
        import wandb_workspaces.reports.v2 as api
    except ImportError:
        raise PipelineError(
            "a report at W&B needs the package wandb-workspaces: pip install 'unsl[wandb-report]', then ask again"
        ) from None
    if choose_mode("auto") != "online":
        raise PipelineError("a report at W&B needs a key: run `wandb login`, or set WANDB_API_KEY, then ask again")
    return api


def _made(api: Any, facts: Facts, figures: Sequence[str]) -> Any:
    """The whole report, not sent yet. W&B is asked who owns it unless WANDB_ENTITY says so."""
    try:
        entity = _entity()
        whole = facts_document(facts)
        blocks = [*_written(api, whole.blocks), *_equation(api, facts), *_drawn(api, facts, figures, entity)]
        for section in whole.sections:
            blocks += [api.H2(section.title), *_written(api, section.blocks)]
        return api.Report(
            project=project_name(),
            entity=entity,
            title=whole.title[:MOST_TITLE],
            description=whole.kicker,
            width="fixed",
            blocks=[api.TableOfContents(), *blocks],
        )
    except PipelineError:
        raise
    except Exception as error:  # whatever wandb makes of a key that is none, or of a network that is none
        raise OutsideError(f"W&B does not answer: {_first_line(error)}") from error


def _entity() -> str:
    import wandb  # here, because importing it costs a second

    return os.environ.get("WANDB_ENTITY") or wandb.Api().default_entity


def _written(api: Any, blocks: Sequence[Block]) -> list[Any]:
    return [
        api.H3(block.text) if isinstance(block, Heading) else api.MarkdownBlock(block.markdown()) for block in blocks
    ]


def _equation(api: Any, facts: Facts) -> list[Any]:
    """Of the first task, with its coefficients."""
    best = facts.tasks[0].best
    if best is None or not best.latex:
        return []
    rows = [f"| {one.name} | {one.value:.4g} | {_end(one.low)} | {_end(one.high)} |" for one in best.coefficients]
    table = ["| coefficient | value | from | to |", "| --- | --- | --- | --- |", *rows]
    return [api.H2("The equation"), api.LatexBlock(best.latex), api.MarkdownBlock("\n".join(table))]


def _drawn(api: Any, facts: Facts, figures: Sequence[str], entity: str) -> list[Any]:
    """Panels: the figures of the fit, and the learning curves of all cells."""
    where = {"entity": entity, "project": project_name()}
    fit = api.Runset(**where, name="the fit", filters=f"Group == {facts.name!r} and JobType == 'fit'")
    cells = api.Runset(**where, name="cells", filters=f"Group == {facts.name!r}")
    shown = [
        api.MediaBrowser(title=name.replace("_", " "), num_columns=1, media_keys=[f"{FIGURES}{name}"],
                         layout=api.Layout(x=0, y=16 * k, w=24, h=16))
        for k, name in enumerate(figures)
    ]  # fmt: skip
    curves = api.LinePlot(
        title=f"{facts.metric.name} while training",
        x="step",
        y=[f"{POINTS}{facts.metric.name}"],
        log_x=True,
        layout=api.Layout(x=0, y=0, w=24, h=12),
    )
    blocks = [api.H2("Figures"), api.PanelGrid(runsets=[fit], panels=shown)] if shown else []
    return [*blocks, api.H2("Learning curves"), api.PanelGrid(runsets=[cells], panels=[curves])]


def _save(made: Any) -> None:
    """In place where its id is known; anew where W&B no longer has that report."""
    try:
        made.save()
    except Exception:
        if not made.id:
            raise
        made.id = ""
        made.save()


def _known(folder: Folder) -> dict[str, str]:
    try:
        return json.loads(folder.read(KEPT) or b"{}")
    except (OSError, ValueError):
        return {}


def _end(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]
