"""`python -m fitting.exams`: see the package's docstring."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from fitting import FittingError

from .command import add_options, run_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 1 some exam was not held or some known answer missed, 2 bad use."""
    parser = argparse.ArgumentParser(
        prog="python -m fitting.exams",
        description="Score every law on the held-out rows of public tables.",
        epilog="example: python -m fitting.exams --data DIR --half report --laws unsl,a3,cf",
    )
    add_options(parser)
    try:
        return run_command(parser.parse_args(arguments))
    except FittingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
