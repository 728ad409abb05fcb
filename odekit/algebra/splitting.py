"""Splitting and composition methods: their order, exactly or to the digits known, and their errors.

A method is a list of flows, applied from left to right. Three kinds are told apart by the letters of their steps:

- "A", "B", ... are flows of the parts of the field (a splitting method); the exact flow is exp(A + B + ...);
- "M" is a step with some first-order method, "M*" one with its adjoint: exp(a Y1 + a^2 Y2 + ...) and
  exp(a Y1 - a^2 Y2 + ...); the exact flow is exp(Y1);
- "S" is a step with some symmetric method of second order, exp(a Y1 + a^3 Y3 + ...).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from math import factorial, prod
from typing import Any

import numpy as np

from odekit.algebra.lie import Words, WordSeries, concatenated, letter, words
from odekit.algebra.numbers import Algebraic, filled, is_symbolic, is_zero, numbers, plain
from odekit.algebra.nystrom import reduced
from odekit.algebra.trees import AlgebraError

MAX_ORDER = 12
KINDS = ("flows", "adjoint", "symmetric")


def exact_number(value: Any) -> Any:
    """A coefficient as an exact number where it is one: text is parsed, integers become Fractions.

    >>> exact_number("1/3"), exact_number("1/(2-2**(1/3))")
    (Fraction(1, 3), 1/(2 - 2**(1/3)))
    """
    if isinstance(value, str):
        from odekit.expressions import parse

        value = parse(value)
    return plain(value)


@dataclass(frozen=True)
class Splitting:
    """A splitting or composition method: steps (letter, coefficient), applied from left to right.

    Coefficients are exact text, Fractions, floats, mpmath or SymPy numbers, or elements of any ring; `digits` says to
    how many decimals they are known (None: as given). `order` is the claim. `nystrom` methods are for A quadratic in
    the momenta and B a function of position, where [B,[B,[B,A]]] = 0.

    >>> strang = Splitting("strang", (("A", "1/2"), ("B", 1), ("A", "1/2")), order=2)
    >>> order_of(strang), {k: str(v) for k, v in error_terms(strang).items()}
    (2, {'[A,[A,B]]': '-1/24', '[[A,B],B]': '1/12'})
    """

    name: str
    steps: tuple[tuple[str, Any], ...]
    order: int = 0
    source: str = ""
    digits: int | None = None
    nystrom: bool = False

    def __post_init__(self) -> None:
        if not self.steps:
            raise AlgebraError(f"{self.name}: a method without steps")
        letters = {x for x, _ in self.steps}
        if letters & {"S", "M", "M*"} and not (letters == {"S"} or letters <= {"M", "M*"}):
            raise AlgebraError(f"{self.name}: steps {sorted(letters)} do not mix; expected S, or M and M*, or flows")

    @cached_property
    def kind(self) -> str:
        """What is composed: "flows", "adjoint" (a method and its adjoint) or "symmetric" (a symmetric method)."""
        letters = {x for x, _ in self.steps}
        return "symmetric" if letters == {"S"} else "adjoint" if letters <= {"M", "M*"} else "flows"

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The flows of a splitting method, in alphabetical order."""
        return tuple(sorted({x for x, _ in self.steps}))

    @cached_property
    def exact(self) -> tuple[Any, ...]:
        """The coefficients as exact numbers, where they are text."""
        return tuple(exact_number(a) for _, a in self.steps)

    def numbers(self, digits: int | None = None) -> tuple[Any, ...]:
        """The coefficients as numbers: as they are, or mpmath numbers of so many digits."""
        return self.exact if digits is None else tuple(to_digits(v, digits) for v in self.exact)

    @property
    def is_exact(self) -> bool:
        """Whether all coefficients are rational."""
        return all(isinstance(v, Fraction) for v in self.numbers())

    @cached_property
    def decimals(self) -> int | None:
        """To how many decimals the method can be tested: None for exactly, 60 for roots, fewer for floats."""
        import mpmath

        if self.digits is not None or self.is_exact:
            return self.digits
        if any(isinstance(v, float) for v in self.exact):
            return 14
        return mpmath.mp.dps - 2 if any(isinstance(v, mpmath.mpf) for v in self.exact) else 60

    def at(self, digits: int) -> Splitting:
        """The same method with mpmath coefficients; computed with inside `mpmath.workdps`."""
        return self._with(self.numbers(digits))

    def _with(self, values: Sequence[Any]) -> Splitting:
        return replace(self, steps=tuple((x, v) for (x, _), v in zip(self.steps, values, strict=True)))

    def adjoint(self) -> Splitting:
        """The steps in reverse order, each by its adjoint."""
        swap = {"M": "M*", "M*": "M"}
        steps = tuple((swap.get(x, x), v) for x, v in reversed(self.steps))
        return replace(self, name=f"{self.name}*", steps=steps)

    @property
    def is_symmetric(self) -> bool:
        """Whether the method is its own adjoint, step by step."""
        mine, other = self.flat(), self.adjoint().flat()
        same = [x for x, _ in mine] == [x for x, _ in other]
        return same and all(_vanishes(a - b, self.decimals) for (_, a), (_, b) in zip(mine, other, strict=True))

    def flat(self) -> tuple[tuple[str, Any], ...]:
        """The steps with exact coefficients, without zeros, neighbouring flows of the same part joined."""
        joined: list[tuple[str, Any]] = []
        for x, v in zip((x for x, _ in self.steps), self.numbers(), strict=True):
            if joined and joined[-1][0] == x and self.kind == "flows":
                v = joined.pop()[1] + v
            if not _vanishes(v):
                joined.append((x, v))
        return tuple(joined)

    def as_flows(self) -> Splitting:
        """A composition applied to the splitting of two parts: M = A B, M* = B A, S = A/2 B A/2; flows as they are.

        Its order is the same (McLachlan 1995).
        """
        if self.kind == "flows":
            return self
        steps: list[tuple[str, Any]] = []
        for (x, _), v in zip(self.steps, self.numbers(), strict=True):
            half = v / 2
            whole = {"M": [("A", v), ("B", v)], "M*": [("B", v), ("A", v)]}
            steps += whole.get(x, [("A", half), ("B", v), ("A", half)])
        return replace(self, steps=replace(self, steps=tuple(steps)).flat())

    @property
    def stages(self) -> int:
        """How often the costliest part is evaluated, where a last flow is shared with the next step."""
        steps = self.as_flows().flat()
        counts = {x: sum(y == x for y, _ in steps) for x in {x for x, _ in steps}}
        if len(steps) > 1 and steps[0][0] == steps[-1][0]:
            counts[steps[0][0]] -= 1
        return max(counts.values())


