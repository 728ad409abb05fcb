"""The phi functions of exponential integrators: exact, in float64, and in any precision.

    phi_0(z) = e^z,   phi_k(z) = int_0^1 e^((1-u) z) u^(k-1)/(k-1)! du = sum_j z^j/(j+k)!

The recurrence phi_{k+1} = (phi_k - 1/k!)/z loses k! / |z|^k in relative accuracy, the Taylor series what its terms
exceed the sum by. Both losses meet at |z| = k, where they are about sqrt(2 pi k): so the series is used inside this
circle, the recurrence outside, and no third formula is needed. Source: Hochbruck, Ostermann, Acta Numerica 19 (2010),
(2.10)-(2.11); Kassam, Trefethen (2005) on the cancellation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.algebra.trees import AlgebraError

if TYPE_CHECKING:
    import sympy

MAX_K = 20


def check_index(k: int) -> None:
    """Refuse an index that is no integer from 0 to 20."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 0 <= k <= MAX_K:
        raise AlgebraError(f"phi_{k}: the index must be an integer from 0 to {MAX_K}")


# ---------------------------------------------------------------- numbers


def phi(k: int, z: Any) -> Any:
    """phi_k at real or complex numbers, element by element.

    `z` is a number or an array of any shape; the result has its shape, in float64 or complex128 (narrower floats are
    widened first: a coefficient that cancels in float32 is lost). An mpmath number gives one, to the ambient digits.
    For k <= 8 and |z| <= 700 the error is below 1e-14 relative to phi_k for real z, and relative to
    max(|phi_k|, max(1, e^(Re z))/(1 + |z|)^k) for complex z. Raises AlgebraError for k outside 0..20.

    >>> phi(1, 0.0), phi(3, -1e-9), phi(2, [0.0, -700.0]).tolist()
    (1.0, 0.166666666625, [0.5, 0.0014265306122448979])
    """
    check_index(k)
    if type(z).__module__.startswith("mpmath"):
        import mpmath

        return phi_mp(k, z, mpmath.mp.dps)
    z = np.asarray(z)
    z = z.astype(np.complex128 if z.dtype.kind == "c" else np.float64)
    near = np.abs(z) < max(k, 1)
    value = np.empty_like(z)
    if k == 0:
        value = np.exp(z)
    else:
        value[near] = _by_series(k, z[near])
        value[~near] = _by_recurrence(k, z[~near])
    return value if value.ndim else value[()].item()


