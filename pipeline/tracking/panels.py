"""The figures of a report as pages of their own: W&B shows a panel for each of them, beside the whole report."""

from __future__ import annotations

import html
import re

FIGURE = re.compile(r"<figure\b.*?</figure>", re.DOTALL)
LABEL = re.compile(r'<svg\b[^>]*\baria-label="([^"]*)"')


def figures_of(page: str) -> dict[str, str]:
    """Each figure of an HTML page as a page with the same style, by a name made of what the figure is said to show."""
    head, body, rest = page.partition("<body>")
    figures: dict[str, str] = {}
    for number, figure in enumerate(FIGURE.findall(rest), start=1):
        said = LABEL.search(figure)
        name = re.sub(r"\W+", "_", html.unescape(said[1])).strip("_").lower() if said else ""
        if not name or name in figures:
            name = f"{name or 'figure'}_{number}"
        figures[name] = f"{head}{body}\n{figure}\n</body>\n</html>\n"
    return figures
