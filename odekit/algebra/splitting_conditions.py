"""The order conditions of splitting and composition methods: one for each Lyndon word, as sums over the steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby
from math import factorial
from typing import Any

from odekit.algebra.lie import Words, dimension, words
from odekit.algebra.nystrom import vanishing
from odekit.algebra.splitting import KINDS, MAX_ORDER, Splitting, exact_flow, series
from odekit.algebra.trees import AlgebraError
from odekit.exceptions import unknown

SYMBOLS = {"A": "a", "B": "b", "S": "w", "M": "a", "M*": "b"}


@dataclass(frozen=True)
class SplittingCondition:
    r"""The coefficient of a Lyndon word in the product of all flows must be that of the exact flow.

    Steps of flows are a_1 A, b_1 B, a_2 A, ...; those of compositions gamma_1, gamma_2, ..., with signs eps (-1 for the
    adjoint, 1 else) where method and adjoint are composed.

    >>> condition = splitting_conditions(2)[2]
    >>> print(condition, condition.latex(), condition.python(), sep="\n")
    AB: [A,B] = 1/2
    \sum_{i \le j} a_{i} b_{j} = \frac{1}{2}
    sum(a[i] * b[j] for i in range(s) for j in range(i, s)) - 1/2
    """

    word: str
    bracket: str
    order: int
    value: Fraction
    kind: str
    letters: tuple[tuple[str, int], ...] = field(repr=False)  # with their grades
    weight: Any = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.word}: {self.bracket} = {self.value}"

    @property
    def residual(self) -> Any:
        """Left side less right side as a SymPy expression in the steps; raises AlgebraError without a pattern."""
        if self.weight is None:
            raise AlgebraError(f"{self.word}: which steps? ask for splitting_conditions(..., pattern=...)")
        import sympy

        weight = self.weight.as_expr() if hasattr(self.weight, "as_expr") else sympy.sympify(self.weight)
        return weight - sympy.Rational(self.value.numerator, self.value.denominator)

    def _terms(self) -> Iterator[list[tuple[str, int, int]]]:
        """Ways in which the steps can share the word: blocks (letter, grade, length), each within one step."""
        runs = [list(g) for _, g in groupby(self.letters)] if self.kind == "flows" else [list(self.letters)]
        ways: list[list[tuple[str, int, int]]] = [[]]
        for run in runs:
            ways = [way + blocks for way in ways for blocks in _compositions(run)]
        return iter(ways)

    def latex(self) -> str:
        """The condition for any number of steps, as strict sums; equal steps give the terms with factorials."""
        terms = []
        for way in self._terms():
            names = "ijklmnpqrstu"[: len(way)]
            relations = zip(self._relations(way), names[1:], strict=True)
            bounds = names[0] + "".join(f" {_LATEX[r]} {n}" for r, n in relations)
            divisor = _divisor(way)
            front = rf"\frac{{1}}{{{divisor}}} " if divisor > 1 else ""
            factors = []
            for (x, grade, length), n in zip(way, names, strict=True):
                name = SYMBOLS.get(x, x.lower()) if self.kind == "flows" else r"\gamma"
                sign = rf"\varepsilon_{{{n}}} " if self.kind == "adjoint" and (grade + length) % 2 else ""
                factors.append(f"{sign}{name}_{{{n}}}" + (f"^{{{grade}}}" if grade > 1 else ""))
            terms.append(rf"{front}\sum_{{{bounds}}} {' '.join(factors)}")
        return f"{' + '.join(terms)} = {_fraction(self.value)}"

    def python(self) -> str:
        """The residual as Python, for lists of steps a, b, ... with s entries (gamma and eps for compositions)."""
        terms = []
        for way in self._terms():
            names = "ijklmnpqrtuv"[: len(way)]
            loops = [f"for {names[0]} in range(s)"]
            for r, before, n in zip(self._relations(way), names, names[1:], strict=False):
                loops.append(f"for {n} in range({before}{'' if r == '<=' else ' + 1'}, s)")
            factors = []
            for (x, grade, length), n in zip(way, names, strict=True):
                name = SYMBOLS.get(x, x.lower()) if self.kind == "flows" else "gamma"
                sign = f"eps[{n}] * " if self.kind == "adjoint" and (grade + length) % 2 else ""
                factors.append(f"{sign}{name}[{n}]" + (f"**{grade}" if grade > 1 else ""))
            divisor = _divisor(way)
            terms.append(f"sum({' * '.join(factors)} {' '.join(loops)})" + (f" / {divisor}" if divisor > 1 else ""))
        return " + ".join(terms) + (f" - {self.value}" if self.value else "")

    def _relations(self, way: Sequence[tuple[str, int, int]]) -> list[str]:
        """How the index of each block stands to the next: in step i, A comes before B."""
        if self.kind != "flows":
            return ["<"] * (len(way) - 1)
        return ["<=" if x < y else "<" for (x, *_), (y, *_) in zip(way, way[1:], strict=False)]


_LATEX = {"<": "<", "<=": r"\le"}


def _compositions(run: Sequence[tuple[str, int]]) -> list[list[tuple[str, int, int]]]:
    """A run of letters cut into consecutive blocks in every way."""
    if not run:
        return [[]]
    found = []
    for k in range(1, len(run) + 1):
        head = (run[0][0], sum(g for _, g in run[:k]), k)
        found += [[head, *rest] for rest in _compositions(run[k:])]
    return found


def _divisor(way: Sequence[tuple[str, int, int]]) -> int:
    divisor = 1
    for _, _, length in way:
        divisor *= factorial(length)
    return divisor


def _fraction(value: Fraction) -> str:
    return str(value) if value.denominator == 1 else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def splitting_conditions(
    order: int,
    kind: str = "flows",
    pattern: Sequence[str] | None = None,
    parts: Sequence[str] = ("A", "B"),
) -> list[SplittingCondition]:
    """The conditions to `order`, from the lowest up; with polynomials in the steps where a `pattern` is given.

    `kind`: "flows" of the `parts` of a field, "adjoint" (a method and its adjoint) or "symmetric" (a symmetric method).
    `pattern` lists the letters of the steps, as "ABA" or ["M*", "M"]; the steps are named a1, b1, a2, ..., in the order
    in which they occur, of a method M, its adjoint M* and a symmetric method S: a, b and w.
    Source: Murua, Sanz-Serna 1999; of "flows" there are as many of an order as `lie.dimension` says.

    >>> [len([c for c in splitting_conditions(6) if c.order == n]) for n in range(1, 7)]
    [2, 1, 2, 3, 6, 9]
    >>> splitting_conditions(3, pattern="ABA")[3].residual
    a1**2*b1/2 - 1/6
    """
    if kind not in KINDS:
        raise unknown("kind of splitting", kind, KINDS)
    if not 1 <= order <= MAX_ORDER:
        raise AlgebraError(f"order {order} of a splitting method: expected 1 to {MAX_ORDER}")
    if pattern is not None:
        method = symbolic(pattern)
        if kind != method.kind:
            raise AlgebraError(f"the pattern {''.join(pattern)} composes {method.kind}, not {kind}")
        found = series(method, order)
        table = found.table
    else:
        step = 1 if kind == "adjoint" else 2
        letters = tuple(parts) if kind == "flows" else tuple(f"Y{n}" for n in range(1, order + 1, step))
        found, table = None, words(order, letters)
    exact = exact_flow(table).coefficients
    return [
        _condition(table, i, Fraction(exact[i]), kind, None if found is None else found.coefficients[i])
        for level in table.lyndon
        for i in level
    ]


def _condition(table: Words, i: int, value: Fraction, kind: str, weight: Any) -> SplittingCondition:
    letters = tuple((table.letters[x], table.weights[x]) for x in table.words[i])
    return SplittingCondition(table.text(i), table.bracket(i), int(table.grades[i]), value, kind, letters, weight)


def symbolic(pattern: Sequence[str]) -> Splitting:
    """A method with a pattern of letters whose steps are generators of a polynomial ring: a1, b1, a2, ...

    >>> [str(v) for _, v in symbolic("ABA").steps]
    ['a1', 'b1', 'a2']
    """
    from sympy import QQ, ring

    counts: dict[str, int] = {}
    names = []
    for x in pattern:
        symbol = SYMBOLS.get(x, x.lower())
        counts[symbol] = counts.get(symbol, 0) + 1
        names.append(f"{symbol}{counts[symbol]}")
    _, *generators = ring(names, QQ)
    return Splitting("".join(pattern), tuple(zip(pattern, generators, strict=True)))


def count(order: int, kind: str = "flows", nystrom: bool = False) -> int:
    """How many conditions an order adds.

    >>> [count(n, "symmetric") for n in range(1, 11)], [count(n, nystrom=True) for n in range(1, 9)]
    ([1, 0, 1, 1, 2, 2, 4, 5, 8, 11], [2, 1, 2, 2, 4, 5, 10, 14])
    """
    if nystrom:
        return dimension(order) - len(vanishing(order, order))
    step = 1 if kind == "adjoint" else 2
    letters = ("A", "B") if kind == "flows" else tuple(f"Y{n}" for n in range(1, order + 1, step))
    return dimension(order, letters)
