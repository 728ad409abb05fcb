"""The number fields, float64 and mpmath, that exact numbers are converted to, and Gauss-Legendre quadrature in them."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from numbers import Rational
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from odekit.exceptions import ExpressionError
from odekit.expressions.parser import parse

if TYPE_CHECKING:
    import sympy


@dataclass(frozen=True)
class Field:
    """A number field: float64 (`FLOAT64`) or mpmath at a number of decimal digits (`mpfield(digits)`).

    Coefficients are written once, exactly, and enter a computation through `number`.

    >>> FLOAT64.number("1/3"), str(mpfield(30).number("1/3"))
    (0.3333333333333333, '0.333333333333333')
    >>> with mpfield(30).context:
    ...     print(mpfield(30).number("1/3"))
    0.333333333333333333333333333333
    """

    name: str
    digits: int

    @property
    def is_mpmath(self) -> bool:
        """Whether numbers are mpmath numbers (True) or python floats and float64 tensors (False)."""
        return self.name == "mpmath"

    @property
    def context(self) -> contextlib.AbstractContextManager:
        """Context manager in which mpmath works at this field's digits (no effect for float64)."""
        if not self.is_mpmath:
            return contextlib.nullcontext()
        import mpmath

        return mpmath.workdps(self.digits)

    def number(self, exact: Any) -> Any:
        """`exact` (Fraction, int, float, Decimal, text, SymPy number) in this field, correctly rounded.

        A float means its shortest decimal in mpmath (0.1 is 1/10 there) and itself in float64.
        Raises `ExpressionError` for what is not a finite real number.
        """
        if not self.is_mpmath and isinstance(exact, float):
            if not math.isfinite(exact):
                raise ExpressionError(f"{exact} is not a finite number")
            return float(exact)
        value = exact_value(exact)
        return self._ratio(value) if isinstance(value, Fraction) else _irrational(value, self)

    def _ratio(self, value: Fraction) -> Any:
        if not self.is_mpmath:
            try:
                return value.numerator / value.denominator  # correctly rounded by Python
            except OverflowError:
                raise ExpressionError("a number beyond the range of float64") from None
        import mpmath

        with mpmath.workdps(self.digits + 10):
            number = mpmath.mpf(value.numerator) / value.denominator
        with mpmath.workdps(self.digits):
            return +number

    def gauss_legendre(self, n: int) -> tuple[list, list]:
        """Nodes and weights, on [0, 1] and in increasing order, of the n-point Gauss-Legendre rule.

        Exact for polynomials of degree 2n - 1; every number is accurate to its last digit.

        >>> nodes, weights = FLOAT64.gauss_legendre(2)
        >>> weights, nodes[0] + nodes[1]
        ([0.5, 0.5], 1.0)
        """
        if n < 1:
            raise ExpressionError(f"a quadrature rule needs at least one node, not {n}")
        nodes, weights = _gauss_legendre(n, self)
        return list(nodes), list(weights)

    def stack(self, numbers: Sequence[Any]) -> Any:
        """Numbers, or equally shaped arrays of them, along a new first axis: a float64 tensor, or an object array."""
        if not self.is_mpmath:
            return torch.stack([torch.as_tensor(number, dtype=torch.float64) for number in numbers])
        stacked = np.empty((len(numbers), *np.shape(numbers[0])), dtype=object)
        for i, number in enumerate(numbers):
            stacked[i] = number
        return stacked


FLOAT64 = Field("float64", 15)


@functools.cache
def mpfield(digits: int) -> Field:
    """The field of mpmath numbers with so many decimal digits (at least 15).

    >>> mpfield(50) is mpfield(50)
    True
    """
    if not isinstance(digits, int) or not 15 <= digits <= 10_000:
        raise ExpressionError(f"digits must be a whole number from 15 to 10000, not {digits!r}")
    return Field("mpmath", digits)