def _by_series(k: int, z: np.ndarray) -> np.ndarray:
    coefficients = _rounded_taylor(k)
    value = np.full_like(z, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * z + coefficient
    return value


def _by_recurrence(k: int, z: np.ndarray) -> np.ndarray:
    value = np.expm1(z) / z  # NumPy's complex expm1 is free of cancellation as well
    for j in range(1, k):
        value = (value - 1 / math.factorial(j)) / z
    return value


@cache
def _rounded_taylor(k: int) -> tuple[float, ...]:
    """As many Taylor coefficients as |z| <= k can feel, each correctly rounded."""
    radius, found = max(k, 1), []
    while not found or found[-1] * radius ** len(found) > 1e-19 * found[0]:
        found.append(1 / math.factorial(k + len(found)))
    return tuple(found)


def phi_mp(k: int, z: Any, digits: int) -> Any:
    """phi_k of one real or complex number as an mpmath number, correct to `digits` decimal digits.

    >>> import mpmath
    >>> mpmath.nstr(phi_mp(2, -1, 40), 40)
    '0.3678794411714423215955237701614608674458'
    """
    check_index(k)
    import mpmath

    z = mpmath.mpmathify(z)
    size = float(abs(z))
    # the circle is smaller than in float64: digits are cheap here, terms are not
    by_series = size < 0.5
    spare = 15 if by_series or not k else 15 + k * (1 + math.log10(max(k / size, 1)))
    with mpmath.workdps(int(digits + spare)):
        if by_series and k:
            value = term = mpmath.mpf(1) / math.factorial(k)
            j = k
            while abs(term) > abs(value) * mpmath.eps:
                j += 1
                term = term * z / j
                value += term
        else:
            value = mpmath.exp(z) - sum(z**j / math.factorial(j) for j in range(k))
            value /= z**k
    with mpmath.workdps(digits):
        return +value


# ---------------------------------------------------------------- symbols


def function(k: int) -> Any:
    """The formal function phiK, the one that `odekit.expressions.parse` writes."""
    import sympy

    return sympy.Function(f"phi{k}")


def closed_form(k: int, z: Any) -> sympy.Expr:
    """phi_k in terms of e^z; exactly 1/k! at z = 0.

    >>> import sympy
    >>> closed_form(2, sympy.Symbol("z")), closed_form(3, 0)
    ((-z + exp(z) - 1)/z**2, 1/6)
    """
    check_index(k)
    import sympy

    z = sympy.sympify(z)
    if z == 0:
        return sympy.Rational(1, math.factorial(k))
    return (sympy.exp(z) - sum(z**j / sympy.factorial(j) for j in range(k))) / z**k


def recurrence(k: int, z: Any) -> sympy.Expr:
    """phi_k in terms of phi_{k-1}, both formal: phi_k(z) = (phi_{k-1}(z) - 1/(k-1)!)/z.

    >>> import sympy
    >>> recurrence(3, sympy.Symbol("z"))
    (phi2(z) - 1/2)/z
    """
    check_index(k)
    if k == 0:
        raise AlgebraError("phi_0 = exp starts the recurrence")
    import sympy

    return (function(k - 1)(z) - sympy.Rational(1, math.factorial(k - 1))) / z


def taylor(k: int, count: int) -> list[Fraction]:
    """The first `count` Taylor coefficients 1/(j+k)! of phi_k.

    >>> taylor(2, 3)
    [Fraction(1, 2), Fraction(1, 6), Fraction(1, 24)]
    """
    check_index(k)
    return [Fraction(1, math.factorial(k + j)) for j in range(count)]


def derivative(k: int, times: int = 1) -> dict[int, int]:
    """The derivative of phi_k in terms of phi functions: a mapping from indices to integers.

    phi_k' = phi_k - k phi_{k+1}; repeated, sum_i (-1)^i binom(m, i) k (k+1) ... (k+i-1) phi_{k+i}.

    >>> derivative(2), derivative(1, times=2)
    ({2: 1, 3: -2}, {1: 1, 2: -2, 3: 2})
    """
    check_index(k)
    found, rising = {}, 1
    for i in range(times + 1):
        found[k + i] = (-1) ** i * math.comb(times, i) * rising
        rising *= k + i
    return {index: factor for index, factor in found.items() if factor}


def index_of(name: str) -> int | None:
    """K of the formal function phiK, None for another name."""
    return int(name[3:]) if name.startswith("phi") and name[3:].isdigit() else None


def in_exponentials(expression: sympy.Expr) -> sympy.Expr:
    """An expression with every formal phiK in its closed form.

    >>> from odekit.expressions import parse
    >>> in_exponentials(parse("phi1(-z) + phi2(0)", symbols="z"))
    1/2 - (-1 + exp(-z))/z
    """
    import sympy

    def closed(node: Any) -> Any:
        return closed_form(index_of(node.func.__name__), node.args[0])

    return expression.replace(
        lambda node: isinstance(node, sympy.Function) and index_of(node.func.__name__) is not None, closed
    )


def evaluate(expression: sympy.Expr, values: Mapping[str, Any], phi: Callable[[int, Any], Any] = phi) -> Any:
    """An expression in formal phiK at numbers: floats, arrays or mpmath numbers, by name of the symbol.

    >>> from odekit.expressions import parse
    >>> evaluate(parse("2*phi2(z/2) - phi1(z)**2", symbols="z"), {"z": 0.0})
    0.0
    """
    if expression.is_Symbol:
        if expression.name not in values:
            raise AlgebraError(f"{expression.name} has no value (given: {', '.join(sorted(values)) or 'none'})")
        return values[expression.name]
    if expression.is_number and not expression.is_Function:
        if any(type(v).__module__.startswith("mpmath") for v in values.values()):
            import mpmath

            return expression.evalf(mpmath.mp.dps + 5)._to_mpmath(mpmath.mp.prec)
        return float(expression)
    arguments = [evaluate(part, values, phi) for part in expression.args]
    if expression.is_Add:
        return sum(arguments[1:], arguments[0])
    if expression.is_Mul:
        return math.prod(arguments[1:], start=arguments[0])
    if expression.is_Pow:
        base, exponent = expression.args
        return arguments[0] ** (int(exponent) if exponent.is_Integer else arguments[1])
    k = index_of(expression.func.__name__)
    if k is None:
        raise AlgebraError(f"{expression} cannot be evaluated: only +, *, powers and phiK are known")
    return phi(k, arguments[0])
