"""What every page of `unsl` is made with: one shell with its style and policy, templates, scripts and escaping.

A page asks nothing of any network, and its own policy forbids it. Everything that a user typed is escaped by the
templates; what they take as it is (`Markup`) was made here.
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pipeline.report.words import duration, enumeration, exact, number, tidy, times

HERE = Path(__file__).parent
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""What a page may load: nothing from anywhere."""


def fill(template: str, **values: Any) -> str:
    """A template of `templates/` with its values, in the style that all pages share."""
    style = Markup((HERE / "templates" / "page.css").read_text("utf-8"))
    return _templates().get_template(template).render(style=style, **values)


def script(name: str) -> Markup:
    """A script of this folder as a page holds it, by its path."""
    text = (HERE / name).read_text("utf-8")
    return Markup(text.replace("</script", "<\\/script").replace("<!--", "<\\!--"))


def data(value: Any) -> Markup:
    """JSON that no parser of HTML takes for anything else."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


@cache
def _templates() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters |= {
        "number": number,
        "exact": exact,
        "count": lambda value: f"{value:,}" if value < 100_000 else number(value),
        "times": times,
        "duration": duration,
        "enumeration": enumeration,
        "scientific": lambda value: tidy(f"{value:.3g}"),
        "error": lambda error: f"{error.value:.4f} ± {error.bar:.4f}" if error else "–",
        "power": lambda value: f"{value + 0.0:.2f}".replace("-0.00", "0.00"),
        "exp": math.exp,
        "worst": lambda bands: max((band.error for band in bands), default=0.0),
        "percent": lambda share: f"{share:.0%}",
        "mathml": Markup,  # made by `equation`, which escapes the names in it
    }
    return made
