"""The stability function of a Runge-Kutta method, exact, and the intervals on which it stays within one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from odekit.algebra.numbers import Algebraic, filled, is_symbolic, numbers, shown
from odekit.algebra.polynomials import Polynomial, first_positive, polynomial, real_roots, roots
from odekit.algebra.runge_kutta import contract, scheme
from odekit.algebra.trees import AlgebraError

INFINITE = float("inf")


@dataclass(frozen=True)
class StabilityFunction:
    """R(z) = numerator(z) / denominator(z): the factor of one step on y' = lambda y, with z = h lambda.

    Coefficients are exact, from the constant up. `real_excess(x)` is |numerator|^2 - |denominator|^2 on the real axis,
    `imaginary_excess(y^2)` on the imaginary one: |R| <= 1 where they are not positive. With symbols among the
    coefficients there are none, and what asks for an interval raises AlgebraError.
    """

    numerator: tuple
    denominator: tuple
    real_excess: Polynomial | None = None
    imaginary_excess: Polynomial | None = None

    def __call__(self, z: Any) -> Any:
        """R(z) for a number, or an array of them."""
        top, bottom = (np.polyval([float(c) for c in reversed(p)], z) for p in (self.numerator, self.denominator))
        return top / bottom

    def __str__(self) -> str:
        top, bottom = (_polynomial_text(p) for p in (self.numerator, self.denominator))
        return top if len(self.denominator) == 1 else f"({top}) / ({bottom})"

    @property
    def real_interval(self) -> float:
        """The largest r such that |R| <= 1 on [-r, 0].

        >>> stability_function("midpoint").real_interval, stability_function("implicit-euler").real_interval
        (2.0, inf)
        """
        return _float(first_positive(tuple((-1) ** k * c for k, c in enumerate(self._excess(self.real_excess)))))

    @property
    def imaginary_interval(self) -> float:
        """The largest r such that |R| <= 1 on [-i r, i r].

        >>> round(stability_function("rk4").imaginary_interval ** 2, 12)
        8.0
        """
        return _float(first_positive(self._excess(self.imaginary_excess))) ** 0.5

    @property
    def positive_axis(self) -> float:
        """The smallest r such that |R| <= 1 on [r, infinity); infinite where there is none.

        >>> round(stability_function("radau-iia-3").positive_axis, 2)
        11.84
        """
        excess = self._excess(self.real_excess)
        return INFINITE if excess and excess[-1] > 0 else float(max([Fraction(0), *real_roots(excess)]))

    @property
    def is_a_stable(self) -> bool:
        """Whether |R| <= 1 on the left half-plane: on its boundary, and no pole inside.

        Source: Hairer, Wanner II, IV.3.
        """
        poles = roots(polynomial(_rational(c) for c in self.denominator))
        return self.imaginary_interval == INFINITE and all(pole.real > 0 for pole in poles)

    @cached_property
    def a_alpha(self) -> float:
        """The largest alpha in degrees with |R| <= 1 on the sector |arg(-z)| <= alpha; 90 is A-stability.

        Rays are tried, twenty to a degree, and the first on which |R| exceeds one is found by bisection.
        Source: Widlund 1967; Hairer, Wanner II, IV.3.

        >>> [stability_function(name).a_alpha for name in ("rk4", "radau-iia-3")]
        [0.0, 90.0]
        """
        if self.is_a_stable:
            return 90.0
        if self.real_interval != INFINITE:
            return 0.0
        top, bottom = (np.array([float(c) for c in reversed(p)]) for p in (self.numerator, self.denominator))
        rays = np.linspace(0, 90, 1801)
        first = next((k for k, angle in enumerate(rays) if not _stable_ray(top, bottom, angle)), None)
        if first is None:
            return 90.0
        low, high = rays[max(first - 1, 0)], rays[first]
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if _stable_ray(top, bottom, middle) else (low, middle)
        return float(low)

    @property
    def is_l_stable(self) -> bool:
        """Whether the method is A-stable with R(infinity) = 0."""
        return self.is_a_stable and len(self.numerator) < len(self.denominator)

    def _excess(self, polynomial: Polynomial | None) -> Polynomial:
        if polynomial is None:
            raise AlgebraError("a stability function with symbols in it has no intervals; give them values")
        return polynomial


def stability_function(method: Any, embedded: bool = False) -> StabilityFunction:
    """R(z) = 1 + z b (I - z A)^-1 1 of a Runge-Kutta method in any form of `runge_kutta.scheme`.

    The denominator det(I - z A) comes from the Faddeev-LeVerrier recursion, the numerator from the powers b A^k 1.
    Source: Hairer, Wanner II, IV.3, (3.2) and (3.3).

    >>> print(stability_function("rk4"))
    1 + z + 1/2 z^2 + 1/6 z^3 + 1/24 z^4
    >>> print(stability_function("implicit-midpoint"))
    (1 + 1/2 z) / (1 - 1/2 z)
    """
    given = scheme(method, embedded=embedded)
    if given.colours > 1:
        raise AlgebraError(
            f"{given.name}: the stability function of an additive method depends on more than one number"
        )
    s = given.stages
    (A, b, one), leave = numbers(([a for row in given.A[0] for a in row], 1), (given.b[0], 1), ([1], 0))
    A = A.reshape(s, s)
    bottom = _characteristic(A, one[0])
    moments = [one[0]]  # of R as a power series
    vector = np.array([[one[0]] * s], dtype=A.dtype)
    for _ in range(s):
        moments.append(contract(vector, b[None])[0, 0])
        vector = contract(vector, A)
    top = _times(bottom, moments)[: s + 1]
    gaps = _minus(_times(top, top), _times(bottom, bottom)), _minus(_modulus(top), _modulus(bottom))
    excess = [leave(filled(gap), np.arange(len(gap)) * step) for gap, step in zip(gaps, (1, 2), strict=True)]
    top, bottom = (leave(filled(p), np.arange(len(p))) for p in (top, bottom))
    if any(is_symbolic(c) and c.free_symbols for c in (*top, *bottom)):
        return StabilityFunction(tuple(top), tuple(bottom))
    if given.tolerance:  # what printed decimals or floats leave of a zero is zero
        sizes = np.array(_times([*map(abs, top)], [*map(abs, top)])) + _times([*map(abs, bottom)], [*map(abs, bottom)])
        excess = [
            [c if abs(c) > given.tolerance * size else 0 for c, size in zip(gap, sizes[::step], strict=True)]
            for gap, step in zip(excess, (1, 2), strict=True)
        ]
        noise = given.tolerance * max(map(abs, bottom[1:])) if any(bottom[1:]) else 0
        top, bottom = ([c if abs(c) > noise else 0 * c for c in p] for p in (top, bottom))
    return StabilityFunction(_trimmed(top), _trimmed(bottom), *(polynomial(map(_rational, gap)) for gap in excess))


def _polynomial_text(coefficients: Sequence[Any]) -> str:
    """A polynomial in z from the constant up; a coefficient that would fill a line is shown in float64."""
    text = ""
    for k, c in enumerate(coefficients):
        if not c:
            continue
        number = shown(c, 40)
        sign, size = ("- ", number[1:]) if number.startswith("-") and " " not in number else ("+ ", number)
        size = f"({size})" if " " in size and k else size
        power = f"z^{k}" if k > 1 else "z" * k
        size = "" if size == "1" and k else size
        text += f" {sign}{size}{' ' * bool(size and power)}{power}"
    return text.removeprefix(" + ").strip() or "0"


def _stable_ray(top: np.ndarray, bottom: np.ndarray, angle: float) -> bool:
    """Whether |R| <= 1 on the ray arg(-z) = angle in degrees: its maximum lies at 0, infinity or a critical point."""
    turn = -np.exp(-1j * np.radians(angle))
    p, q = (c * turn ** np.arange(len(c) - 1, -1, -1) for c in (top, bottom))
    n, d = (np.real(np.polymul(c, c.conj())) for c in (p, q))  # |.|^2 along the ray, in its length
    critical = np.roots(np.polysub(np.polymul(np.polyder(n), d), np.polymul(n, np.polyder(d))))
    places = critical.real[(abs(critical.imag) <= 1e-6 * (1 + abs(critical))) & (critical.real > 0)]
    places = np.append(places, 1e9)
    with np.errstate(divide="ignore"):
        return bool((np.polyval(n, places) <= (1 + 1e-9) * np.polyval(d, places)).all())


def _characteristic(A: np.ndarray, one: Any) -> list:
    """det(I - z A), from the constant up: c_k = -trace(A M_k)/k, M_{k+1} = A M_k + c_k I."""
    s = len(A)
    coefficients, M = [one], np.eye(s, dtype=int).astype(A.dtype) * one
    for k in range(1, s + 1):
        M = contract(M.T, A).T
        trace = sum((M[i, i] for i in range(1, s)), start=M[0, 0])
        c = -trace // k if isinstance(trace, int | Algebraic) else -trace / k  # integers stay integers
        coefficients.append(c)
        for i in range(s):
            M[i, i] = M[i, i] + c
    return coefficients


def _times(p: list, q: list) -> list:
    return [
        sum((p[i] * q[k - i] for i in range(len(p)) if 0 <= k - i < len(q)), start=0)
        for k in range(len(p) + len(q) - 1)
    ]


def _minus(p: list, q: list) -> list:
    return [a - b for a, b in zip(p, q, strict=True)]


def _modulus(p: list) -> list:
    """|p(i y)|^2 as a polynomial in y^2."""
    even, odd = ([(-1) ** j * c for j, c in enumerate(part)] for part in (p[0::2], p[1::2]))
    squares = _times(even, even), [0, *_times(odd, odd)] if odd else []
    width = max(map(len, squares))
    return [sum(x) for x in zip(*(list(q) + [0] * (width - len(q)) for q in squares), strict=True)]


def _rational(number: Any) -> Fraction:
    """A rational number, or one close to a root."""
    return Fraction(str(number.evalf(60))) if is_symbolic(number) else Fraction(number)


def _trimmed(p: Sequence) -> tuple:
    return tuple(p[: max(k for k, c in enumerate(p) if k == 0 or c) + 1])


def _float(bound: Fraction | None) -> float:
    return INFINITE if bound is None else float(bound)
