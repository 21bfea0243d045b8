"""Frozen dataclasses as JSON and back, and the JSON Schema that describes them.

What is not finite becomes null: JSON has no word for it, and a page shows nothing there. Fields that hold their default
are left out, so that a part of the facts that a study does not have is absent rather than empty.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_NAMES: dict[Any, str] = {str: "string", bool: "boolean", int: "integer"}


def to_json(value: Any) -> Any:
    """Dataclasses, mappings, sequences, arrays, text, numbers and None as what `json` writes."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_json(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if not _is_default(field, getattr(value, field.name))
        }
    if isinstance(value, Mapping):
        return {str(name): to_json(one) for name, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return to_json(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [to_json(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def from_json(kind: Any, value: Any) -> Any:
    """The value of a type that `to_json` wrote; a number that was not finite comes back as NaN."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else from_json(_present(kind), value)
    if kind is float:
        return math.nan if value is None else float(value)
    if origin is tuple:
        return tuple(from_json(arguments[0], one) for one in value)
    if origin is Mapping:
        return {name: from_json(arguments[1], one) for name, one in value.items()}
    if dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{name: from_json(hints[name], one) for name, one in value.items() if name in hints})
    return value


def schema(kind: Any) -> dict[str, Any]:
    """The JSON Schema of what `to_json` writes for a dataclass."""
    definitions: dict[str, Any] = {}
    return {"$schema": DRAFT, **_describe(kind, definitions), "$defs": definitions}


def _describe(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return {}
    if kind is float:
        return {"type": ["number", "null"]}
    if kind in _NAMES:
        return {"type": _NAMES[kind]}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_describe(_present(kind), definitions), {"type": "null"}]}
    if origin is tuple:
        return {"type": "array", "items": _describe(arguments[0], definitions)}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _describe(arguments[1], definitions)}
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}
        hints = _hints(kind)
        required = [field.name for field in dataclasses.fields(kind) if not _has_default(field)]
        definitions[kind.__name__] = {
            "type": "object",
            "description": (kind.__doc__ or "").strip().split("\n")[0],
            "properties": {name: _describe(hint, definitions) for name, hint in hints.items()},
            "required": required,
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{kind.__name__}"}


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _present(kind: Any) -> Any:
    """X of `X | None`."""
    return next(one for one in typing.get_args(kind) if one is not type(None))


def _has_default(field: dataclasses.Field) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _is_default(field: dataclasses.Field, value: Any) -> bool:
    if field.default_factory is not dataclasses.MISSING:
        return not isinstance(value, np.ndarray) and value == field.default_factory()
    return field.default is not dataclasses.MISSING and (value is field.default or value == field.default)
