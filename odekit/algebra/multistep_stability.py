"""Stability of linear multistep methods on equal steps: the root condition, intervals, sectors; all decided exactly.

With rho and sigma the polynomials of alpha and beta, z = h lambda is stable where rho - z sigma satisfies the root
condition. Its roots cross the unit circle where z = rho/sigma there, and on the circle rho times the conjugate of sigma
is a polynomial in the cosine of the angle: its real roots are isolated, signs between them are decided in fractions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from odekit.algebra.multistep import Multistep
from odekit.algebra.numbers import plain
from odekit.algebra.polynomials import Polynomial, added, derivative, polynomial, product, real_roots, roots, value
from odekit.algebra.trees import AlgebraError

SINE_SQUARED = polynomial([1, 0, -1])  # in the cosine
COSINE = polynomial([0, 1])


# Polynomials whose coefficients go from the highest power down, as alpha does.


def is_schur(coefficients: Sequence[Any]) -> bool:
    """Whether all roots lie inside the unit circle. Source: Miller 1971, theorem 6.1.

    >>> is_schur([2, -1]), is_schur([1, -1])
    (True, False)
    """
    p = _trimmed(coefficients)
    while len(p) > 1:
        if not _square(p[-1]) < _square(p[0]):
            return False
        p = _reduced(p)
    return bool(p)


def root_condition(coefficients: Sequence[Any]) -> bool:
    """Whether all roots lie in the closed unit disc and those on the circle are simple.

    Exact on rational coefficients and on complex ones (of SymPy's QQ_I); by roots to 1e-7 on others.
    Source: Miller 1971, On the location of zeros of certain classes of polynomials, theorem 6.1.

    >>> root_condition([1, -1]), root_condition([1, 0, -1]), root_condition([1, -2, 1]), root_condition([1, 4, -5])
    (True, True, False, False)
    """
    p = _trimmed(coefficients)
    if not all(isinstance(v, Fraction) or hasattr(v, "quadrant") for v in p):
        return _numeric_root_condition(np.array([complex(v) for v in p]))
    while len(p) > 1:
        inner = _reduced(p)
        if not any(inner):  # all roots on the circle or in mirrored pairs: the derivative tells which
            return is_schur([v * (len(p) - 1 - k) for k, v in enumerate(p[:-1])])
        if not _square(p[-1]) < _square(p[0]):
            return False
        p = inner
    return bool(p)


def _trimmed(coefficients: Sequence[Any]) -> list[Any]:
    p = [plain(v) for v in coefficients]
    while p and p[0] == 0:
        p = p[1:]
    return p


def _reduced(p: Sequence[Any]) -> list[Any]:
    """(p*(0) p(z) - p(0) p*(z))/z, one degree less and scaled; p* has the conjugate coefficients in reverse."""
    inner = [_conjugate(p[0]) * a - p[-1] * _conjugate(b) for a, b in zip(p[:-1], p[:0:-1], strict=True)]
    return [v / inner[0] for v in inner] if inner[0] else inner


def _conjugate(v: Any) -> Any:
    return type(v)(v.x, -v.y) if hasattr(v, "quadrant") else v


def _square(v: Any) -> Any:
    return v.x**2 + v.y**2 if hasattr(v, "quadrant") else v * v


def _numeric_root_condition(p: np.ndarray, tolerance: float = 1e-7) -> bool:
    found = np.roots(p)
    if np.any(np.abs(found) > 1 + tolerance):
        return False
    on = found[np.abs(found) > 1 - tolerance]
    return not any(abs(a - b) < 1e-4 for i, a in enumerate(on) for b in on[:i])


# Methods.


def zero_stable(method: Multistep) -> bool:
    """Whether the method is zero-stable where steps go on in the same ratios as its own (equal, as a rule).

    >>> from odekit.algebra.multistep import bdf
    >>> [zero_stable(bdf(k)) for k in range(1, 8)]
    [True, True, True, True, True, True, False]
    """
    return root_condition(method.alpha)


def strongly_stable(method: Multistep) -> bool:
    """Whether rho has no root on the unit circle but a simple 1, and none outside.

    Where there is another, as in leapfrog's and Simpson's rule, errors of the start live on as an oscillation that no
    step damps, and a dissipative problem makes grow: such methods are weakly stable.
    Source: Hairer, Norsett, Wanner I, section III.9.

    >>> from odekit.algebra.multistep import adams_bashforth, bdf, nystroem
    >>> [strongly_stable(m) for m in (adams_bashforth(3), bdf(6), bdf(7), nystroem(2))]
    [True, True, False, False]
    """
    quotient, total = [], Fraction(0)
    for v in map(plain, _equal_steps(method)[0]):
        total = total + v
        quotient.append(total)
    numbers = quotient if all(isinstance(v, Fraction) for v in quotient) else [float(v) for v in quotient]
    return abs(numbers[-1]) < 1e-12 and is_schur(numbers[:-1])


def violating_root(method: Multistep) -> tuple[complex, int] | None:
    """The root of rho that breaks zero-stability, with its multiplicity; None for a zero-stable method.

    The largest outside the unit circle, else a multiple one on it.

    >>> from odekit.algebra.multistep import from_text
    >>> violating_root(from_text("greedy", 3, ["1", "4", "-5"], ["0", "4", "2"]))
    ((-5+0j), 1)
    """
    rho = polynomial(reversed(_rational(method)[0]))
    if root_condition(rho[::-1]):
        return None
    found = max(roots(rho), key=abs)
    if abs(found) < 1 + 1e-12:
        found = max((r for r in roots(rho) if _multiplicity(rho, r) > 1), key=abs)
    return complex(found), _multiplicity(rho, found)


def _multiplicity(p: Polynomial, root: Any) -> int:
    """How often a root occurs: how many derivatives, square-free parts apart, vanish there."""
    count = 0
    while len(p) > 1 and min(abs(r - root) for r in roots(p)) < 1e-9:
        p, count = derivative(p), count + 1
    return count


def locus(method: Multistep, angles: np.ndarray) -> np.ndarray:
    """The points z = rho/sigma at exp(i angle): where a root of rho - z sigma lies on the unit circle."""
    alpha, beta = (np.array([float(v) for v in part]) for part in _equal_steps(method))
    zeta = np.exp(1j * np.asarray(angles))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.polyval(alpha, zeta) / np.polyval(beta, zeta)


def _equal_steps(method: Multistep) -> tuple[tuple, tuple]:
    method = method.on_equal_steps
    if not method.is_uniform:
        raise AlgebraError(f"{method.name}: stability regions are those of equal steps")
    return method.alpha, method.beta


def _rational(method: Multistep) -> tuple[list[Fraction], list[Fraction]]:
    parts = [[plain(v) for v in part] for part in _equal_steps(method)]
    if not all(isinstance(v, Fraction | float) for part in parts for v in part):
        raise AlgebraError(f"{method.name}: stability is decided on rational coefficients, and these are not")
    return tuple([Fraction(v) for v in part] for part in parts)


def _along_circle(method: Multistep) -> tuple[Polynomial, Polynomial, Polynomial]:
    """On the circle, in its cosine: Re(rho conj(sigma)), Im(rho conj(sigma))/sine, and |sigma|^2."""
    alpha, beta = _rational(method)
    first, second = _chebyshev(len(alpha))

    def real(left: Sequence, right: Sequence) -> Polynomial:
        parts = [polynomial([])]
        parts += [product(first[abs(j - i)], (a * b,)) for i, a in enumerate(left) for j, b in enumerate(right)]
        return _sum(parts)

    imaginary = _sum(
        product(second[abs(j - i) - 1], (a * b if j > i else -a * b,))  # powers fall along the lists
        for i, a in enumerate(alpha)
        for j, b in enumerate(beta)
        if i != j
    )
    return real(alpha, beta), imaginary, real(beta, beta)


def _sum(parts: Any) -> Polynomial:
    total = polynomial([])
    for p in parts:
        total = added(total, p)
    return total


def _chebyshev(degree: int) -> tuple[list[Polynomial], list[Polynomial]]:
    """T_0 ... T_degree and U_0 ... U_degree."""
    first, second = [polynomial([1]), COSINE], [polynomial([1]), polynomial([0, 2])]
    for rows in (first, second):
        while len(rows) <= degree:
            rows.append(added(product(polynomial([0, 2]), rows[-1]), rows[-2], -1))
    return first, second


def is_stable_at(method: Multistep, z: Any) -> bool:
    """Whether z = h lambda, rational or of SymPy's QQ_I, lies in the region of stability.

    >>> from odekit.algebra.multistep import adams_bashforth
    >>> is_stable_at(adams_bashforth(2), Fraction(-1)), is_stable_at(adams_bashforth(2), Fraction(-101, 100))
    (True, False)
    """
    alpha, beta = _rational(method)
    if hasattr(z, "quadrant"):  # what is complex takes no Fractions
        alpha, beta = ([type(z)(type(z.x)(v.numerator, v.denominator), 0) for v in part] for part in (alpha, beta))
    p = [a - z * b for a, b in zip(alpha, beta, strict=True)]
    return p[0] != 0 and root_condition(p)


def is_a_stable(method: Multistep) -> bool:
    """Whether the left half-plane is in the stability region.

    The root locus must not enter it, so a polynomial in the cosine must not be negative, and one point in it be stable.

    >>> from odekit.algebra.multistep import adams_moulton, bdf
    >>> [is_a_stable(m) for m in (bdf(1), bdf(2), bdf(3), adams_moulton(2), adams_moulton(3))]
    [True, True, False, True, False]
    """
    if not root_condition(_rational(method)[0]) or not is_stable_at(method, Fraction(-1)):
        return False
    real, _, _ = _along_circle(method)
    marks = [Fraction(-1), *(c for c in real_roots(real) if -1 < c < 1), Fraction(1)]
    return all(value(real, (a + b) / 2) >= 0 for a, b in zip(marks, marks[1:], strict=False))


def a_alpha(method: Multistep) -> float:
    """The angle alpha, in degrees, of the largest sector around the negative axis in the stability region.

    90 for A-stable methods, 0 where there is no sector. Source: Widlund 1967; Hairer, Wanner II, section V.2.

    >>> from odekit.algebra.multistep import bdf
    >>> [round(a_alpha(bdf(k)), 4) for k in range(1, 8)]
    [90.0, 90.0, 86.0324, 73.3517, 51.8398, 17.8398, 0.0]
    """
    if is_a_stable(method):
        return 90.0
    if real_interval(method) != math.inf:
        return 0.0
    real, imaginary, _ = _along_circle(method)
    # tan^2 of the angle with the negative axis is (1 - c^2) q^2 / p^2 at the cosine c; its extrema:
    inner = added(product(polynomial([0, -1]), imaginary), product(SINE_SQUARED, derivative(imaginary)))
    extrema = added(product(inner, real), product(SINE_SQUARED, imaginary, derivative(real)), -1)
    angles = []
    for c in real_roots(extrema):
        p, q = value(real, c), value(imaginary, c)
        if -1 < c < 1 and p < 0:
            angles.append(math.degrees(math.atan(math.sqrt(1 - c * c) * abs(float(q / p)))))
    return min(angles, default=90.0)


def real_interval(method: Multistep) -> Fraction | float:
    """The length of the interval of the negative axis, from 0 on, in the stability region; infinity if it is all.

    A Fraction where it is rational, as for Adams methods, whose interval ends with a root at -1.

    >>> from odekit.algebra.multistep import adams_bashforth
    >>> [str(real_interval(adams_bashforth(k))) for k in range(1, 6)]
    ['2', '1', '6/11', '3/10', '90/551']
    """
    real, imaginary, length = _along_circle(method)
    cosines = [Fraction(-1), Fraction(1), *(c for c in real_roots(imaginary) if -1 < c < 1)]
    ends = [-value(real, c) / value(length, c) for c in cosines if value(length, c)]
    found = _stable_until(method, ends, lambda x: -x)
    return found if isinstance(found, Fraction) and found.denominator < 10**12 else float(found)


def imaginary_interval(method: Multistep) -> float:
    """The largest y for which the segment from 0 to i y lies in the stability region.

    Where the whole locus is imaginary, as for the midpoint and Simpson's rule, stability ends where it turns back.

    >>> from odekit.algebra.multistep import adams_bashforth, milne_simpson, nystroem
    >>> [round(imaginary_interval(adams_bashforth(k)), 4) for k in (1, 2, 3, 4)]
    [0.0, 0.0, 0.7236, 0.43]
    >>> imaginary_interval(nystroem(2)), imaginary_interval(milne_simpson(2)) ** 2
    (1.0, 2.9999999999999996)
    """
    from sympy import QQ, QQ_I

    real, imaginary, length = _along_circle(method)
    turns = real
    if not real:  # y = sine q/l with the sine of the angle: dy = 0
        slope = added(product(derivative(imaginary), length), product(imaginary, derivative(length)), -1)
        turns = added(product(COSINE, imaginary, length), product(SINE_SQUARED, slope), -1)
    ends = []
    for c in real_roots(turns):
        if -1 < c < 1 and value(length, c):
            ends.append(Fraction(math.sqrt(1 - c * c)) * abs(value(imaginary, c) / value(length, c)))
    return float(_stable_until(method, ends, lambda y: QQ_I(QQ(0), QQ(y.numerator, y.denominator))))


def _stable_until(method: Multistep, ends: Sequence[Fraction], z: Callable[[Fraction], Any]) -> Fraction | float:
    """The largest x such that all z(x) from 0 on are stable, which may end at these points only."""
    if not is_stable_at(method, Fraction(0)):
        return Fraction(0)
    marks = [Fraction(0), *sorted({x for x in ends if x > Fraction(1, 10**12)})]
    for left, right in zip(marks, [*marks[1:], 2 * marks[-1] + 1], strict=True):
        if not is_stable_at(method, z((left + right) / 2)):
            return left
    return math.inf
