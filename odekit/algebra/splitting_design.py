"""New splitting methods: known ones to any number of digits, optimal ones for their error, processed ones with their
processor. Everything is solved by Newton's iteration in mpmath, from starts found in float64."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from math import prod
from typing import Any

import numpy as np

from odekit.algebra.lie import WordSeries, grade_of, letter, words
from odekit.algebra.processing import effective_residuals, processing
from odekit.algebra.splitting import (
    Splitting,
    error_terms,
    product_of_flows,
    residuals,
    to_digits,
)
from odekit.algebra.splitting_conditions import symbolic
from odekit.algebra.trees import AlgebraError

Vector = Sequence[Any]


def refined(method: Splitting, digits: int = 40) -> Splitting:
    """The method nearest to a given one that has its order to so many digits; symmetric methods stay symmetric.

    Gauss and Newton's iteration in the least norm, so that methods of a family hardly move. Raises AlgebraError where
    it does not converge: then the method is not near one of its order.

    >>> from odekit.algebra.compositions import get
    >>> refined(get("yoshida-6-a"), 30).steps[0]
    ('S', '0.784513610477557263819497633866')
    """
    values, m = method.numbers(), len(method.steps)
    place = [min(i, m - 1 - i) if method.is_symmetric else i for i in range(m)]
    free = sorted(set(place))

    def build(x: Vector) -> Splitting:
        return _with(method, [x[p] for p in place])

    def conditions(x: Vector) -> list:
        return [v for k, v in residuals(build(x), method.order).items() if len(free) == m or _grade(k) % 2]

    x = _solved(conditions, [values[i] for i in free], digits)
    return _as_text(method, [x[p] for p in place], digits)


def optimised(
    pattern: Sequence[str],
    order: int = 4,
    digits: int = 30,
    starts: int = 24,
    seed: int = 0,
    nystrom: bool = False,
    measure: str = "lyndon",
) -> Splitting:
    """The symmetric method with this palindromic pattern of steps and the least error norm that was found.

    Minimises the 2-norm of the leading error in the basis of brackets on Lyndon words (`measure` "lyndon") or, at order
    4, in nested brackets ("nested", Omelyan, Mryglod, Folk 2002), subject to all conditions to an even `order` that are
    left to methods of its kind: least squares from random starts, then Newton's iteration on the Lagrange conditions.
    Where the conditions leave no freedom, the method of least steps. Raises AlgebraError where no start leads to a real
    method.

    >>> optimised("ABABABA", 4, digits=20, starts=4).steps[1]
    ('B', '1.351207191959657634')
    """
    method = replace(_palindromic(pattern, order), nystrom=nystrom)
    conditions = [v for k, v in residuals(method, order).items() if _grade(k) % 2]  # the even ones follow
    errors = list(error_terms(method, order).values()) if measure == "lyndon" else _nested(method, measure)
    return _as_text(method, _least(errors, conditions, digits, starts, seed), digits)


def processed(
    pattern: Sequence[str], order: int = 4, digits: int = 30, starts: int = 12, seed: int = 0
) -> tuple[Splitting, Splitting]:
    """(kernel, processor): a symmetric kernel of effective order `order`, and the method before the first step.

    The processor, the kernel n times, then the processor undone (`inverse`) are of order `order` whatever n is. Only
    the kernel costs: it has fewer conditions to meet (2, 0, 1, 1, 3, 3 by order) than a method of that order.
    Source: Butcher 1969; Blanes, Casas, Ros 1999; here for two parts A and B.
    """
    method = replace(_palindromic(pattern, order), name="kernel")
    found = {k: v for k, v in effective_residuals(method, order + 1).items() if _grade(k) % 2}
    conditions = [v for k, v in found.items() if _grade(k) <= order]
    errors = [v for k, v in found.items() if _grade(k) == order + 1]
    kernel = _as_text(method, _least(errors, conditions, digits, starts, seed), digits)
    # The processor is right where its grades below the order are: no net time, and the field's coordinates.
    field = processing(kernel, order).field
    target = {k: v for k, v in _coordinates(field, order - 1).items() if k not in ("B", "C")}
    pattern = ("AB" * (len(target) + 3))[: len(target) + 3]
    unknown = replace(symbolic(pattern), name="processor", order=order)
    found = _coordinates(product_of_flows(unknown, words(order - 1, ("C", "B"))).log(), order - 1)
    reached = _Polynomials(list(found.values()), len(pattern))
    wanted = [target.get(k, 0) for k in found]
    steps = _root(lambda x: reached(x)[0] - wanted, len(pattern), digits, starts, seed)
    return kernel, _as_text(unknown, steps, digits)


def inverse(method: Splitting) -> Splitting:
    """The flows undone: in reverse order, with opposite steps."""
    swap = {"M": "M*", "M*": "M"}
    steps = tuple((swap.get(x, x), f"-({v})" if isinstance(v, str) else -v) for x, v in reversed(method.steps))
    return replace(method, name=f"{method.name}, undone", steps=steps)


def joined(name: str, *methods: Splitting, order: int = 0) -> Splitting:
    """Several methods, one after the other, as one."""
    digits = [m.digits for m in methods if m.digits is not None]
    steps = tuple(step for m in methods for step in m.steps)
    return Splitting(name, steps, order, digits=min(digits, default=None))


NESTED = ("AAA", "AAB", "BAA", "BBA", "ABB", "BBB")
"""X Y Z for the brackets [X,[Y,[Z,[A,B]]]] of Omelyan's; the last two vanish for Nystroem methods."""