def _vanishes(value: Any, digits: int | None = None) -> bool:
    if isinstance(value, Fraction) and digits is None:
        return value == 0
    return bool(abs(to_digits(value, 60)) <= 10.0 ** -(digits or 50))


@lru_cache(maxsize=4096)
def to_digits(value: Any, digits: int) -> Any:
    """An exact number as an mpmath number; what is no rational or SymPy number is taken as it is."""
    import mpmath

    value = plain(value)
    if hasattr(value, "evalf"):
        value = plain(value.evalf(digits + 10))  # a zero in disguise comes back as an integer
    with mpmath.workdps(digits):
        if isinstance(value, Fraction):
            return mpmath.mpf(value.numerator) / value.denominator
        return mpmath.mpf(value._mpf_) if hasattr(value, "_mpf_") else value


# Series.


def alphabet(method: Splitting, order: int) -> Words:
    """The words a method is written in, to an order."""
    if not 1 <= order <= MAX_ORDER:
        raise AlgebraError(f"order {order} of a splitting method: expected 1 to {MAX_ORDER}")
    if method.kind == "flows":
        return words(order, method.parts)
    step = 1 if method.kind == "adjoint" else 2
    return words(order, tuple(f"Y{n}" for n in range(1, order + 1, step)))


def _weights(table: Words, x: str, a: Any) -> list[Any]:
    """The field of one step in the letters of a table: its coefficient of each."""
    if x in ("S", "M", "M*"):
        sign = -1 if x == "M*" else 1
        return [prod([a] * g, start=sign ** (g + 1)) for g in table.weights]
    if table.letters[0] == "C":  # C = A + B stands in the place of A
        return [a if x == "A" else 0, a if x == "B" else -a]
    return [a if x == y else 0 for y in table.letters]


def _flow(table: Words, weights: Sequence[Any]) -> np.ndarray:
    """exp(sum of weights[x] x) on words: the product of the weights over the factorial of the length."""
    values: list[Any] = [0] * len(table)
    values[0] = 1
    for i, w in enumerate(table.words):
        if w:
            before, weight = values[table.ids[w[:-1]]], weights[w[-1]]
            if not (isinstance(before, int) and before == 0 or isinstance(weight, int) and weight == 0):
                values[i] = _divided(before * weight, len(w))
    return filled(values)


def _divided(value: Any, n: int) -> Any:
    """A number over an integer; scaled integers are divisible."""
    if isinstance(value, int):
        return value // n
    return value * Fraction(1, n) if isinstance(value, Algebraic) else value / n


