"""The numbers a computation runs on, chosen once from what goes in: one code serves rationals, roots, symbols, floats.

Everything in this room is graded: a coefficient of a tree of order n is a sum of products of n entries. So rationals
become integers, each multiplied by D^weight with one D for all, and no fraction is reduced before the end; numbers with
roots become integer vectors over a basis of their field, symbols sparse polynomials. Floats, and elements of rings we
do not know, are taken as they are: all that is asked of a ring is +, -, * and the division by integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from math import gcd, lcm
from typing import Any

import numpy as np

Leave = Callable[[Sequence, Any], np.ndarray]
Part = tuple[Sequence, Any]


def plain(value: Any) -> Any:
    """An exact number in its plain form: a Fraction where it is rational, else itself.

    >>> plain(3), plain(0.5)
    (Fraction(3, 1), 0.5)
    """
    if isinstance(value, int | np.integer):
        return Fraction(int(value))
    if getattr(value, "is_Rational", False):  # SymPy's
        return Fraction(int(value.p), int(value.q))
    return value


def is_symbolic(value: Any) -> bool:
    """Whether a number is an expression of SymPy's."""
    return hasattr(value, "free_symbols")


def is_zero(value: Any, tolerance: Any = 0) -> bool:
    """Whether a number vanishes: exactly, or to a tolerance where one is given."""
    if tolerance:
        return bool(abs(value) <= tolerance)
    if is_symbolic(value) and not value.is_Rational:
        if value.is_number and abs(value.evalf(20)) > 1e-10:  # most are far from zero, and that is quickly seen
            return False
        (elements,), leave = numbers(([value], 1))
        return bool(leave(elements, 1)[0] == 0)
    return bool(value == 0)


def shown(value: Any, width: int = 60) -> str:
    """An exact number as text, or in float64 where that would fill a line.

    >>> shown(Fraction(1, 3)), shown(Fraction(1, 3), width=2)
    ('1/3', '0.33333333333333331')
    """
    text = str(value)
    return text if len(text) <= width else f"{float(value):.17g}"


def array(values: Iterable[Any]) -> np.ndarray:
    """Numbers as an array: float64 or complex128 where floats occur, else objects with integers as Fractions."""
    values = [plain(v) for v in values]
    if any(isinstance(v, float | complex) for v in values) and not any(map(is_symbolic, values)):
        return np.array(values, dtype=complex if any(isinstance(v, complex) for v in values) else float)
    return filled(values)


def filled(values: Sequence) -> np.ndarray:
    """An array of objects, whatever they are."""
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def like(values: np.ndarray, integers: np.ndarray) -> np.ndarray:
    """Integers that mix with `values`: python's own where these are objects."""
    return integers.astype(object) if values.dtype == object else integers


def numbers(*parts: Part) -> tuple[list[np.ndarray], Leave]:
    """The arrays of `parts`, pairs (values, weights), as numbers that compute fast; and `leave`, the way back.

    `leave(result, weights)` returns plain numbers. A product has the sum of its factors' weights, a sum has the weight
    its terms must share. Weights are non-negative integers, one for an array or one for each value; what has weight 0
    must be an integer.

    >>> (a, b), leave = numbers(([Fraction(1, 2)], 1), ([Fraction(1, 12)], 2))
    >>> a, b, leave(a * a - b, 2)
    (array([3], dtype=object), array([3], dtype=object), array([Fraction(1, 6)], dtype=object))
    """
    arrays = [array(values) for values, _ in parts]
    if any(a.dtype != object for a in arrays):
        kind = complex if any(a.dtype == complex for a in arrays) else float
        return [a.astype(kind) for a in arrays], _as_is
    weights = [np.broadcast_to(w, a.shape) for a, (_, w) in zip(arrays, parts, strict=True)]
    entries = [v for a in arrays for v in a]
    if all(isinstance(v, Fraction) for v in entries):
        return _graded(arrays, weights)
    if not any(map(is_symbolic, entries)):
        return arrays, _as_is
    elements, back = _in_domain(entries)
    splits = np.cumsum([len(a) for a in arrays])[:-1]
    arrays = np.split(filled(elements), splits)
    if all(isinstance(v, Algebraic) for v in elements):
        return _graded(arrays, weights)
    return arrays, lambda values, _: filled([plain(back(v)) for v in values])


def _as_is(values: Sequence, _: Any) -> np.ndarray:
    return np.asarray(values)


def _graded(arrays: list[np.ndarray], weights: list[np.ndarray]) -> tuple[list[np.ndarray], Leave]:
    """Multiply by D^weight with a D that clears all denominators, found from the smallest weights up."""
    pairs = {(int(w), v.denominator) for a, ws in zip(arrays, weights, strict=True) for v, w in zip(a, ws, strict=True)}
    D = 1
    for weight, denominator in sorted(pairs):
        D *= denominator // gcd(denominator, D**weight)

    def enter(value: Any, power: int) -> Any:
        value = value * power
        return value.numerator if isinstance(value, Fraction) else value

    def back(value: Any, power: int) -> Any:
        return value.plain(power) if isinstance(value, Algebraic) else Fraction(int(value), power)

    def each(convert: Callable, values: Sequence, weights: Any) -> np.ndarray:
        powers = {int(w): D ** int(w) for w in np.unique(weights)}
        return filled(
            [convert(v, powers[int(w)]) for v, w in zip(values, np.broadcast_to(weights, len(values)), strict=True)]
        )

    return [each(enter, a, w) for a, w in zip(arrays, weights, strict=True)], lambda values, w: each(back, values, w)