def _nested(method: Splitting, measure: str) -> list[Any]:
    """The leading error of a method of order 4 in brackets nested from the right."""
    if measure != "nested" or method.order != 4 or method.kind != "flows":
        raise AlgebraError(f"measure = {measure!r}: expected 'lyndon', or 'nested' for the flows of order 4")
    from sympy import QQ, Matrix

    table = words(5)
    rows = []
    for x, y, z in NESTED:
        bracket = letter(table, "A") * letter(table, "B") - letter(table, "B") * letter(table, "A")
        for name in (z, y, x):
            bracket = letter(table, name) * bracket - bracket * letter(table, name)
        rows.append(list(table.coordinates(bracket.coefficients, 5).values()))
    # Columns are the coordinates of each nested bracket; the error's own are turned into theirs.
    turn = Matrix(6, 6, lambda i, j: rows[j][i]).inv()
    kept = turn[:4, :] if method.nystrom else turn
    error = list(error_terms(replace(method, nystrom=False), 4).values())
    return [
        sum((QQ(c.p, c.q) * e for c, e in zip(kept.row(i), error, strict=True)), start=0 * error[0])
        for i in range(kept.rows)
    ]


# Parameters, slopes, Newton.


def _mirrored(x: str) -> str:
    return {"M": "M*", "M*": "M"}.get(x, x)


def _grade(text: str) -> int:
    """The grade of a word or a bracket from its letters."""
    return sum(grade_of(x) for x in re.findall(r"[A-Z]\d*", text))


def _coordinates(field: WordSeries, order: int) -> dict[str, Any]:
    """A Lie element in brackets, grade by grade to an order."""
    table = field.table
    return {
        table.bracket(i): v for n in range(1, order + 1) for i, v in table.coordinates(field.coefficients, n).items()
    }


def _with(method: Splitting, values: Vector) -> Splitting:
    return replace(method, steps=tuple((x, v) for (x, _), v in zip(method.steps, values, strict=True)), digits=None)


