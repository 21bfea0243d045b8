"""Studies by name: the files of `experiments/`."""

from __future__ import annotations

import importlib
import importlib.util
import re

from pipeline.errors import PipelineError, suggest
from pipeline.study.study import Study


def load_study(name: str, tier: str | None = None) -> Study:
    """The study of `experiments/NAME.py`: its value `STUDY`, or its `TIERS[tier]`. Raises PipelineError."""
    module_name = f"experiments.{name.replace('-', '_')}"
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or importlib.util.find_spec(module_name) is None:
        raise PipelineError(f"there is no study '{name}': {suggest(name, known_studies())}")
    try:
        module = importlib.import_module(module_name)
    except PipelineError:
        raise
    except Exception as error:
        raise PipelineError(f"experiments/{name}.py cannot be read: {type(error).__name__}: {error}") from error
    tiers = getattr(module, "TIERS", {})
    if tier is not None and tier not in tiers:
        have = f"its tiers are {', '.join(tiers)}" if tiers else "it has no tiers"
        raise PipelineError(f"study '{name}' has no tier '{tier}': {have}")
    study = getattr(module, "STUDY", None) if tier is None else tiers[tier]
    if not isinstance(study, Study):
        where = "STUDY" if tier is None else f"TIERS['{tier}']"
        raise PipelineError(f"{where} in experiments/{name}.py must be a pipeline.Study, not {type(study).__name__}")
    return study


def known_studies() -> list[str]:
    """Names of the studies in `experiments/`."""
    import pkgutil

    import experiments

    return sorted(module.name for module in pkgutil.iter_modules(experiments.__path__))