def _in_domain(entries: list) -> tuple[list, Callable[[Any], Any]]:
    """Elements of the smallest domain SymPy finds for all entries, and the way back to expressions.

    Functions such as phi1(z) are symbols of their own, beside z.
    """
    import sympy
    from sympy.core.function import AppliedUndef

    expressions = [sympy.sympify(v) for v in entries]
    names = {f: sympy.Dummy() for e in expressions for f in e.atoms(AppliedUndef)}
    functions = {dummy: f for f, dummy in names.items()}
    domain, elements = sympy.construct_domain([e.xreplace(names) for e in expressions], extension=True)
    if domain.is_Algebraic:
        modulus = [c / domain.mod.to_list()[0] for c in domain.mod.to_list()]
        field = Extension(domain.ext.as_expr(), tuple(Fraction(int(c.numerator), int(c.denominator)) for c in modulus))
        return [field.element(e.to_list()) for e in elements], lambda v: v
    if domain.is_PolynomialRing and domain.domain.is_ZZ:  # integers must be invertible
        rational = domain.ring.clone(domain=sympy.QQ)
        domain, elements = rational.to_domain(), [e.set_ring(rational) for e in elements]

    def back(value: Any) -> Any:
        return domain.to_sympy(domain.convert(value) if isinstance(value, int) else value).xreplace(functions)

    return elements, back


class Extension:
    """The field of rationals with a root of a monic polynomial, given by its coefficients from the highest down."""

    def __init__(self, root: Any, modulus: tuple[Fraction, ...]):
        self.root = root
        self.degree = len(modulus) - 1
        # root^degree in terms of lower powers, from the constant up
        self.reduction = tuple(_integer(-c) for c in reversed(modulus[1:]))

    def element(self, coefficients: Sequence) -> Algebraic:
        """The element with these coefficients, from the highest power down."""
        rising = [_integer(Fraction(int(c.numerator), int(c.denominator))) for c in reversed(coefficients)]
        return Algebraic(self, tuple(rising + [0] * (self.degree - len(rising))))


class Algebraic:
    """An element of an Extension: coefficients of 1, root, root^2, ...; integers and rationals mix with it."""

    __slots__ = ("coefficients", "field")

    def __init__(self, field: Extension, coefficients: tuple):
        self.field, self.coefficients = field, coefficients

    @property
    def denominator(self) -> int:
        return lcm(*(c.denominator for c in self.coefficients))

    def plain(self, divisor: int = 1) -> Any:
        """The number over a divisor, as a Fraction or a SymPy expression."""
        import sympy

        parts = [Fraction(c, divisor) for c in self.coefficients]
        if not any(parts[1:]):
            return parts[0]
        terms = (sympy.Rational(c.numerator, c.denominator) * self.field.root**k for k, c in enumerate(parts))
        return sympy.expand(sum(terms))

    def __add__(self, other: Any) -> Algebraic:
        if isinstance(other, Algebraic):
            return Algebraic(
                self.field, tuple([a + b for a, b in zip(self.coefficients, other.coefficients, strict=True)])
            )
        return Algebraic(self.field, (self.coefficients[0] + other, *self.coefficients[1:]))

    __radd__ = __add__

    def __neg__(self) -> Algebraic:
        return Algebraic(self.field, tuple([-a for a in self.coefficients]))

    def __sub__(self, other: Any) -> Algebraic:
        return self + (-other)

    def __rsub__(self, other: Any) -> Algebraic:
        return -self + other

    def __mul__(self, other: Any) -> Algebraic:
        mine = self.coefficients
        if not isinstance(other, Algebraic):
            other = int(other) if isinstance(other, np.integer) else other
            return Algebraic(self.field, tuple([_integer(a * other) for a in mine]))
        product = [0] * (2 * len(mine) - 1)
        for i, a in enumerate(mine):
            if a:
                for j, b in enumerate(other.coefficients, start=i):
                    product[j] += a * b
        degree, reduction = self.field.degree, self.field.reduction
        for k in range(len(product) - 1, degree - 1, -1):
            top = product.pop()
            if top:
                for j, r in enumerate(reduction, start=k - degree):
                    product[j] += top * r
        return Algebraic(self.field, tuple(product))

    __rmul__ = __mul__

    def __floordiv__(self, other: int) -> Algebraic:
        """Division by an integer that goes out."""
        return Algebraic(self.field, tuple([a // other for a in self.coefficients]))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Algebraic):
            return self.coefficients == other.coefficients
        return self.coefficients[0] == other and not any(self.coefficients[1:])

    def __hash__(self) -> int:
        return hash(self.coefficients)

    def __bool__(self) -> bool:
        return any(self.coefficients)


def _integer(value: Any) -> Any:
    return value.numerator if isinstance(value, Fraction) and value.denominator == 1 else value
