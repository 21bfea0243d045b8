"""Functions for Ray's workers that are found there by name, and found to be ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def by_name(module: str, function: str) -> Callable[..., Any]:
    """A function that travels whole, and calls one of ours where it arrives.

    Python looks for modules in the driver's current folder first there, which may hold another package `pipeline`.
    Importing `unsl` settles which are ours, before anything else of ours is imported: hand over plain values or bytes.
    """

    def call(*arguments: Any) -> Any:
        import importlib

        importlib.import_module("unsl")
        return getattr(importlib.import_module(module), function)(*arguments)

    return call


def stream_by_name(module: str, function: str) -> Callable[..., Iterator[Any]]:
    """The same for a generator function, which Ray wants to be told by its looks."""
    call = by_name(module, function)

    def stream(*arguments: Any) -> Iterator[Any]:
        yield from call(*arguments)

    return stream
