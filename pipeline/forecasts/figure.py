"""Are the intervals right? The reliability diagram and the histogram of the PIT, as one SVG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.errors import PipelineError

COLOURS = ("#c1440e", "#1f5f8b", "#5b8c2a", "#8a5aa8", "#8c7a2a", "#3a3a3a")
INK, FAINT = "#222222", "#bbbbbb"


def draw_check(facts: Mapping[str, Any], path: str) -> None:
    """From `Check.to_json`. Raises PipelineError where there is nothing to draw, or the file cannot be written."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    laws = [name for name in facts["reliability"] if name != "level"]
    if not laws:
        raise PipelineError("no blind forecast has been scored yet: there is nothing to draw")
    settings = {"svg.fonttype": "none", "svg.hashsalt": "unsl", "font.size": 9, "axes.spines.top": False}
    with pyplot.rc_context({**settings, "axes.spines.right": False, "axes.edgecolor": INK}):
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(8.0, 3.6), layout="constrained")
        levels = facts["reliability"]["level"]
        left.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
        for law, colour in zip(laws, COLOURS * len(laws), strict=False):
            left.plot(levels, facts["reliability"][law], color=colour, marker="o", markersize=2.5, label=law)
            counts = facts["pit"][law]
            whole = sum(counts)
            edges = [i / len(counts) for i in range(len(counts) + 1)]
            right.stairs([count / whole * len(counts) for count in counts], edges, color=colour, label=law)
        left.set(xlabel="level of the interval", ylabel="share that held", xlim=(0, 1), ylim=(0, 1))
        left.set_title("Reliability: on the line, intervals are honest", loc="left", fontsize=9)
        left.legend(frameon=False)
        right.axhline(1, color=FAINT, linewidth=1)
        right.set(xlabel="place in the forecast distribution", ylabel="density", xlim=(0, 1))
        right.set_title("PIT: flat where all is right", loc="left", fontsize=9)
        try:
            figure.savefig(path, format="svg", metadata={"Date": None})
        except OSError as error:
            raise PipelineError(f"{path} cannot be written ({error.strerror}): name another file") from error
        finally:
            pyplot.close(figure)
