"""Linear multistep methods on equal steps: order, zero-stability and regions of stability, decided exactly.

sum_j alpha_j y_(n+j) = h sum_j beta_j f_(n+j), with rho and sigma the polynomials of the alpha and beta.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import atan, degrees, factorial, sqrt

from odekit.algebra.polynomials import Polynomial, added, derivative, polynomial, product, real_roots, value
from odekit.algebra.trees import AlgebraError
from odekit.exceptions import unknown

X = polynomial([0, 1])
SINE_SQUARED = polynomial([1, 0, -1])  # in the cosine


@dataclass(frozen=True)
class LinearMultistep:
    """A k-step method: `alpha` and `beta` (k + 1 numbers each, oldest first), scaled by what the source prints.

    >>> bdf(2).order, bdf(2).error_constant, bdf(2).is_zero_stable
    (2, Fraction(-1, 3), True)
    """

    name: str
    alpha: Polynomial
    beta: Polynomial

    def __post_init__(self) -> None:
        for key in ("alpha", "beta"):
            object.__setattr__(self, key, tuple(Fraction(x) for x in getattr(self, key)))
        if len(self.alpha) != len(self.beta) or len(self.alpha) < 2 or not self.alpha[-1]:
            raise AlgebraError(f"{self.name}: k + 1 numbers alpha and beta were expected, with the last alpha not zero")

    @property
    def steps(self) -> int:
        """k, the number of steps looked back."""
        return len(self.alpha) - 1

    def defect(self, q: int) -> Fraction:
        """C_q, the coefficient of h^q y^(q) when the exact solution is put in.

        Source: Hairer, Norsett, Wanner I, III.2.
        """
        powers = sum(a * Fraction(j) ** q for j, a in enumerate(self.alpha))
        rates = sum(b * Fraction(j) ** (q - 1) for j, b in enumerate(self.beta)) if q else 0
        return (powers - q * rates) / factorial(q)

    @cached_property
    def order(self) -> int:
        """The order p: C_0 = ... = C_p = 0; -1 for a method that is not even exact for constants."""
        q = 0
        while not self.defect(q):
            q += 1
        return q - 1

    @property
    def error_constant(self) -> Fraction:
        """C_(p+1) / sigma(1). Source: Hairer, Norsett, Wanner I, III.2."""
        return self.defect(self.order + 1) / sum(self.beta)

    @cached_property
    def is_zero_stable(self) -> bool:
        """Whether the roots of rho lie in the closed unit disc, those on the circle simple: decided exactly."""
        return root_condition(self.alpha)

    def is_stable_at(self, z: Fraction) -> bool:
        """Whether a real z = h lambda lies in the region of stability."""
        return root_condition(added(polynomial(self.alpha), polynomial(self.beta), -z))

    @cached_property
    def real_interval(self) -> Fraction | float:
        """The largest r such that the method is stable on (-r, 0]; rational where it is.

        >>> [str(adams_bashforth(k).real_interval) for k in range(1, 6)]
        ['2', '1', '6/11', '3/10', '90/551']
        """
        if not self.is_zero_stable:
            return Fraction(0)
        marks = [Fraction(0), *sorted(-z for z in self._real_crossings() if z < 0)]
        for left, right in zip(marks, [*marks[1:], 2 * marks[-1] + 1], strict=True):
            if not self.is_stable_at(-(left + right) / 2):
                return left if left.denominator < 10**12 else float(left)
        return float("inf")

    @cached_property
    def a_alpha(self) -> float:
        """The largest alpha in degrees such that the sector |arg(-z)| < alpha is stable; 90 is A-stability.

        Source: Widlund 1967; Hairer, Wanner II, V.2, table 2.1.

        >>> [round(bdf(k).a_alpha, 4) for k in range(1, 7)]
        [90.0, 90.0, 86.0324, 73.3517, 51.8398, 17.8398]
        """
        if self.real_interval != float("inf"):
            return 0.0
        real, imaginary = self._locus
        # tan^2 of the angle with the negative axis is (1 - c^2) q^2 / p^2 at the cosine c; its extrema:
        inner = added(product(polynomial([0, -1]), imaginary), product(SINE_SQUARED, derivative(imaginary)))
        extrema = added(product(inner, real), product(SINE_SQUARED, imaginary, derivative(real)), -1)
        angles = [90.0]
        for c in real_roots(extrema):
            p, q = value(real, c), value(imaginary, c)
            if -1 < c < 1 and p < 0:
                angles.append(degrees(atan(sqrt(1 - c * c) * abs(float(q / p)))))
        return min(angles)

    @cached_property
    def _locus(self) -> tuple[Polynomial, Polynomial]:
        return _on_circle(self.alpha, self.beta)

    def _real_crossings(self) -> list[Fraction]:
        """The real z at which a root may cross the unit circle."""
        real, imaginary = self._locus
        length, _ = _on_circle(self.beta, self.beta)
        cosines = [Fraction(-1), *(c for c in real_roots(imaginary) if -1 < c < 1)]
        return [value(real, c) / value(length, c) for c in cosines if value(length, c)]


def _on_circle(alpha: Sequence[Fraction], beta: Sequence[Fraction]) -> tuple[Polynomial, Polynomial]:
    """rho(e^it) times the conjugate of sigma(e^it): real part, and imaginary part over sin t, in c = cos t."""
    real, imaginary = polynomial([]), polynomial([])
    first, second = _chebyshev(len(alpha))
    for j, a in enumerate(alpha):
        for k, b in enumerate(beta):
            real = added(real, first[abs(j - k)], a * b)
            if j != k:
                imaginary = added(imaginary, second[abs(j - k) - 1], a * b if j > k else -a * b)
    return real, imaginary


def root_condition(coefficients: Sequence[Fraction]) -> bool:
    """Whether all roots lie in the closed unit disc, those on the circle simple; exact, for rational coefficients.

    Source: Miller 1971, On the location of zeros of certain classes of polynomials; Strikwerda 2004, section 4.3.

    >>> root_condition([-1, 0, 1]), root_condition([1, -2, 1])
    (True, False)
    """
    p = polynomial(coefficients)
    while len(p) > 1:
        if abs(p[0]) < abs(p[-1]):
            p = _reduced(p)
        elif not _reduced(p):
            return _is_schur(derivative(p))
        else:
            return False
    return bool(p)


def _is_schur(p: Polynomial) -> bool:
    """Whether all roots lie inside the unit circle."""
    while len(p) > 1:
        if abs(p[0]) >= abs(p[-1]):
            return False
        p = _reduced(p)
    return True


def _reduced(p: Polynomial) -> Polynomial:
    """(p*(0) p - p(0) p*) / x, with p* the reversed polynomial; scaled to a leading one."""
    difference = [p[-1] * a - p[0] * b for a, b in zip(p, reversed(p), strict=True)][1:]
    return polynomial([x / difference[-1] for x in difference] if difference[-1] else difference)


def _chebyshev(degree: int) -> tuple[list[Polynomial], list[Polynomial]]:
    """T_0 ... T_degree and U_0 ... U_degree."""
    first, second = [polynomial([1]), X], [polynomial([1]), polynomial([0, 2])]
    for rows in (first, second):
        while len(rows) <= degree:
            rows.append(added(product(polynomial([0, 2]), rows[-1]), rows[-2], -1))
    return first, second


# The classical families, from the polynomials that define them.


def adams_bashforth(k: int) -> LinearMultistep:
    """y_(n+k) = y_(n+k-1) + h times the integral of the polynomial through k slopes."""
    return LinearMultistep(f"ab-{k}", _difference(k, 1), (*_integrals(k, k, k - 1), 0))


def adams_moulton(order: int) -> LinearMultistep:
    """The implicit form, with the new slope as well, named by its order as in the catalogue: order - 1 steps."""
    k = max(order - 1, 1)
    weights = _integrals(order, k, k - 1) if order > 1 else (0, 1)  # the first is implicit Euler
    return LinearMultistep(f"am-{order}", _difference(k, 1), weights)


def nystroem(k: int) -> LinearMultistep:
    """y_(n+k) = y_(n+k-2) + h times the integral over two steps, k >= 2."""
    return LinearMultistep(f"nystroem-{k}", _difference(k, 2), (*_integrals(k, k, k - 2), 0))


def milne_simpson(k: int) -> LinearMultistep:
    """The implicit form of Nystroem's: Simpson's rule for k = 2."""
    return LinearMultistep(f"milne-simpson-{k}", _difference(k, 2), _integrals(k + 1, k, k - 2))


def bdf(k: int) -> LinearMultistep:
    """The polynomial through k + 1 values has the slope f at the newest."""
    alpha = [value(derivative(_lagrange(j, k + 1)), Fraction(k)) for j in range(k + 1)]
    return LinearMultistep(f"bdf-{k}", tuple(alpha), (*[0] * k, 1))


FAMILIES = {
    "ab": adams_bashforth,
    "am": adams_moulton,
    "nystroem": nystroem,
    "milne-simpson": milne_simpson,
    "bdf": bdf,
}


def linear_multistep(name: str) -> LinearMultistep:
    """The method of a name such as "ab-3" or "bdf-2"; the number is the catalogue's: the order, for Nystroem the steps.

    >>> [str(a) for a in linear_multistep("ab-2").beta]
    ['-1/2', '3/2', '0']
    """
    family, _, k = name.rpartition("-")
    if family not in FAMILIES or not k.isdigit() or not 1 <= int(k) <= 20:
        raise unknown("multistep method", name, [f"{key}-{n}" for key in FAMILIES for n in (2, 3, 4)])
    return FAMILIES[family](int(k))


def _difference(k: int, width: int) -> tuple[int, ...]:
    if k < width:
        raise AlgebraError(f"{k} steps: at least {width} are needed")
    return tuple(int(j == k) - int(j == k - width) for j in range(k + 1))


def _lagrange(j: int, points: int) -> Polynomial:
    """The polynomial that is 1 at j and 0 at the other of 0, 1, ..., points - 1."""
    return product(*(polynomial([Fraction(-i, j - i), Fraction(1, j - i)]) for i in range(points) if i != j))


def _integrals(points: int, end: int, start: int) -> tuple[Fraction, ...]:
    out = []
    for j in range(points):
        whole = polynomial([0, *(c / (k + 1) for k, c in enumerate(_lagrange(j, points)))])
        out.append(value(whole, Fraction(end)) - value(whole, Fraction(start)))
    return tuple(out)
