"""Exam results as text for a terminal and as plain values for JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from . import summary
from .definition import HALVES
from .known_answers import KnownAnswer
from .runner import ExamResult, Score

_KINDS = ("several inputs", "one input")


def text_report(results: Sequence[ExamResult], answers: Sequence[KnownAnswer] = (), *, law: str = "unsl") -> str:
    """All tables, for people. `law` is the one that the ratios and win rates are about, where it took part."""
    parts = []
    if answers:
        parts.append("KNOWN ANSWERS\n" + grid(*known_answer_rows(answers)))
        parts += note_lines(answers)
    for kind in _KINDS:
        for half in HALVES:
            some = [r for r in results if r.exam.kind == kind and r.exam.half == half]
            if some:
                parts.append(f"\n{kind.upper()}, {half} half: held-out RMSLE ± root standard log error, * = least")
                parts.append(grid(*exam_rows(some)))
    for kind in _KINDS:
        for words, some in halves(results, kind):
            parts.append(f"\nSUMMARY, {kind}, {words}")
            parts.append(grid(*law_rows(some)))
            if any(r.score(law) for r in some):
                parts.append(f"\nheld-out error of {law} to that of others, geometric mean, paired standard error")
                parts.append(grid(*ratio_rows(some, law)))
                parts.append(f"\nexams on which {law} extrapolates best")
                parts.append(grid(*win_rows(some, law)))
    left_out = excluded_lines(results)
    if left_out:
        parts.append("\nROWS LEFT OUT\n" + "\n".join(left_out))
    reasons = [f"  {r.exam.name}: {r.reason}" for r in results if r.reason]
    if reasons:
        parts.append("\nNOT HELD\n" + "\n".join(reasons))
    failures = failure_lines(results)
    if failures:
        parts.append("\nLAWS WITHOUT A SCORE\n" + "\n".join(failures))
    return "\n".join(parts)


def halves(results: Sequence[ExamResult], kind: str) -> list[tuple[str, list[ExamResult]]]:
    """(words, results) for each half of one kind of exam that was held, and for both together."""
    some = [r for r in results if r.exam.kind == kind and r.scores]
    split = [(f"{half} half", [r for r in some if r.exam.half == half]) for half in HALVES]
    split = [(words, part) for words, part in split if part]
    return split + ([("both halves", some)] if len(split) > 1 else [])


def known_answer_rows(answers: Sequence[KnownAnswer]) -> tuple[list[str], list[list[str]]]:
    rows = []
    for a in answers:
        verdict = "agrees" if a.agrees else "DIFFERS"
        if math.isnan(a.published):
            verdict = "not checked"
        elif math.isinf(a.within):
            verdict = "other protocol"
        rows.append([a.check, a.quantity, f"{a.published:.6g}", f"{a.ours:.6g}", verdict])
    return ["check", "quantity", "published", "ours", ""], rows


def note_lines(answers: Sequence[KnownAnswer]) -> list[str]:
    """Each note once, with the quantities that it is about."""
    notes: dict[str, list[str]] = {}
    for a in answers:
        if a.note:
            notes.setdefault(a.note, []).append(a.quantity)
    return [f"  {', '.join(dict.fromkeys(quantities))}: {note}" for note, quantities in notes.items()]


def exam_rows(results: Sequence[ExamResult]) -> tuple[list[str], list[list[str]]]:
    """One line an exam, one column a law that has a score somewhere."""
    names = list(dict.fromkeys(s.law for r in results for s in r.scores if r.score(s.law)))
    rows = []
    for result in results:
        best = result.ranked[0].law if result.ranked else ""
        cells = [_cell(result.score(name), star=name == best) for name in names]
        rows.append([result.exam.name, f"{result.rows_fit}/{result.rows_held_out}", *cells])
    return ["exam", "fit/out", *names], rows


def law_rows(results: Sequence[ExamResult]) -> tuple[list[str], list[list[str]]]:
    rows = [
        [
            s.law,
            str(s.exams),
            str(s.wins),
            f"{s.error:.4f}",
            f"{s.coverage_50:.0%}",
            f"{s.coverage:.0%}",
            f"{s.seconds:.1f}",
        ]
        for s in summary.by_law(results)
        if s.exams
    ]
    return ["law", "exams", "best on", "error (geo. mean)", "50% interval holds", "90%", "seconds"], rows


def ratio_rows(results: Sequence[ExamResult], law: str) -> tuple[list[str], list[list[str]]]:
    rivals = [s.law for s in summary.by_law(results) if s.exams and s.law != law]
    ratios = [summary.ratio(results, law, rival) for rival in rivals] + [summary.ratio_to_best_other(results, law)]
    return [f"{law} to", "ratio", "wins"], [
        [r.rival, f"{r.value:.3f}" + (f" ± {r.error:.3f}" if r.exams > 1 else ""), f"{r.wins} of {r.exams}"]
        for r in ratios
        if r.exams
    ]


def win_rows(results: Sequence[ExamResult], law: str) -> tuple[list[str], list[list[str]]]:
    rows = [
        [
            w.domain,
            f"{w.wins} of {w.exams}",
            f"{w.value:.1%}",
            f"{w.rival} {w.rival_wins / w.exams:.1%}" if w.rival else "",
            "" if w.paper is None else f"{w.paper:.2%}",
        ]
        for w in summary.win_rates(results, law)
    ]
    return ["domain", "best on", "rate", "most of the others", "paper, on its own tasks"], rows


def excluded_lines(results: Sequence[ExamResult]) -> list[str]:
    """Exams of which rows were left out, by rule."""
    return [
        f"  {r.exam.name}: " + ", ".join(f"{count} {rule}" for rule, count in r.excluded.items() if count)
        for r in results
        if any(r.excluded.values())
    ]


def failure_lines(results: Sequence[ExamResult]) -> list[str]:
    """Reasons, each once, with the number of exams it holds for."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for result in results:
        for score in result.scores:
            if score.reason:
                # What the table lacks differs by exam, what the law needs does not.
                reasons.setdefault((score.law, score.reason.split("; the table has")[0]), []).append(result.exam.name)
    return [
        f"  {law} ({exams[0] if len(exams) == 1 else f'{len(exams)} exams, such as {exams[0]}'}): {reason}"
        for (law, reason), exams in reasons.items()
    ]


