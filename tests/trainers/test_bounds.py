"""Every lower bound of every configuration: what it names is allowed, and nothing below it."""

from __future__ import annotations

import dataclasses
import re

import pytest

from trainers import TRAINERS, TrainerError, load_trainer


@pytest.mark.parametrize("name", TRAINERS)
def test_the_least_value_is_allowed_and_none_below(name):
    config = load_trainer(name).Config()

    def refusal(field: str, value: float) -> str:
        """What is said of this field; a value of one may ask for another value of a second."""
        try:
            dataclasses.replace(config, **{field: value})
        except TrainerError as error:
            return next((text for text in str(error).split("; ") if text.startswith(f"{field} = ")), "")
        return ""

    bounds = {}
    for field in dataclasses.fields(config):
        number = type(getattr(config, field.name)) in (int, float)
        if number and (least := re.search(r"at least (\d+)\b", refusal(field.name, -1))):
            bounds[field.name] = int(least[1])
    assert len(bounds) >= 3
    for field, least in bounds.items():
        assert "at least" not in refusal(field, least), refusal(field, least)
        assert least == 0 or "at least" in refusal(field, least - 1), f"{field} = {least - 1} is taken"
