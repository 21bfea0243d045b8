"""The command `unsl`, also `python -m unsl`.

A folder may hold packages of its own that are called `pipeline`, `trainers` or `fitting`, and Python may look there
first: under `python -m`, with PYTHONPATH, in the workers of Ray. Once this module is imported, these names mean the
packages beside this file.
"""

from __future__ import annotations

import atexit
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder

HOME = os.path.dirname(os.path.realpath(__file__))
OURS = ("fitting", "pipeline", "trainers")


class _Ours:
    """Finds the packages beside this file before anyone else is asked."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [HOME]) if name in OURS else None


sys.meta_path.insert(0, _Ours)


def main() -> int:
    """Run the command line. Imports are slow enough that someone may press Ctrl-C meanwhile."""
    try:
        from pipeline.cli import main

        code = main()
    except KeyboardInterrupt:
        print("unsl: stopped", file=sys.stderr)
        code = 130
    _tidy_up(code)
    return code


def _tidy_up(code: int) -> None:
    """What is left to do, which a late Ctrl-C ends without a word."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if "ray" in sys.modules:
        # Ray's threads outlive `ray.shutdown` and have crashed the process while the interpreter was taken down.
        atexit._run_exitfuncs()
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
