"""What all recipes for Runge-Kutta methods share: exact linear solves, the proof of the order, the method file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from odekit.algebra.conditions import residuals
from odekit.algebra.derive.derivation import Derivation, Difference
from odekit.algebra.numbers import is_zero
from odekit.algebra.trees import AlgebraError
from odekit.exceptions import unknown

Matrix = Sequence[Sequence[Any]]


def whole(name: str, value: Any, known: Sequence[int]) -> int:
    """A whole number among the known ones, from an integer or its text; raises AlgebraError with the known ones."""
    text = str(value).strip()
    if isinstance(value, bool) or not text.lstrip("-").isdigit() or int(text) not in known:
        ends = f"{known[0]} to {known[-1]}" if len(known) > 2 else " or ".join(map(str, known))
        raise AlgebraError(f"{name} must be a whole number, {ends}, not {value!r}")
    return int(text)


def among(name: str, value: Any, known: Sequence[str]) -> str:
    """One of the known words; raises UnknownNameError with what is near."""
    if value not in known:
        raise unknown(name, value, known)
    return value


def number(name: str, value: Any) -> Any:
    """An exact number, from text, an integer or a Fraction, as SymPy has it; raises AlgebraError for what is none."""
    found = expression(value)
    if not found.is_number:
        raise AlgebraError(f"{name} must be a number, not {value!r}")
    return found


def expression(text: Any, *symbols: str) -> Any:
    """What a text spells, in the grammar of method files."""
    from odekit.expressions import parse

    return parse(str(text), symbols)


def tidy(value: Any) -> Any:
    """An expression in the form it is printed in: factored where it has symbols, no roots in denominators else."""
    import sympy

    value = sympy.sympify(value)
    return sympy.factor(value) if value.free_symbols else sympy.expand(sympy.radsimp(sympy.expand(value)))


def solved(equations: Sequence, unknowns: Sequence) -> dict[Any, Any]:
    """The solution of linear equations, each unknown an expression in the parameters and in those left free.

    Unknowns to the right stay free. Raises AlgebraError where there is none.
    """
    import sympy

    (solution,) = sympy.linsolve(list(equations), list(unknowns)) or ((),)
    if not solution:
        raise AlgebraError("the conditions contradict each other for these nodes: no method has them")
    return {x: tidy(value) for x, value in zip(unknowns, solution, strict=True)}


def quadrature(c: Sequence, order: int, b: Sequence) -> list:
    """The conditions sum b_i c_i^(k-1) = 1/k for k = 1, ..., order: Butcher's B(order)."""
    from sympy import Rational

    moments = [sum(b)] + [sum(w * x**k for w, x in zip(b, c, strict=True)) for k in range(1, order)]
    return [moment - Rational(1, k) for k, moment in enumerate(moments, start=1)]


def broken(A: Matrix, b: Sequence, order: int) -> list[str]:
    """The conditions to `order` that do not hold identically in the symbols; none where the order is proved."""
    gap = residuals(([list(row) for row in A], list(b)), order)
    return [str(t) for n in range(1, order + 1) for t, r in gap.of_order(n).items() if not is_zero(r)]


def proved(name: str, A: Matrix, b: Sequence, order: int) -> None:
    """Refuse coefficients that do not meet every condition to `order` identically in their symbols."""
    failing = broken(A, b, order)
    if failing:
        raise AlgebraError(f"{name} is not of order {order}: the condition of {failing[0]} does not hold")


def made(
    name: str,
    order: int,
    source: str,
    A: Matrix,
    b: Sequence,
    *,
    c: Sequence | None = None,
    parameters: Mapping[str, str] | None = None,
    embedded: tuple[Sequence, int] | None = None,
    digits: int | None = None,
    route: Sequence[str] = (),
    published: Sequence[Difference] = (),
) -> Derivation:
    """The Derivation of a tableau: rows of `A` short or full, entries expressions or decimals as text."""
    rows = [list(row) for row in A]
    for row in rows:
        while row and row[-1] == 0:
            row.pop()
    data: dict[str, Any] = {"name": name, "family": "runge-kutta", "order": order, "source": source}
    if digits is not None:
        data["digits"] = digits
    data["c"] = [str(x) for x in (map(tidy, map(sum, rows)) if c is None else c)]
    data["A"] = [[str(a) for a in row] for row in rows]
    data["b"] = [str(w) for w in b]
    if embedded is not None:
        data["b_embedded"], data["embedded_order"] = [str(w) for w in embedded[0]], embedded[1]
    if parameters:
        data["parameters"] = dict(parameters)
    return Derivation(data, tuple(route), tuple(published))


def beside(name: str, A: Matrix, b: Sequence, values: Mapping[str, Any] | None = None) -> Difference:
    """The derived coefficients, at values of their symbols, beside the tableau `name` of the catalogue."""
    import sympy

    from odekit.methods.files import get

    found = get(name)
    at = {sympy.Symbol(key): expression(value) for key, value in (values or {}).items()}
    where = ", ".join(f"{key} = {value}" for key, value in (values or {}).items())
    differing = []
    rows = [*(list(row) for row in A), list(b)]
    for i, (mine, theirs) in enumerate(zip(rows, [*found.exact.A, found.exact.b], strict=True), start=1):
        for j, entry in enumerate(theirs, start=1):
            derived = sympy.sympify(mine[j - 1] if j <= len(mine) else 0).subs(at)
            if not is_zero(tidy(derived - sympy.sympify(entry)), _printed(found)):
                place = f"b{j}" if i == len(rows) else f"a{i}{j}"
                differing.append(f"{place} is {tidy(derived)} here, {entry} there")
    return Difference(f"{name}{f' ({where})' if where else ''}", found.source, "; ".join(differing[:1]))


def _printed(found: Any) -> Any:
    from fractions import Fraction

    return 0 if found.digits is None else Fraction(1, 10 ** (found.digits - 2))