def as_json(results: Sequence[ExamResult], answers: Sequence[KnownAnswer] = (), *, law: str = "unsl") -> dict[str, Any]:
    """Everything but the predictions, as values that `json` can write; not-a-number is None."""
    summaries = []
    for kind in _KINDS:
        for words, some in halves(results, kind):
            rivals = [s.law for s in summary.by_law(some) if s.exams and s.law != law]
            summaries.append(
                {
                    "kind": kind,
                    "half": words,
                    "laws": [asdict(s) for s in summary.by_law(some)],
                    "ratios": [asdict(summary.ratio(some, law, rival)) for rival in rivals]
                    + [asdict(summary.ratio_to_best_other(some, law))],
                    "win_rates": [asdict(w) | {"value": w.value} for w in summary.win_rates(some, law)],
                }
            )
    return _plain(
        {
            "known_answers": [asdict(a) | {"agrees": a.agrees} for a in answers],
            "summaries": summaries,
            "exams": [
                {
                    "name": r.exam.name,
                    "domain": r.exam.domain,
                    "kind": r.exam.kind,
                    "half": r.exam.half,
                    "source": r.exam.source.url,
                    "rows": r.exam.rows,
                    "held_out": r.exam.held_out,
                    "rows_fit": r.rows_fit,
                    "rows_held_out": r.rows_held_out,
                    "excluded": dict(r.excluded),
                    "reason": r.reason,
                    "laws": [
                        {
                            "law": s.law,
                            "status": s.status,
                            "reason": s.reason,
                            "structure": s.structure,
                            "rmsle_fit": s.rmsle_fit.value if s.rmsle_fit else None,
                            "rmsle_held_out": s.rmsle_held_out.value if s.rmsle_held_out else None,
                            "rmsle_held_out_error": s.rmsle_held_out.error if s.rmsle_held_out else None,
                            "coverage": s.coverage,
                            "coverage_50": s.coverage_50,
                            "seconds": s.seconds,
                            "parameters": dict(s.coefficients),
                        }
                        for s in r.scores
                    ],
                }
                for r in results
            ],
        }
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _cell(score: Score | None, star: bool) -> str:
    if score is None or score.rmsle_held_out is None:
        return "-"
    held = score.rmsle_held_out
    return f"{held.value:.4f}±{held.error:.4f}{'*' if star else ' '}"


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned, the first to the left, the others to the right."""
    table = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[k]) for row in table) for k in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = [
            text.ljust(w) if k == 0 else text.rjust(w) for k, (text, w) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join([line(table[0]), "  ".join("-" * w for w in widths), *(line(row) for row in table[1:])])
