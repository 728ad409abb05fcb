"""Series over rooted trees: a coefficient for every tree, in any ring, and what flows and fields do with each other.

Normalisation everywhere: B(a, h f)(y) = a(empty) y + sum over trees t of h^|t| / sigma(t) a(t) F(t)(y), as in Hairer,
Lubich, Wanner, III.1. A series with constant 1 is a map near the identity (a flow or a method), one with constant 0 a
vector field (times h). Only composition is needed, and composition is linear in what comes second: one sparse matrix
serves inverse, powers, logarithm and exponential.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from math import factorial, lcm
from typing import Any

import numpy as np

from odekit.algebra.coproduct import cuts
from odekit.algebra.numbers import array, filled, is_zero, like, numbers, plain
from odekit.algebra.trees import AlgebraError, Tree, Trees, table, tree


class Series(Mapping):
    """A truncated series: a mapping from trees (or their text) to coefficients; `constant` belongs to the empty tree.

    Coefficients are Fractions where they are rational, floats, SymPy expressions, or elements of any ring with +, -, *
    and division by integers. Two series of different order combine to the smaller.

    >>> a = exact(3)
    >>> a["[tau,tau]"], a.constant, len(a), str(a)
    (Fraction(1, 3), Fraction(1, 1), 4, '1 empty + 1 tau + 1/2 [tau] + 1/3 [tau,tau] + 1/6 [[tau]]')
    """

    def __init__(self, trees: Trees, coefficients: Sequence):
        if len(coefficients) != len(trees):
            raise AlgebraError(f"{len(coefficients)} coefficients for {len(trees) - 1} trees and the empty one")
        self.trees = trees
        self.coefficients = array(coefficients)

    @property
    def order(self) -> int:
        """The largest order of a tree with a coefficient."""
        return self.trees.order

    @property
    def colours(self) -> int:
        """The number of colours of the trees."""
        return self.trees.colours

    @property
    def constant(self) -> Any:
        """The coefficient of the empty tree: 1 for a flow or a method, 0 for a field."""
        return self.coefficients[0]

    def __getitem__(self, key: Tree | str) -> Any:
        found = tree(key, self.colours)
        if found.colours != self.colours or found.id >= len(self.trees):
            raise KeyError(f"{found!r} has no coefficient in a series to order {self.order}, {self.colours} colours")
        return self.coefficients[found.id]

    def __iter__(self) -> Iterator[Tree]:
        return iter(self.trees)

    def __len__(self) -> int:
        return len(self.trees) - 1

    def values(self) -> list:
        """The coefficients, by id; without the constant."""
        return list(self.coefficients[1:])

    def of_order(self, n: int) -> dict[Tree, Any]:
        """The coefficients of the trees with n vertices."""
        return {self.trees[i]: self.coefficients[i] for i in self.trees.of_order(n)}

    def truncated(self, order: int) -> Series:
        """The series to a smaller order."""
        if order == self.order:
            return self
        if not 1 <= order < self.order:
            raise AlgebraError(f"a series to order {self.order} has no truncation to order {order}")
        trees = table(order, self.colours)
        return Series(trees, self.coefficients[: len(trees)])

    def map(self, function: Callable[[Any], Any]) -> Series:
        """The series with a function applied to every coefficient."""
        return Series(self.trees, [function(v) for v in self.coefficients])

    def __str__(self) -> str:
        shown = [("empty", self.constant), *((str(t), v) for t, v in self.items())]
        return " + ".join(f"{v} {t}" for t, v in shown if not is_zero(v)) or "0"

    def __repr__(self) -> str:
        return f"<series to order {self.order}, {len(self)} trees>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Series):
            return NotImplemented
        same = (self.order, self.colours) == (other.order, other.colours)
        return same and all(is_zero(v) for v in (self - other).coefficients)

    __hash__ = None

    # The vector space.

    def _with(self, other: Series) -> tuple[Series, Series]:
        if not isinstance(other, Series):
            raise AlgebraError(f"a series and a {type(other).__name__} do not combine")
        if self.colours != other.colours:
            raise AlgebraError(f"series over trees in {self.colours} and in {other.colours} colours do not combine")
        order = min(self.order, other.order)
        return self.truncated(order), other.truncated(order)

    def __add__(self, other: Series) -> Series:
        a, b = self._with(other)
        return Series(a.trees, a.coefficients + b.coefficients)

    def __sub__(self, other: Series) -> Series:
        a, b = self._with(other)
        return Series(a.trees, a.coefficients - b.coefficients)

    def __mul__(self, factor: Any) -> Series:
        return Series(self.trees, self.coefficients * plain(factor))

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> Series:
        return Series(self.trees, self.coefficients / plain(divisor))

    def __neg__(self) -> Series:
        return self * -1

    # The group of flows and its fields.

    def then(self, other: Series) -> Series:
        """This map first, then the other, which may be a map or a field: y -> B(other, B(self, y)).

        Source: Hairer, Wanner 1974; Hairer, Lubich, Wanner, III.1.4.

        >>> exact(4, step=Fraction(1, 3)).then(exact(4, step=Fraction(2, 3))) == exact(4)
        True
        """
        a, b = self._with(other)
        a._require(1, "the first of two maps")
        return a._computed(_compose, [b])

    def inverse(self) -> Series:
        """The map that undoes this one."""
        return self**-1

    def adjoint(self) -> Series:
        """The inverse with the step reversed, (Phi_{-h})^{-1}. Source: Hairer, Lubich, Wanner, II.3."""
        return self.inverse().scaled(-1)

    def scaled(self, factor: Any) -> Series:
        """The same map or field with the step multiplied by a factor."""
        powers = [plain(factor) ** n for n in range(self.order + 1)]
        return Series(self.trees, self.coefficients * array(powers)[self.trees.orders])

    def __pow__(self, exponent: Any) -> Series:
        """The map applied `exponent` times; any number of the ring, so that a ** Fraction(1, 2) is half a map.

        >>> exact(5) ** Fraction(1, 3) == exact(5, step=Fraction(1, 3))
        True
        """
        self._require(1, "a power")
        exponent, weights = plain(exponent), [plain(1)]
        for k in range(self.order):
            weights.append(weights[-1] * (exponent - k) / (k + 1))
        return self._in_differences(weights)

    def log(self) -> Series:
        """The field whose flow at time 1 is this map: the modified equation of a method (times h).

        By Newton's differences: the coefficient of a tree in the k-th power is a polynomial in k of degree at most the
        tree's order; its derivative at 0 is the field. Source: Murua 2006.

        >>> exact(6).log() == field(6)
        True
        """
        self._require(1, "a logarithm")
        return self._in_differences([plain(0), *(Fraction((-1) ** (k - 1), k) for k in range(1, self.order + 1))])

    def exp(self, step: Any = 1) -> Series:
        """The flow of this field at time `step`.

        >>> field(6).exp() == exact(6)
        True
        """
        self._require(0, "an exponential")
        scaled = self if step == 1 else self * step
        return scaled._computed(_flow, [], _common([Fraction(1, factorial(k)) for k in range(self.order + 1)]))

    def bracket(self, other: Series) -> Series:
        """The commutator of two fields, d/ds d/dt of exp(s self) exp(t other) - exp(t other) exp(s self) at 0.

        >>> a, b = field(2, colours=2, colour=0), field(2, colours=2, colour=1)
        >>> str(a.bracket(b))
        '1 [tau_0]_1 + -1 [tau_1]_0'
        """
        a, b = self._with(other)
        for part in (a, b):
            part._require(0, "a bracket")
        return a._computed(_derivative, [b]) - b._computed(_derivative, [a])

    def _require(self, constant: int, what: str) -> None:
        if not is_zero(self.constant - constant):
            kind = "a map (constant 1)" if constant else "a field (constant 0)"
            raise AlgebraError(f"{what} needs {kind}; this series has the constant {self.constant}")

    def _in_differences(self, weights: list) -> Series:
        """sum_k weights[k] (M - 1)^k applied to the identity, M the composition with this map."""
        if all(isinstance(w, Fraction) for w in weights):
            return self._computed(_differences, [], _common(weights))
        total = weights[0] * identity(self.order, self.colours)
        for k, weight in enumerate(weights[1:], start=1):
            unit = [0] * k + [1]
            total = total + weight * self._computed(_differences, [], (unit, 1))
        return total

    def _computed(self, kernel: Callable, others: Sequence[Series], weights: tuple[list[int], int] = ([], 1)) -> Series:
        """A kernel run on fast numbers; integer weights over a common divisor."""
        orders = self.trees.orders
        arrays, leave = numbers(*((s.coefficients, orders) for s in (self, *others)))
        result = leave(kernel(self.trees, *arrays, *([weights[0]] if weights[0] else [])), orders)
        return Series(self.trees, result if weights[1] == 1 else result / weights[1])


def exact(order: int, colours: int = 1, step: Any = 1) -> Series:
    """The exact flow over `step` steps: step^|t| / gamma(t), in any colours; a float `step` makes floats.

    Source: Hairer, Lubich, Wanner, III.1.1.
    """
    trees = table(order, colours)
    if isinstance(step, float):
        return Series(trees, step**trees.orders / trees.density)
    flow = Series(trees, filled([Fraction(1, int(d)) for d in trees.density]))
    return flow if step == 1 else flow.scaled(step)


def identity(order: int, colours: int = 1) -> Series:
    """The map that does nothing."""
    trees = table(order, colours)
    return Series(trees, [1] + [0] * (len(trees) - 1))


def field(order: int, colours: int = 1, colour: int | None = None) -> Series:
    """The given vector field itself: 1 for a single vertex; of all colours together, or of one of them."""
    trees = table(order, colours)
    chosen = range(colours) if colour is None else [colour]
    if not set(chosen) <= set(range(colours)):
        raise AlgebraError(f"colour {colour}: the trees have the colours 0 to {colours - 1}")
    return Series(trees, [int(i - 1 in chosen) for i in range(len(trees))])


def compose(first: Series, *others: Series) -> Series:
    """Several maps, one after the other in the order given."""
    for other in others:
        first = first.then(other)
    return first


def _common(weights: list[Fraction]) -> tuple[list[int], int]:
    divisor = lcm(*(w.denominator for w in weights))
    return [int(w * divisor) for w in weights], divisor


# Kernels: arrays over ids in, arrays over ids out, of any numbers.


def forests(trees: Trees, a: np.ndarray) -> np.ndarray:
    """The product of a over the children of each tree's root: what a is on forests."""
    values = np.empty_like(a)
    values[: trees.first[2]] = 1
    for n in range(2, trees.order + 1):
        here = slice(trees.first[n], trees.first[n + 1])
        values[here] = values[trees.trunk[here]] * a[trees.branch[here]]
    return values


