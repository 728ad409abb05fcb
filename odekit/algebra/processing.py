"""Processing: what putting a method between a map and its inverse can mend, and what it cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from odekit.algebra.lie import Words, WordSeries, unit, words
from odekit.algebra.numbers import is_zero
from odekit.algebra.splitting import Splitting, alphabet, exact_flow, product_of_flows
from odekit.algebra.trees import AlgebraError


@dataclass(frozen=True)
class Processing:
    """What conjugation makes of a kernel: the order it reaches, the field of the map applied first, what remains.

    exp(field) kernel exp(-field) is of order `order`; `remains` is its leading error, which no conjugation removes,
    in brackets of C (the whole field) and B, or of the Y.
    """

    order: int
    field: WordSeries
    remains: dict[str, Any]

    @property
    def norm(self) -> float:
        """The 2-norm of what remains."""
        return float(sum(float(v) ** 2 for v in self.remains.values())) ** 0.5


def processing(method: Splitting, maximum: int = 8, tolerance: Any = None) -> Processing:
    """The effective order of a kernel: the order of the best method conjugate to it, at most `maximum`.

    With C the whole field and the first letter, [C, P] runs through the basis brackets whose Lyndon word is C followed
    by a Lyndon word, so conjugation removes exactly these, and the other words are the conditions of effective order:
    2, 0, 1, 1, 3, 3, 9, 12 of them by order. Source: Butcher 1969; Blanes, Casas, Murua 2006; the choice of basis is
    derived here.

    >>> p = processing(Splitting("trotter", (("A", 1), ("B", 1))))
    >>> p.order, {k: str(v) for k, v in p.remains.items()}
    (2, {'[[C,B],B]': '1/24'})
    """
    import mpmath

    digits = method.decimals
    if tolerance is None:
        tolerance = 0 if digits is None else 10.0 ** (3 - digits)
    with mpmath.workdps((digits or 0) + 15):
        kernel = method if digits is None else method.at(digits + 15)
        for n, stays, before in _conjugated(kernel, maximum + 1):
            if n > maximum or not all(is_zero(v, tolerance) for v in stays.values()):
                return Processing(n - 1, before.log(), stays)
    raise AssertionError("unreachable")


def effective_residuals(method: Splitting, order: int) -> dict[str, Any]:
    """What no conjugation removes, in brackets to an order: zero to order p means effective order p."""
    return {k: v for _, stays, _ in _conjugated(method, order) for k, v in stays.items()}


def _conjugated(method: Splitting, order: int) -> Iterator[tuple[int, dict[str, Any], WordSeries]]:
    """Grade by grade: what conjugation leaves there, and the map that has been applied first so far."""
    if method.kind == "flows":
        if not set(method.parts) <= {"A", "B"}:
            raise AlgebraError(f"{method.name}: processing is known for two parts A and B, not {method.parts}")
        table = words(order, ("C", "B"))
    else:
        table = alphabet(method, order)
    kernel, exact, before = product_of_flows(method, table), exact_flow(table), unit(table)
    for n in range(1, order + 1):
        error = table.coordinates((kernel - exact).coefficients, n)  # the first that stays is that of the logarithm
        mended, stays = _split(table, error)
        yield n, {table.bracket(i): v for i, v in stays.items()}, before
        if any(v != 0 for v in mended.values()):
            step = table.element(mended)
            kernel = step.exp() * kernel * (-step).exp()
            before = step.exp() * before


def _split(table: Words, error: Mapping[int, Any]) -> tuple[dict[int, Any], dict[int, Any]]:
    """Coordinates that conjugation removes, by the word it needs; and the others."""
    mended, stays = {}, {}
    for i, v in error.items():
        w = table.words[i]
        rest = table.ids.get(w[1:], 0)
        if w[0] == 0 and rest and rest in table.lyndon[table.grades[rest]]:
            mended[rest] = v
        else:
            stays[i] = v
    return mended, stays
