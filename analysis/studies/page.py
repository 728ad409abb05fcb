"""The tables of docs/studies.md, made of the rows of the studies; they are in NAME.md as well."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from analysis.studies.budgets import CONTENDERS
from analysis.studies.comparison import Table, markdown_table
from analysis.studies.conjugate import VARIANTS, best_rate
from analysis.studies.laws import EXACT, noise_of
from analysis.studies.phase_space import SPLITTINGS, WORDS

FIRST = 3  # methods of a budget where only the best are told


def frames(table: Table) -> str:
    """q by q: errors in the frame of R with order and constant, and those in the frame of L."""
    head = ["q", "R: N = 10", "20", "40", "80", "160", "order", "constant", "L: N = 10", "20", "160", "L over R at 160"]
    lines = []
    for q in range(4):
        R, L = ({row["steps"]: row for row in table.where(method=f"gddim-{q}", frame=frame)} for frame in "RL")
        line = [_short(R[n]["error"]) for n in (10, 20, 40, 80, 160)]
        line += [f"{R[160]['order']:.2f}", _short(R[160]["constant"])]
        line += [_short(L[n]["error"]) for n in (10, 20, 160)]
        lines.append([q, *line, f"{L[160]['error'] / R[160]['error']:.0f}"])
    return markdown_table(head, lines)


def naive_and_reduced(table: Table) -> str:
    """Errors on P2, a line a budget."""
    names = [label for label, _, _ in SPLITTINGS]
    rows = table.where(problem="P2")
    budgets = sorted({row["evaluations"] for row in rows})
    found = {(row["method"], row["evaluations"]): row["error"] for row in rows}
    return markdown_table(["evaluations", *names], [[n, *(found[name, n] for name in names)] for n in budgets])


def laws(table: Table) -> str:
    """Naive and reduced, a line a word; in italics what is within the noise of sampling."""
    budgets = sorted({row["evaluations"] for row in table.rows if row.get("evaluations")})
    head = ["naive / reduced", *(f"Frechet of x, {budgets[0]}", *map(str, budgets[1:]))]
    head += [f"W2, {budgets[0]}", *map(str, budgets[1:]), "published FID, 50"]
    noise, lines = {"Frechet of x": 0.0, "W2": noise_of(table, "W2")}, []
    for word in WORDS:
        naive, reduced = (table.where(word=word, kind=kind) for kind in ("naive", "reduced"))
        pairs = [
            " / ".join(_marked(one[column], noise[column]) for one in (a, b))
            for column in ("Frechet of x", "W2")
            for a, b in zip(naive, reduced, strict=True)
        ]
        published = [row["published FID"] for row in (naive[0], reduced[0])]
        lines.append([f"N{word} / R{word}", *pairs, " / ".join(map(str, published)) if published[0] else ""])
    return markdown_table(head, lines)


def sweep(table: Table) -> str:
    """The best lambda of each variant and budget, and what has no lambda."""
    budgets = sorted({row["evaluations"] for row in table.rows})
    lines = []
    for label, _, _ in VARIANTS:
        line = []
        for n in budgets:
            best = best_rate(table, label, n)
            (none,) = table.where(variant=label, evaluations=n, **{"lambda": 0.0})
            line.append(f"{best['error']:.3g} at {best['lambda']:g} ({none['error']:.3g} at 0)")
        lines.append(["CVV" if label == "II, conjugate Verlet" else f"lambda-DDIM-{label}", *line])
    for name in ("gddim-0", "rse", "rvv"):
        lines.append([name, *(table.where(variant=name, evaluations=n)[0]["error"] for n in budgets)])
    return markdown_table(["method", *(f"{n} evaluations" for n in budgets)], lines)


def budgets(table: Table) -> str:
    """Every method, the least of a column in bold; in italics what an exact sample exceeds in one of twenty."""
    counts = sorted({row["evaluations"] for row in table.rows if row.get("evaluations")})
    columns = [("error", n) for n in counts] + [(m, n) for m in ("W2", "Frechet") for n in counts[:3]]
    least = {(m, n): min(_number(row, m) for row in table.where(evaluations=n)) for m, n in columns}
    noise = {m: noise_of(table, m) for m, _ in columns}

    def cell(row: Mapping[str, Any], measure: str, n: int) -> str:
        value = _number(row, measure)
        best = value == least[measure, n] and value > noise[measure]
        return f"**{_short(value)}**" if best else _marked(value, noise[measure])

    lines = []
    for one in CONTENDERS[table.name.partition("-")[2] or "psld"]:
        rows = {row["evaluations"]: row for row in table.where(method=one.label)}
        lines.append([one.label, *(cell(rows[n], m, n) for m, n in columns)])
    (exact,) = table.where(method=EXACT)
    spread = [f"{exact[m]:.2g} to {exact[f'{m} largest']:.2g}" for m, _ in columns[len(counts) :]]
    lines.append([EXACT, *[""] * len(counts), *spread])
    return markdown_table(["method", *(f"{m}, {n}" for m, n in columns)], lines)


def best(table: Table) -> str:
    """The three best of each budget: by trajectory error, and by W2 without the noise of sampling."""
    lines = []
    for n in sorted({row["evaluations"] for row in table.rows if row.get("evaluations")}):
        line: list[Any] = [n]
        for measure in ("error", "W2 paired"):
            rows = sorted(table.where(evaluations=n), key=lambda row: _number(row, measure))[:FIRST]
            line.append(", ".join(f"{row['method']} {_short(row[measure])}" for row in rows))
        for measure in ("W2", "Frechet"):
            rows = [row for row in table.where(evaluations=n) if _number(row, measure) <= noise_of(table, measure)]
            line.append(len(rows))
        lines.append(line)
    return markdown_table(
        ["evaluations", "trajectory error", "W2 paired", "W2 as of exact samples", "Frechet as of exact samples"], lines
    )


def orders(table: Table) -> str:
    """Order and constant with their intervals."""
    lines = []
    for row in table.rows:
        order = f"{row['order']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
        constant = "" if row["p"] is None else f"{_short(row['C'])} ({_short(row['C low'])} to {_short(row['C high'])})"
        lines.append([row["method"], row["evaluations a step"], row["claim"], order, row["p"], constant])
    return markdown_table(["method", "evaluations a step", "order claimed", "measured", "p", "C"], lines)


def _number(row: Mapping[str, Any], measure: str) -> float:
    value = row.get(measure)
    return value if value is not None and math.isfinite(value) else math.inf


def _marked(value: float, noise: float) -> str:
    return f"*{_short(value)}*" if value <= noise else _short(value)


def _short(value: float) -> str:
    return "" if math.isinf(value) else f"{value:.2g}"
