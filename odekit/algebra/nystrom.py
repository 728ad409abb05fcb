"""Brackets of fields of Nystroem's kind: A quadratic in the momenta (kinetic energy), B a function of position."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Any

from odekit.algebra.lie import Words, WordSeries, words

Row = tuple[int, tuple[tuple[int, Fraction], ...]]


@cache
def vanishing(order: int, grade: int) -> tuple[Row, ...]:
    """The brackets of a grade that vanish: pairs of a Lyndon word and what its bracket equals in others.

    A bracket with a letters A and b letters B is of degree a - b + 1 in the momenta: below 0 it vanishes, and with it
    its brackets with A. Source: McLachlan 1995; Blanes, Casas, Murua 2008 (the counts).

    >>> from odekit.algebra.lie import dimension
    >>> [dimension(n) - len(vanishing(8, n)) for n in range(1, 9)]
    [2, 1, 2, 2, 4, 5, 10, 14]
    """
    table = words(order)
    level = table.lyndon[grade]
    rows = [{i: Fraction(int(i == j)) for i in level} for j in level if 2 * sum(table.words[j]) > grade + 1]
    for row in vanishing(order, grade - 1) if grade > 1 else ():
        rows += [_bracketed(table, x, row, grade) for x in (0, 1)]
    found: list[tuple[int, dict[int, Fraction]]] = []
    for c in reversed(level):  # Gauss and Jordan, the words with most B in front first
        pivot = next((r for r in rows if r[c]), None)
        if pivot is None:
            continue
        rows = [r for r in rows if r is not pivot]
        pivot = {k: v / pivot[c] for k, v in pivot.items()}
        rows = [{k: v - r[c] * pivot[k] for k, v in r.items()} for r in rows]
        found = [(d, {k: v - r[c] * pivot[k] for k, v in r.items()}) for d, r in found] + [(c, pivot)]
    return tuple((c, tuple((k, -v) for k, v in r.items() if k != c and v)) for c, r in found)


def _bracketed(table: Words, x: int, row: Row, grade: int) -> dict[int, Fraction]:
    """The coordinates of [x, e], e a Lie element of a grade less given as a row of `vanishing`."""
    element = table.element({row[0]: 1} | {k: -v for k, v in row[1]}).coefficients
    values: dict[int, Fraction] = {}
    for i in table.lyndon[grade]:
        w = table.words[i]
        first = element[table.ids[w[1:]]] if w[0] == x else 0
        values[i] = first - (element[table.ids[w[:-1]]] if w[-1] == x else 0)
    return table.coordinates(values, grade)


def reduced(table: Words, error: WordSeries, grade: int) -> dict[str, Any]:
    values = table.coordinates(error.coefficients, grade)
    for word, rest in vanishing(table.order, grade):
        lost = values.pop(word)
        for k, v in rest:
            values[k] = values[k] + lost * v
    return {table.bracket(i): v for i, v in values.items()}
