"""A fit as JSON and back, so that a forecast made today can be made again, to the bit, in a year.

Everything that a forecast is made of is written: the law's name, the scale of the table (`Frame`), every member's form
and raw parameters, covariances and noise, and the fingerprint of the table. Numbers are written in full, so they come
back as they were; those that are not finite are written as text, which JSON has no number for. Formulas are code and
are not written: what the law predicted at a few places is, and a law that now predicts otherwise is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from .candidates import Member
from .errors import FittingError
from .forecast import Belief
from .law import Form, Frame, Law
from .laws import Blend, Part
from .solver import Ending

FORMAT, VERSION = "unsl fit", 3
# The same formula on another machine rounds otherwise; another formula differs by far more.
_SAME = 1e-9


def belief_to_json(belief: Belief | None) -> dict[str, Any] | None:
    """Members and what they know, as values that `json` can write."""
    if belief is None:
        return None
    rest = {
        name: value for name, value in vars(belief).items() if name not in ("members", "equation", "covariances")
    }  # plain numbers
    return {
        "frame": asdict(belief.members[0].form.frame),
        "equation": None if belief.equation is None else _member_to_json(belief.equation),
        "members": [_member_to_json(m) for m in belief.members],
        "covariances": [c.tolist() for c in belief.covariances],
        "numbers": rest,
    }


def belief_from_json(value: Mapping[str, Any] | None, law: Law) -> Belief | None:
    """The inverse of `belief_to_json`. Raises FittingError if the law has changed since."""
    if value is None:
        return None
    frame = _frame(value["frame"])
    if isinstance(law, Blend):
        by_name = {one.name: one for one in law.laws}
        members = tuple(_part_from_json(m, frame, by_name) for m in value["members"])
    else:
        forms = {form.structure: form for form in law.forms(frame)}
        members = tuple(_member_from_json(m, forms, law) for m in value["members"])
    equation = value["equation"]
    if equation is not None:
        # A single member is its own equation.
        alone = equation == value["members"][0]
        equation = members[0] if alone else _member_from_json(equation, forms, law)
    return Belief(
        equation=equation,
        members=members,
        covariances=tuple(np.array(c, float) for c in value["covariances"]),
        **value["numbers"] | {"weights": tuple(value["numbers"]["weights"])},
    )


def _frame(value: Mapping[str, Any]) -> Frame:
    return Frame(**{k: tuple(v) if isinstance(v, list) else v for k, v in value.items()})


def _part_from_json(value: Mapping[str, Any], frame: Frame, laws: Mapping[str, Law]) -> Member:
    """A law's equation in a blend, which has a frame of its own."""
    if value["law"] not in laws:
        raise FittingError(f"this fit is of another version of the blend: {value['law']} is none of its laws")
    law = laws[value["law"]]
    member = _member_from_json(value["equation"], {f.structure: f for f in law.forms(_frame(value["frame"]))}, law)
    return replace(member, form=Part(frame=frame, law=law.name, form=member.form))


def _member_to_json(member: Member) -> dict[str, Any]:
    if isinstance(member.form, Part):
        inner = member.form.form
        equation = _member_to_json(replace(member, form=inner))
        return {"law": member.form.law, "frame": asdict(inner.frame), "equation": equation}
    return {
        "form": member.form.structure,
        "parameters": dict(zip(member.form.parameters, member.raw.tolist(), strict=True)),
        "ridge": member.ridge,
        "loss": member.loss,
        "ending": member.ending.value,
        "score": member.score,
        "key": list(member.key),
        "predicts": _somewhere(member.form, member.raw).tolist(),
    }


def _member_from_json(value: Mapping[str, Any], forms: Mapping[str, Form], law: Law) -> Member:
    form = forms.get(value["form"])
    if form is None or tuple(value["parameters"]) != form.parameters:
        raise FittingError(
            f"this fit is of another version of {law.name}: {value['form']!r} is not a form of it as it is now"
        )
    raw = np.array(list(value["parameters"].values()), float)
    if not np.allclose(_somewhere(form, raw), value["predicts"], rtol=_SAME):
        raise FittingError(
            f"this fit is of another version of {law.name}: the formula now gives other numbers; fit the table again"
        )
    structure, level, kind = value["key"]
    return Member(
        form=form,
        raw=raw,
        ridge=value["ridge"],
        loss=value["loss"],
        ending=Ending(value["ending"]),
        score=value["score"],
        key=(structure, level, kind),
    )


def _somewhere(form: Form, raw: np.ndarray) -> np.ndarray:
    """ln y at the centre of the table, at both ends of its diagonal, and as far again beyond the upper one."""
    at = np.array([0.0, -1.0, 1.0, 3.0])
    return form.predict_log(raw[None, :], {name: at * half for name, half in form.frame.half.items()})[0]


def write(value: Mapping[str, Any]) -> str:
    """Valid JSON; numbers that are not finite as text."""
    return json.dumps({"format": FORMAT, "version": VERSION, **_encoded(value)}, indent=1, allow_nan=False)


def read(text: str) -> dict[str, Any]:
    """The inverse of `write`. Raises FittingError for anything that it did not write."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise FittingError(f"this is not a fit: not JSON ({error})") from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise FittingError("this is JSON but not a fit; give what Fit.to_json wrote")
    if value.get("version") != VERSION:
        raise FittingError(f"this fit is of format {value.get('version')}, and {VERSION} is read; fit the table again")
    return _decoded(value)


_WORDS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def _encoded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _encoded(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encoded(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": str(float(value))}
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"number"}:
            return _WORDS[value["number"]]
        return {key: _decoded(entry) for key, entry in value.items()}
    return [_decoded(entry) for entry in value] if isinstance(value, list) else value
