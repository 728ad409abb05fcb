"""Order conditions: one equation for each tree, which names it, prints itself and can be asked about a method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from itertools import chain, count
from typing import Any

import numpy as np

from odekit.algebra.runge_kutta import elementary_weights, series
from odekit.algebra.series import Series
from odekit.algebra.series import exact as exact_flow
from odekit.algebra.trees import AlgebraError, Tree, table
from odekit.exceptions import unknown

KINDS = ("explicit", "diagonally-implicit", "implicit")


@dataclass(frozen=True)
class Condition:
    """Phi(t) = 1/gamma(t): what a Runge-Kutta method must satisfy for the tree t.

    Where the number of stages was given, `weight` is Phi as a polynomial in the coefficients (an element of a ring of
    SymPy's), with c_i for the row sums of A.

    >>> from odekit.algebra.trees import tree
    >>> condition = Condition(tree("[[tau],tau]"))
    >>> print(condition, condition.latex(), condition.python(), sep="; ")
    [[tau],tau]: Phi = 1/8; \\sum_{i,j} b_{i} c_{i} a_{ij} c_{j} = \\frac{1}{8}; b @ (c * (A @ c)) - 1/8
    """

    tree: Tree
    weight: Any = field(default=None, compare=False, repr=False)

    @property
    def value(self) -> Fraction:
        """What the elementary weight must be: 1/gamma."""
        return Fraction(1, self.tree.density)

    @property
    def residual(self) -> Any:
        """Phi - 1/gamma as a SymPy expression in the coefficients; raises AlgebraError without a number of stages."""
        if self.weight is None:
            raise AlgebraError(f"{self.tree}: how many stages? ask for order_conditions(..., stages=s)")
        import sympy

        return sympy.sympify(getattr(self.weight, "as_expr", lambda: 0)()) - sympy.Rational(1, self.tree.density)

    def __str__(self) -> str:
        return f"{self.tree}: Phi = {self.value}"

    def latex(self) -> str:
        """The condition as a sum over stages, for any number of them; colours stand above in brackets."""
        letters = chain("ijklmnpqrstuvwxyz", (f"i_{{{k}}}" for k in count(1)))
        used: list[str] = []
        factors = _latex(self.tree, letters, used)
        right = rf"\frac{{1}}{{{self.tree.density}}}" if self.tree.density > 1 else "1"
        return rf"\sum_{{{','.join(used)}}} {' '.join(factors)} = {right}"

    def python(self) -> str:
        """The residual as Python: A, b, c are NumPy arrays (lists of them, by colour, where there are several)."""
        b, product = _named("b", self.tree), _python(self.tree)
        return f"{f'{b} @ {product}' if product else f'sum({b})'} - {self.value}"


def _latex(tree: Tree, letters: Iterator[str], used: list[str], above: str = "") -> list[str]:
    """The factors of a subtree whose stage is summed over a new letter, after b or (below `above`) a."""
    letter = next(letters)
    used.append(letter)
    factors = [_entry("a" if above else "b", tree, above + letter)]
    for child, times in reversed(Counter(tree.children).items()):  # leaves first, as printed in textbooks
        if child.order == 1:
            leaf = _entry("c", child, letter)
            power = f"^{{{times}}}" if times > 1 else ""
            factors.append(leaf + power if child.colours == 1 or times == 1 else f"({leaf}){power}")
        else:
            factors += chain.from_iterable(_latex(child, letters, used, letter) for _ in range(times))
    return factors


def _entry(name: str, tree: Tree, indices: str) -> str:
    colour = f"^{{[{tree.colour}]}}" if tree.colours > 1 else ""
    return f"{name}{colour}_{{{indices}}}"


def _python(tree: Tree) -> str:
    """What a stage contributes: the product over the children, in parentheses where it has several factors."""
    parts = []
    for child, times in reversed(Counter(tree.children).items()):
        part = f"({_named('A', child)} @ {_python(child)})" if child.order > 1 else _named("c", child)
        parts.append(part if times == 1 else f"{part} ** {times}")
    return f"({' * '.join(parts)})" if len(parts) > 1 else "".join(parts)


def _named(name: str, tree: Tree) -> str:
    return f"{name}[{tree.colour}]" if tree.colours > 1 else name


# Families of methods: what `order_conditions` knows.


def runge_kutta_conditions(
    order: int, stages: int | None = None, kind: str = "explicit", colours: int = 1
) -> list[Condition]:
    """The conditions to `order`, with polynomials for a number of `stages` where it is given.

    `kind` says which entries of A there are: "explicit", "diagonally-implicit" or "implicit". Several `colours` are an
    additive or partitioned method, whose coefficients carry the colour as a suffix (a21_0).
    Source: Hairer, Norsett, Wanner I, theorem II.2.13; additive: Araujo, Murua, Sanz-Serna 1997.
    """
    trees = table(order, colours)
    weights: Any = [None] * len(trees)
    if stages is not None:
        A, b, c = _symbols(stages, kind, colours)
        weights = elementary_weights(trees, A, b, c)
    return [Condition(tree, weights[tree.id]) for tree in trees]


@cache
def _symbols(stages: int, kind: str, colours: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A (colours, s, s), b and c (colours, s) of generators of one ring over the rationals, zeros where none stands."""
    from sympy import QQ, ring

    if kind not in KINDS:
        raise unknown("kind of Runge-Kutta method", kind, KINDS)
    reach = KINDS.index(kind)
    between, stage = "_" if stages > 9 else "", range(1, stages + 1)
    suffixes = [f"_{colour}" for colour in range(colours)] if colours > 1 else [""]
    places = {
        "A": [(f"a{i}{between}{j}", i > j or (reach and i == j) or reach == 2) for i in stage for j in stage],
        "b": [(f"b{i}", True) for i in stage],
        "c": [(f"c{i}", reach or i > 1) for i in stage],
    }
    entries = {
        key: [(name + suffix, there) for suffix in suffixes for name, there in row] for key, row in places.items()
    }
    names = [name for key in "cAb" for name, there in entries[key] if there]
    _, *generators = ring(names, QQ)
    value = dict(zip(names, generators, strict=True))
    shapes = {"A": (colours, stages, stages), "b": (colours, stages), "c": (colours, stages)}
    arrays = {key: np.zeros(shape, dtype=object) for key, shape in shapes.items()}
    for key, out in arrays.items():
        out.ravel()[:] = [value.get(name, 0) for name, _ in entries[key]]
    return arrays["A"], arrays["b"], arrays["c"]


# Asked about a method.


def residuals(method: Any, order: int, exact: bool = True, embedded: bool = False) -> Series:
    """Phi(t) - 1/gamma(t) for all trees to `order`: the local error series of a method.

    `method` as for `runge_kutta.scheme`, or a Series; in float64 with `exact=False`.

    >>> str(residuals("midpoint", 3))
    '-1/12 [tau,tau] + -1/6 [[tau]]'
    """
    found = method.truncated(order) if isinstance(method, Series) else series(method, order, exact, embedded)
    return found - exact_flow(order, found.colours, 1 if found.coefficients.dtype == object else 1.0)


@dataclass(frozen=True)
class PrincipalError:
    """The leading error of a method of this order: (Phi - 1/gamma)/sigma for the trees of one order more."""

    order: int
    terms: dict[Tree, Any]

    @property
    def norm_squared(self) -> Any:
        """The sum of the squared terms, exact where they are."""
        return sum((term * term for term in self.terms.values()), start=Fraction(0))

    @property
    def norm(self) -> float:
        """The 2-norm of the terms."""
        return float(self.norm_squared) ** 0.5

    @property
    def largest(self) -> float:
        """The largest term in absolute value."""
        return max(abs(float(term)) for term in self.terms.values())


def principal_error(method: Any, order: int, exact: bool = True) -> PrincipalError:
    """The principal error of a method taken to be of this order.

    Source: Prince, Dormand 1981; Hairer, Norsett, Wanner I, section II.3.

    >>> error = principal_error("rk4", 4)
    >>> error.norm_squared == Fraction(1745, 2880**2), round(error.norm, 10), error.largest == 1 / 120
    (True, 0.0145045823, True)
    """
    found = method if isinstance(method, Series) else residuals(method, order + 1, exact)
    if found.order <= order:
        raise AlgebraError(f"a series to order {found.order} does not show the error of order {order + 1}")
    return PrincipalError(order, {t: r / t.symmetry for t, r in found.of_order(order + 1).items()})