def _palindromic(pattern: Sequence[str], order: int) -> Splitting:
    """The consistent symmetric method with this pattern: its steps are polynomials in the first half of them.

    Of each part, the step nearest to the middle is what makes the sum 1.
    """
    from sympy import QQ, ring

    if list(pattern) != [_mirrored(x) for x in reversed(pattern)] or order % 2:
        raise AlgebraError(f"the pattern {''.join(pattern)} at order {order}: expected a palindrome and an even order")
    m = len(pattern)
    parts = ["M" if x == "M*" else x for x in pattern[: (m + 1) // 2]]
    last = {x: i for i, x in enumerate(parts)}
    free = [i for i in range(len(parts)) if i not in last.values()]
    domain, *generators = ring([f"x{k}" for k in range(len(free))], QQ)
    values: dict[int, Any] = dict(zip(free, generators, strict=True))
    for x, i in last.items():
        rest = sum((values[j] for j in free if parts[j] == x), start=domain.zero)
        values[i] = 1 - 2 * rest if 2 * i == m - 1 else domain(QQ(1, 2)) - rest
    return Splitting("optimised", tuple((x, values[min(i, m - 1 - i)]) for i, x in enumerate(pattern)), order)


class _Polynomials:
    """Several polynomials and their slopes, evaluated together from one list of monomials, in float64 or mpmath."""

    def __init__(self, polynomials: Sequence[Any], n: int):
        slopes = [p.diff(i) for p in polynomials for i in range(n)]
        self.n, self.count = n, len(polynomials)
        self.monomials = sorted({m for p in (*polynomials, *slopes) for m in p.monoms()} | {(0,) * n})
        place = {m: i for i, m in enumerate(self.monomials)}
        self.table = np.zeros((self.count * (n + 1), len(place)), dtype=object)
        for row, p in zip(self.table, (*polynomials, *slopes), strict=True):
            for m, c in p.terms():
                row[place[m]] = Fraction(int(c.numerator), int(c.denominator))
        self.floats = self.table.astype(float)
        self.degrees = np.array(self.monomials)

    def __call__(self, x: Vector) -> tuple[np.ndarray, np.ndarray]:
        """Values (k,) and slopes (k, n)."""
        x = np.asarray(x)
        table = self.floats if x.dtype == float else self._digits(_precision())
        powers = np.array([x**0 if k == 0 else x**k for k in range(int(self.degrees.max(initial=0)) + 1)])
        values = table @ np.prod(powers[self.degrees, np.arange(self.n)], axis=1)
        return values[: self.count], values[self.count :].reshape(self.count, self.n)

    @cache  # noqa: B019 - lives as long as one derivation
    def _digits(self, digits: int) -> np.ndarray:
        return np.vectorize(lambda c: to_digits(Fraction(c), digits), otypes=[object])(self.table)


def _precision() -> int:
    import mpmath

    return mpmath.mp.dps


def _jacobian(function: Callable[[Vector], list], x: Vector) -> list[list]:
    """The slopes of every output in every input, by central differences at a third of the working precision."""
    import mpmath

    x = [mpmath.mpf(v) for v in x]
    h = mpmath.mpf(10) ** (-mpmath.mp.dps // 3)
    columns = []
    for j in range(len(x)):
        ahead, behind = (function([*x[:j], x[j] + d, *x[j + 1 :]]) for d in (h, -h))
        columns.append([(a - b) / (2 * h) for a, b in zip(ahead, behind, strict=True)])
    return [list(row) for row in zip(*columns, strict=True)]


def _floats(function: Callable[[Vector], list], x: Vector, h: float = 1e-6) -> np.ndarray:
    """The same in float64."""
    x, columns = list(map(float, x)), []
    for j in range(len(x)):
        ahead, behind = (function([*x[:j], x[j] + d, *x[j + 1 :]]) for d in (h, -h))
        columns.append((np.array(ahead, dtype=float) - np.array(behind, dtype=float)) / (2 * h))
    return np.array(columns).T


def _solved(function: Callable[[Vector], list], start: Vector, digits: int) -> list:
    """Newton's iteration, of least norm where there are fewer equations than unknowns."""
    import mpmath

    with mpmath.workdps(2 * digits + 20):
        x = [mpmath.mpf(to_digits(v, mpmath.mp.dps)) for v in start]
        size = 1 + max(map(abs, x))
        for _ in range(40):
            slopes = mpmath.matrix(_jacobian(function, x))
            values = mpmath.matrix(function(x))
            try:
                step = slopes.T * mpmath.lu_solve(slopes * slopes.T, values)
            except ZeroDivisionError:
                break
            x = [v - d for v, d in zip(x, step, strict=True)]
            if max(map(abs, x)) > 100 * size:
                break
            if max(map(abs, step)) < mpmath.mpf(10) ** (-digits - 3):
                return x
    raise AlgebraError("Newton's iteration does not converge: these steps are not near a method of the order wanted")


def _root(function: Callable[[Vector], list], n: int, digits: int, starts: int, seed: int) -> list:
    """The root of least 1-norm that random starts lead to in float64, then to all digits."""
    random, best = np.random.default_rng(seed), None
    for _ in range(3 * starts):
        x = _nearest(function, random.uniform(-1, 1, n))
        if x is not None and (best is None or np.abs(x).sum() < np.abs(best).sum() - 1e-6):
            best = x
    if best is None:
        raise AlgebraError(f"no real solution was found from {3 * starts} random starts")
    return _solved(function, list(map(float, best)), digits)


def _nearest(function: Callable[[Vector], list], x: np.ndarray) -> np.ndarray | None:
    """A root near x by least squares in float64, None where that ends elsewhere or far away."""
    from scipy.optimize import least_squares

    tight = dict.fromkeys(("xtol", "ftol", "gtol"), 3e-16)
    found = least_squares(lambda x: np.array(function(np.array(x, dtype=float)), dtype=float), x, **tight)
    good = np.abs(found.fun).max() < 1e-10 and np.abs(found.x).max() < 10
    return found.x if good else None


def _least(errors: Sequence[Any], conditions: Sequence[Any], digits: int, starts: int, seed: int) -> list:
    """The steps of least errors (2-norm) where the conditions hold; a root of these where they leave no freedom.

    Both are polynomials; returned are the values of all generators of their ring.
    """
    from scipy.optimize import minimize

    conditions, errors = ([p for p in some if p != 0] for some in (conditions, errors))
    n = len(errors[0].ring.gens)
    held, wrong = _Polynomials(conditions, n), _Polynomials(errors, n)
    if held.count >= n:
        return _root(lambda x: list(held(x)[0]), n, digits, starts, seed)
    constraints = [{"type": "eq", "fun": lambda x: held(x)[0], "jac": lambda x: held(x)[1]}] if held.count else []
    random, best = np.random.default_rng(seed), None
    for _ in range(starts):
        begin = random.uniform(-0.5, 0.8, n)
        begin = _nearest(lambda x: held(x)[0], begin) if held.count else begin
        if begin is None:
            continue
        found = minimize(
            lambda x: 1e6 * float(np.sum(wrong(x)[0] ** 2)),
            begin,
            jac=lambda x: 2e6 * wrong(x)[0] @ wrong(x)[1],
            method="SLSQP",
            constraints=constraints,
            options={"maxiter": 500, "ftol": 1e-13},
        )
        if np.abs(held(found.x)[0]).max(initial=0) < 1e-7 and (best is None or found.fun < best.fun):
            best = found
    if best is None:
        raise AlgebraError(f"no real solution was found from {starts} random starts")

    def lagrange(z: Vector) -> list:
        z = np.array(z, dtype=object)
        (values, slopes), (residual, pull) = wrong(z[:n]), held(z[:n])
        return [*(values @ slopes + z[n:] @ pull), *residual]

    values, slopes = wrong(best.x)
    multipliers = np.linalg.lstsq(held(best.x)[1].T, -values @ slopes, rcond=None)[0] if held.count else ()
    return _solved(lagrange, [*map(float, best.x), *map(float, multipliers)], digits)[:n]


def _as_text(method: Splitting, x: Vector, digits: int) -> Splitting:
    """The method with its steps as decimal text; x are its steps, or the generators of the ring they lie in."""
    import mpmath

    def value(step: Any) -> Any:
        if not hasattr(step, "terms"):
            return step
        terms = ((c, prod(v**k for v, k in zip(x, m, strict=True))) for m, c in step.terms())
        return sum(mpmath.mpf(int(c.numerator)) / int(c.denominator) * power for c, power in terms)

    with mpmath.workdps(2 * digits + 20):
        symbolic = [v for _, v in method.steps]
        steps = [value(v) for v in symbolic] if any(hasattr(v, "terms") for v in symbolic) else x
        texts = [mpmath.nstr(v, digits, min_fixed=-1000, max_fixed=1000) for v in steps]
    return replace(_with(method, texts), digits=digits - 2)