def product_of_flows(method: Splitting, table: Words) -> WordSeries:
    """The method on a table of words, which may be that of C = A + B and B."""
    given = method.numbers()
    if all(isinstance(v, Fraction) or is_symbolic(v) for v in given):
        spare = prod(p for p in (2, 3, 5, 7, 11) if p <= table.order)  # its n-th power is divisible by n!
        (values,), leave = numbers(([v / spare for v in given], 1))
        values = [v * spare for v in values]
    else:
        (values,), leave = numbers((given, 1))
    flows: dict[Any, np.ndarray] = {}
    total = None
    for (x, _), exact, v in zip(method.steps, given, values, strict=True):
        if (x, exact) not in flows:
            flows[x, exact] = _flow(table, _weights(table, x, v))
        total = flows[x, exact] if total is None else concatenated(table, total, flows[x, exact])
    return WordSeries(table, leave(total, table.grades))


def series(method: Splitting, order: int) -> WordSeries:
    """The method as a series of words, in whatever numbers its coefficients are.

    >>> str(series(Splitting("trotter", (("A", 1), ("B", 1))), 2)["AB"])
    '1'
    """
    return product_of_flows(method, alphabet(method, order))


def exact_flow(table: Words) -> WordSeries:
    """The exact flow: exp of the first letter where that stands for the whole field, else of the sum of letters."""
    whole = table.letters[0] in ("C", "Y1")
    one = Fraction(1)
    return WordSeries(table, _flow(table, [one if not whole or k == 0 else 0 for k in range(len(table.letters))]))


# Orders and errors.


def residuals(method: Splitting, order: int) -> dict[str, Any]:
    """The method less the exact flow on Lyndon words, from the lowest order up: zero to order p means order p.

    For `nystrom` methods: the logarithm less the field in brackets, reduced to those that do not vanish there.
    Source: Murua, Sanz-Serna 1999; Blanes, Casas, Murua 2008.
    """
    table = alphabet(method, order)
    found = product_of_flows(method, table)
    if method.nystrom:
        error = found.log() - _field(table)
        return {k: v for n in range(1, order + 1) for k, v in reduced(table, error, n).items()}
    error = (found - exact_flow(table)).coefficients
    return {table.text(i): error[i] for level in table.lyndon for i in level}


def _field(table: Words) -> WordSeries:
    names = table.letters[:1] if table.letters[0] in ("C", "Y1") else table.letters
    field = letter(table, names[0])
    for name in names[1:]:
        field = field + letter(table, name)
    return field


def order_of(method: Splitting, maximum: int = 10) -> int:
    """The order of a method, at most `maximum`: exactly where the coefficients are rational, else to their digits.

    A method with roots in its coefficients is tested with 60 digits.

    >>> third = (("A", "7/24"), ("B", "2/3"), ("A", "3/4"), ("B", "-2/3"), ("A", "-1/24"), ("B", 1))
    >>> order_of(Splitting("ruth-3", third)), order_of(Splitting("mistyped", (*third[:3], ("B", "-3/4"), *third[4:])))
    (3, 0)
    """
    return first_failure(method, maximum)[0]


def first_failure(method: Splitting, maximum: int = 10) -> tuple[int, str, Any]:
    """(order, word, residual): the order and the first condition that fails, with "" and 0 where none does."""
    import mpmath

    digits = method.decimals
    with mpmath.workdps((digits or 0) + 15):
        tried = method if digits is None else method.at(digits + 15)
        size = sum(abs(v) for v in tried.numbers())
        for order in range(1, maximum + 1):  # lower orders cost next to nothing
            limit = 0
            if digits is not None:  # what an error of the last digit of every coefficient can do
                limit = 10 * len(method.steps) * 10 ** mpmath.mpf(-digits) * max(1, size ** (order - 1))
                limit = limit / factorial(order - 1) if method.kind == "flows" else limit * order
            for word, value in residuals(tried, order).items():
                if not is_zero(value, limit):
                    return order - 1, word, value
    return maximum, "", 0


def error_terms(method: Splitting, order: int | None = None) -> dict[str, Any]:
    """The leading error in the basis of brackets: the method is exp(field + these, of one order more).

    `order` is the method's own where it is not given. Brackets stand for fields times h^(order + 1).
    Source: McLachlan 1995; Blanes, Moan 2002.
    """
    order = order_of(method) if order is None else order
    table = alphabet(method, order + 1)
    error = product_of_flows(method, table) - exact_flow(table)
    if method.nystrom:
        return reduced(table, error, order + 1)
    return {table.bracket(i): v for i, v in table.coordinates(error.coefficients, order + 1).items()}


def error_norm(method: Splitting, order: int | None = None) -> float:
    """The 2-norm of the leading error in the basis of brackets on Lyndon words."""
    return float(sum(float(v) ** 2 for v in error_terms(method, order).values())) ** 0.5


def effective_error(method: Splitting, order: int | None = None) -> float:
    """stages * norm^(1/order): the error at equal cost, as methods are compared. Source: Blanes, Moan 2002."""
    order = order_of(method) if order is None else order
    return method.stages * error_norm(method, order) ** (1 / order)