def field_of(number: Any) -> Field:
    """The field a number lives in; mpmath numbers carry no precision of their own, so the ambient one counts.

    >>> field_of(0.5) is FLOAT64
    True
    """
    if isinstance(number, (int, float, torch.Tensor, np.floating, np.integer)):
        return FLOAT64
    if isinstance(number, np.ndarray) and number.dtype != object:
        return FLOAT64
    import mpmath

    if isinstance(number, (mpmath.mpf, np.ndarray)):
        return mpfield(max(15, mpmath.mp.dps))
    raise ExpressionError(f"{type(number).__name__} is in no number field; known: float, float64 tensor, mpmath.mpf")


def exact_value(number: Any) -> Fraction | sympy.Expr:
    """What `number` means exactly: a Fraction, or a SymPy expression where it is irrational.

    A float means its shortest decimal: 0.1 is 1/10. Text goes through `parse`.

    >>> exact_value(0.1), exact_value("1/3"), exact_value("sqrt(2)")
    (Fraction(1, 10), Fraction(1, 3), sqrt(2))
    """
    if isinstance(number, Rational):
        return Fraction(int(number.numerator), int(number.denominator))
    if isinstance(number, (float, np.floating, Decimal)):
        if not math.isfinite(number):
            raise ExpressionError(f"{number} is not a finite number")
        return Fraction(repr(float(number))) if not isinstance(number, Decimal) else Fraction(number)
    if isinstance(number, str):
        number = parse(number)
    import sympy

    if not isinstance(number, sympy.Expr):
        raise ExpressionError(
            f"{type(number).__name__} is no exact number; known: int, Fraction, text, SymPy expression"
        )
    if number.is_Rational:
        return Fraction(int(number.p), int(number.q))
    if number.free_symbols:
        names = ", ".join(sorted(map(str, number.free_symbols)))
        raise ExpressionError(f"{number} is no number: it contains {names}")
    return number


@functools.lru_cache(maxsize=4096)
def _irrational(value: sympy.Expr, field: Field) -> Any:
    import mpmath
    import sympy

    if value.atoms(sympy.Float):  # 0.1 in a SymPy Float means 1/10 like everywhere
        return field.number(sympy.nsimplify(value, rational=True))
    # evalf certifies the digits it returns; precision 1 marks a value it could not tell from zero
    wide = sympy.N(value, field.digits + 15)
    if not wide.is_Float or wide._prec == 1:
        if sympy.radsimp(sympy.expand(value)).is_zero:
            return field.number(0)
        raise ExpressionError(f"{value} has no finite real value")
    with mpmath.workdps(field.digits + 15):
        number = mpmath.mpf(wide._mpf_)
        if not field.is_mpmath:
            return float(number)
    with field.context:
        return +number


@functools.cache
def _gauss_legendre(n: int, field: Field) -> tuple[tuple, tuple]:
    """Newton on the Legendre recurrence, 15 digits beyond the field's, rounded once at the end."""
    import mpmath

    half = []
    with mpmath.workdps(field.digits + 15):
        tiny = mpmath.mpf(10) ** (-field.digits - 8)
        for i in range((n + 1) // 2):
            x = mpmath.cos(mpmath.pi * (i + mpmath.mpf(3) / 4) / (n + mpmath.mpf(1) / 2))
            while True:
                below, here = mpmath.mpf(1), x
                for k in range(2, n + 1):
                    below, here = here, ((2 * k - 1) * x * here - (k - 1) * below) / k
                slope = n * (x * here - below) / (x * x - 1)
                step = here / slope
                x -= step
                if abs(step) < tiny:
                    break
            if 2 * i + 1 == n:
                x = mpmath.mpf(0)
            # 1/(1 - x^2)/slope^2 at the root; the slope changes by O(step) only
            half.append(((1 - x) / 2, (1 + x) / 2, 1 / ((1 - x * x) * slope * slope)))
    lower = [(a, w) for a, _, w in half]
    upper = [(b, w) for _, b, w in half[: n // 2]]
    rule = lower + upper[::-1]
    with field.context:
        to_field = (lambda v: +v) if field.is_mpmath else float
        return tuple(to_field(x) for x, _ in rule), tuple(to_field(w) for _, w in rule)