def _matrix(trees: Trees, a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    kept = cuts(trees.order, trees.colours)
    return kept.start[:-1], kept.trunk, forests(trees, a)[kept.forest] * like(a, kept.times)


def _compose(trees: Trees, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    start, trunk, weight = _matrix(trees, a)
    result = a * b[0]
    result[0] = b[0]
    result[1:] = result[1:] + np.add.reduceat(weight * b[trunk], start)
    return result


def _differences(trees: Trees, a: np.ndarray, weights: Sequence[int]) -> np.ndarray:
    start, trunk, weight = _matrix(trees, a)
    power = a.copy()
    power[0] = power[0] - power[0]
    total = power * weights[1]
    for factor in weights[2:]:
        moved = power.copy()
        moved[1:] = np.add.reduceat(weight * power[trunk], start) - power[1:]
        power = moved
        total = total + power * factor
    total[0] = total[0] + weights[0]
    return total


def _flow(trees: Trees, c: np.ndarray, weights: Sequence[int]) -> np.ndarray:
    power = c
    total = power * weights[1]
    for factor in weights[2:]:
        power = _derivative(trees, c, power)
        total = total + power * factor
    total[0] = total[0] + weights[0]
    return total


def _derivative(trees: Trees, c: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The derivative of b along the field c, for b with constant 0: one branch cut off, weighed by c."""
    kept = cuts(trees.order, trees.colours)
    row, forest, trunk, times = kept.tree, kept.forest, kept.trunk, kept.times
    single = (trees.orders[forest] > 1) & (trees.orders[trees.trunk[forest]] == 1)
    row, forest, trunk, times = (x[single] for x in (row, forest, trunk, times))
    result = c * 0
    np.add.at(result, row + 1, c[trees.branch[forest]] * b[trunk] * like(c, times))
    return result
