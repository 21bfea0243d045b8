"""The equation of a fit as mathematics that a browser sets: MathML with the fitted numbers in it, a line each.

Reads the coefficients in the table's own units, by the names that each law gives them. A law that is not known here has
no equation on the page, and its coefficients all the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

NAMESPACE = "http://www.w3.org/1998/Math/MathML"
Names = Sequence[str]
Numbers = Mapping[str, float]


def equation(law: str, coefficients: Numbers, columns: Names, structure: str) -> tuple[str, ...]:
    """Lines of MathML for a law of `fitting`, or none. structure: says which column a law of one input reads."""
    writer = _WRITERS.get(law)
    if writer is None or not coefficients:
        return ()
    try:
        lines = writer(coefficients, columns, structure)
    except KeyError:  # a law of that name with other coefficients
        return ()
    return tuple(f'<math display="block" xmlns="{NAMESPACE}"><mrow>{line}</mrow></math>' for line in lines)


def _unsl(c: Numbers, columns: Names, _: str) -> list[str]:
    good, lines = [], []
    if "b" in c:
        good.append(_symbol("K"))
        factors = [_power(c["b"], {name: c[f"c_{name}"] for name in columns if f"c_{name}" in c})]
        for i in range(1, 1 + sum(name[0] == "d" and name[1:].isdigit() for name in c)):
            along = _power(1.0, {name: c[f"w{i}_{name}"] for name in columns if f"w{i}_{name}" in c})
            inside = (
                _number(1.0) + _plus() + _raised(_brackets(_over(along, _number(c[f"d{i}"]))), _over_one(c[f"f{i}"]))
            )
            factors.append(_raised(_brackets(inside), _number(-c[f"c{i}"] * c[f"f{i}"])))
        lines.append(_symbol("K") + _equals() + _times().join(factors))
    limited = [f"b_{name}" for name in columns if f"b_{name}" in c]
    if limited:
        good.append(_symbol("B"))
        terms = [_power(c[one], {one[2:]: c[f"beta_{one[2:]}"]}) for one in limited]
        lines.append(_symbol("B") + _equals() + _plus().join(terms))
    harms = [f"{side}_{name}" for side in ("large", "small") for name in columns if f"{side}_{name}" in c]
    if harms:
        good.append(_symbol("H"))
        terms = [_power(c[one], {name: c[f"{one}_{name}"] for name in columns}) for one in harms]
        lines.append(_symbol("H") + _equals() + _plus().join(terms))
    learned = _plus().join(good)
    caps = [_over("<mn>1</mn>", _number(c["plateau"]))] if "plateau" in c else []
    if "limit" in c:
        (name,) = (name for name in columns if f"limit_{name}" in c)
        caps.append(_over("<mn>1</mn>", _symbol("L")))
        lines.append(_symbol("L") + _equals() + _power(c["limit"], {name: c[f"limit_{name}"]}))
    if caps:
        learned = _inverse([_over("<mn>1</mn>", learned), *caps])
    opposing = [k for k in range(1, 9) if f"o{k}" in c]
    if opposing:
        learned += _plus() + _symbol("O")
        terms = [_power(c[f"o{k}"], {name: c[f"o{k}_{name}"] for name in columns}) for k in opposing]
        lines.append(_symbol("O") + _equals() + _plus().join(terms))
    if math.isfinite(c.get("aM", math.inf)):
        learned = _inverse([_over("<mn>1</mn>", _number(c["aM"])), _over("<mn>1</mn>", learned)])
    return [_symbol("y") + _equals() + _number(c["a0"]) + _plus() + learned, *lines]


def _additive(c: Numbers, columns: Names, _: str) -> list[str]:
    terms = [_power(c[f"A_{name}"], {name: -c[f"alpha_{name}"]}) for name in columns if f"A_{name}" in c]
    return [_symbol("y") + _equals() + _plus().join([_number(c["E"]), *terms])]


def _one_input(write: Callable[[Numbers, str], str]) -> Callable[[Numbers, Names, str], list[str]]:
    def lines(c: Numbers, columns: Names, structure: str) -> list[str]:
        (column,) = [name for name in columns if structure == f"in {name}" or structure.startswith(f"in {name},")][:1]
        return [_symbol("y") + _equals() + write(c, column)]

    return lines


def _bnsl(c: Numbers, x: str) -> str:
    factors = [_power(c["b"], {x: -c["c0"]})]
    for i in range(1, 1 + sum(name[0] == "d" for name in c)):
        inside = _over(_column(x), _number(c[f"d{i}"]))
        inside = "<mn>1</mn>" + _plus() + _raised(_brackets(inside), _over_one(c[f"f{i}"]))
        factors.append(_raised(_brackets(inside), _number(-c[f"c{i}"] * c[f"f{i}"])))
    return _number(c["a"]) + _plus() + _times().join(factors)


def _data_constrained(c: Numbers, _: Names, __: str) -> list[str]:
    beta = c.get("beta", c["alpha"])
    worth = [_power(c["A"], {"N′": -c["alpha"]}), _power(c["B"], {"D′": -beta})]
    return [_symbol("y") + _equals() + _plus().join([_number(c["E"]), *worth])]


_WRITERS: dict[str, Callable[[Numbers, Names, str], list[str]]] = {
    **dict.fromkeys(("unsl", "a1", "a2", "a3"), _unsl),
    "cf": _additive,
    "dc": _data_constrained,
    "bnsl": _one_input(_bnsl),
    "m1": _one_input(lambda c, x: _power(c["b"], {x: -c["c"]})),
    "m2": _one_input(lambda c, x: _number(c["e"]) + _plus() + _power(c["b"], {x: -c["c"]})),
}


def _power(amplitude: float, exponents: Mapping[str, float]) -> str:
    """b times the columns, each with its exponent; an exponent of 0 is left out, an amplitude of 1 too."""
    factors = [] if amplitude == 1 and exponents else [_number(amplitude)]
    factors += [_raised(_column(name), _number(value)) for name, value in exponents.items() if value]
    return _times().join(factors) or "<mn>1</mn>"


def _number(value: float, digits: int = 3) -> str:
    sign = '<mo form="prefix">−</mo>' if value < 0 else ""
    size = abs(value)
    if size and not 1e-3 <= size < 1e5 and math.isfinite(size):
        power = math.floor(math.log10(size))
        mantissa = f"{size / 10.0**power:.{digits}g}" if power > -300 else "1"
        tens = f"<msup><mn>10</mn><mrow>{_number(float(power))}</mrow></msup>"
        return f"<mrow>{sign}<mn>{mantissa}</mn><mo>×</mo>{tens}</mrow>"
    return f"<mrow>{sign}<mn>{size:.{digits}g}</mn></mrow>" if math.isfinite(size) else f"<mrow>{sign}<mi>∞</mi></mrow>"


def _column(name: str) -> str:
    return f'<mi mathvariant="normal" class="column">{escape(name.replace("_", " "))}</mi>'


def _symbol(letter: str) -> str:
    return f"<mi>{letter}</mi>"


def _equals() -> str:
    return "<mo>=</mo>"


def _plus() -> str:
    return "<mo>+</mo>"


def _times() -> str:
    return '<mo lspace="0.15em" rspace="0.15em">·</mo>'


def _over(top: str, bottom: str) -> str:
    return f"<mfrac><mrow>{top}</mrow><mrow>{bottom}</mrow></mfrac>"


def _over_one(value: float) -> str:
    """1 / value as a number."""
    return _number(1 / value) if value else "<mi>∞</mi>"


def _brackets(inside: str) -> str:
    return f"<mrow><mo>(</mo>{inside}<mo>)</mo></mrow>"


def _raised(base: str, exponent: str) -> str:
    return f"<msup>{base}<mrow>{exponent}</mrow></msup>"


def _inverse(terms: Sequence[str]) -> str:
    return _raised(_brackets(_plus().join(terms)), "<mo>−</mo><mn>1</mn>")
