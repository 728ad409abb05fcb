"""Runge-Kutta methods as series: elementary weights, plain and additive, in whatever numbers the entries are."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from odekit.algebra.numbers import numbers
from odekit.algebra.series import Series
from odekit.algebra.trees import AlgebraError, Trees, table
from odekit.expressions import FLOAT64

Matrix = Sequence[Sequence]
ROUNDING = 1e-12
"""Below it a number computed in float64 counts as zero."""


class Scheme(NamedTuple):
    """What the algebra needs of a Runge-Kutta method: square matrices and weights, one pair for each colour.

    Y_i = y + h sum over colours v, stages j of A[v][i][j] f_v(Y_j), and the step likewise with b[v][j]. One colour is
    an ordinary method; two or more are additive methods, of which partitioned ones are a case (f_v the v-th part).
    `tolerance` is what counts as zero: 0 for exact entries, else what the printed digits or float64 can tell. `parts`
    says what each colour is of the field, where that has a name.
    """

    name: str
    A: tuple[Matrix, ...]
    b: tuple[Sequence, ...]
    tolerance: Any = 0
    parts: tuple[str, ...] = ()

    @property
    def stages(self) -> int:
        """The number of stages."""
        return len(self.b[0])

    @property
    def colours(self) -> int:
        """The number of parts of the field that the method treats differently."""
        return len(self.b)


def scheme(method: Any, exact: bool = True, embedded: bool = False) -> Scheme:
    """The scheme of a Runge-Kutta method, given in any of these forms:

    a name of the catalogue or a method file; a Tableau; a Method made of one; a pair (A, b) of rows and weights in any
    numbers; a list of such pairs or of methods, one for each part of the field. With `exact=False` in float64, with
    `embedded` the weights of the embedded method. Raises AlgebraError for what is none of these.

    >>> scheme("rk4").stages, scheme(([[0, 0], [1, 0]], [0.5, 0.5])).colours
    (4, 1)
    """
    if isinstance(method, Scheme):
        return method if exact else Scheme(method.name, *map(_floats, (method.A, method.b)), ROUNDING, method.parts)
    if isinstance(method, list):
        parts = [scheme(part, exact, embedded) for part in method]
        if not parts or any(part.stages != parts[0].stages for part in parts):
            raise AlgebraError("an additive method is a list of Runge-Kutta methods with equally many stages")
        name = " + ".join(part.name for part in parts)
        tolerance = max(part.tolerance for part in parts)
        return Scheme(name, tuple(A for p in parts for A in p.A), tuple(b for p in parts for b in p.b), tolerance)
    if isinstance(method, tuple):
        return scheme(_from_pair(method), exact)
    found = tableau(method)
    table = found.exact if exact else found.coefficients(FLOAT64)
    weights = table.b_embedded if embedded else table.b
    if weights is None:
        raise AlgebraError(f"{found.name} has no embedded weights")
    # as for every check of printed tables: two digits are left to the size of the entries
    printed = 0 if found.digits is None else Fraction(1, 10 ** (found.digits - 2))
    return Scheme(found.name, (_square(table.A),), (weights,), printed if exact else ROUNDING)


def tableau(method: Any) -> Any:
    """The Tableau behind a name, a method file, a Method or a Tableau."""
    if hasattr(method, "exact") and hasattr(method, "digits"):
        return method
    from odekit import methods

    found = methods.get(method)
    if not hasattr(found, "tableau"):
        raise AlgebraError(f"{found.name} is a {found.family} method; a Runge-Kutta method was expected")
    return found.tableau


def _from_pair(pair: tuple) -> Scheme:
    if len(pair) != 2:
        raise AlgebraError(f"a pair (A, b) of rows and weights was expected, not {len(pair)} parts")
    b = list(pair[1])
    rows = _square(pair[0])
    if len(rows) != len(b) or any(len(row) != len(b) for row in rows):
        raise AlgebraError(
            f"A has {len(rows)} rows, b {len(b)} weights: a square matrix of as many stages was expected"
        )
    floats = any(isinstance(x, float) for row in (*rows, b) for x in row)
    return Scheme("(A, b)", (rows,), (b,), ROUNDING if floats else 0)


def _square(A: Matrix) -> list[list]:
    return [[*row, *[0] * (len(A) - len(row))] for row in A]


def _floats(values: Any) -> Any:
    return [_floats(v) for v in values] if isinstance(values, list | tuple) else float(values)


def series(method: Any, order: int, exact: bool = True, embedded: bool = False) -> Series:
    """A Runge-Kutta method as a series: its elementary weights Phi(t) for all trees to `order`.

    `method` as for `scheme`. With `exact=False` in float64. Several colours give trees in as many.
    Source: Hairer, Norsett, Wanner I, theorem II.2.11; additive: Hairer, Lubich, Wanner, III.2.

    >>> rk4 = series("rk4", 5)
    >>> rk4["[[tau],tau]"], rk4["[tau,tau,tau,tau]"]
    (Fraction(1, 8), Fraction(5, 24))
    """
    given = scheme(method, exact, embedded)
    (A, b), leave = _entered(given)
    trees = table(order, given.colours)
    weights = elementary_weights(trees, A, b)
    coefficients = leave(weights, trees.orders)
    coefficients[0] = coefficients[0] + 1
    return Series(trees, coefficients)


def _entered(given: Scheme) -> tuple[tuple[np.ndarray, np.ndarray], Any]:
    """A (colours, s, s) and b (colours, s) as fast numbers of weight one."""
    m, s = given.colours, given.stages
    (A, b), leave = numbers(([a for M in given.A for row in M for a in row], 1), ([w for v in given.b for w in v], 1))
    return (A.reshape(m, s, s), b.reshape(m, s)), leave


def elementary_weights(trees: Trees, A: np.ndarray, b: np.ndarray, abscissae: np.ndarray | None = None) -> np.ndarray:
    """Phi(t) over ids, for A (colours, s, s) and b (colours, s) of any numbers; every subtree is computed once.

    `abscissae` (colours, s) stand for the row sums of A where they are given (symbols c_i instead of long sums).
    """
    m, s = b.shape
    kind = object if A.dtype == object else A.dtype
    products = np.zeros((len(trees), s), dtype=kind)  # prod over children of A inner(child): what b sums up
    inner = np.zeros((len(trees), s), dtype=kind)
    result = np.zeros(len(trees), dtype=kind)
    for n in range(1, trees.order + 1):
        here = slice(trees.first[n], trees.first[n + 1])
        trunk, branch = trees.trunk[here], trees.branch[here]
        products[here] = products[trunk] * inner[branch] if n > 1 else 1
        for colour in range(m):
            ids = np.arange(here.start, here.stop)[trees.colour[here] == colour]
            result[ids] = contract(products[ids], b[colour][None])[:, 0]
            if n == 1 and abscissae is not None:
                inner[ids] = abscissae[colour]
            elif n < trees.order:
                inner[ids] = contract(products[ids], A[colour])
    return result


def contract(values: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """values @ matrix.T, skipping zeros where numbers are objects."""
    if values.dtype != object:
        return values @ matrix.T
    out = np.zeros((len(values), len(matrix)), dtype=object)
    for i, j in np.argwhere(matrix.astype(bool)):
        out[:, i] = out[:, i] + values[:, j] * matrix[i, j]
    return out


def average_vector_field(order: int) -> Series:
    """The energy-preserving method y1 = y0 + h * integral over xi in [0, 1] of f((1 - xi) y0 + xi y1), as a series.

    Source: Quispel, McLaren 2008; Celledoni, McLachlan, McLaren, Owren, Quispel, Wright 2009, (13).

    >>> average_vector_field(3)["[tau,tau]"], average_vector_field(3)["[[tau]]"]
    (Fraction(1, 3), Fraction(1, 4))
    """
    trees = table(order)
    values = [Fraction(1), Fraction(1)]
    for i in range(2, len(trees)):
        children = trees.children(i)
        value = Fraction(1, len(children) + 1)
        for child in children:
            value *= values[child]
        values.append(value)
    return Series(trees, values)
