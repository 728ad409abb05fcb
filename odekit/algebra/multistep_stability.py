"""Stability of linear multistep methods: the root condition, A(alpha), intervals, and zero-stability on unequal steps.

On rational coefficients the root condition and A-stability are decided in exact arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from odekit.algebra.multistep import Multistep
from odekit.algebra.trees import AlgebraError


def is_schur(coefficients: Sequence[Any]) -> bool:
    """Whether all roots of a polynomial (coefficients from the highest power down) lie inside the unit circle.

    Source: Miller 1971, theorem 6.1.
    """
    p = _trimmed(coefficients)
    while len(p) > 1:
        if not abs(p[-1]) < abs(p[0]):
            return False
        p = _reduced(p)
    return bool(p)


def root_condition(coefficients: Sequence[Any]) -> bool:
    """Whether all roots lie in the closed unit disc and those on the circle are simple.

    Exact on rational coefficients (Miller 1971, theorem 6.1), by roots to 1e-7 on floats.

    >>> root_condition([1, -1]), root_condition([1, 0, -1]), root_condition([1, -2, 1]), root_condition([1, 4, -5])
    (True, True, False, False)
    """
    p = _trimmed(coefficients)
    if any(isinstance(v, float | complex) for v in p):
        return _numeric_root_condition(np.array(p, dtype=complex))
    while len(p) > 1:
        inner = _reduced(p)
        if not any(inner):  # all roots on the circle or in mirrored pairs: the derivative tells which
            return is_schur([v * (len(p) - 1 - k) for k, v in enumerate(p[:-1])])
        if not abs(p[-1]) < abs(p[0]):
            return False
        p = inner
    return bool(p)


def _trimmed(coefficients: Sequence[Any]) -> list[Any]:
    p = [Fraction(v) if isinstance(v, int) else v for v in coefficients]
    while p and p[0] == 0:
        p = p[1:]
    return p


def _reduced(p: Sequence[Any]) -> list[Any]:
    """(p*(0) p(z) - p(0) p*(z))/z, one degree less; p* has the coefficients in reverse."""
    return [p[0] * a - p[-1] * b for a, b in zip(p[:-1], p[:0:-1], strict=True)]


def _numeric_root_condition(p: np.ndarray, tolerance: float = 1e-7) -> bool:
    roots = np.roots(p)
    if np.any(np.abs(roots) > 1 + tolerance):
        return False
    on = roots[np.abs(roots) > 1 - tolerance]
    return not any(abs(a - b) < 1e-4 for i, a in enumerate(on) for b in on[:i])


def zero_stable(method: Multistep) -> bool:
    """Whether the method is zero-stable where steps go on in the same ratios as its own (equal, as a rule).

    >>> from odekit.algebra.multistep import bdf
    >>> [zero_stable(bdf(k)) for k in range(1, 8)]
    [True, True, True, True, True, True, False]
    """
    return root_condition(method.alpha)


def _equal_steps(method: Multistep) -> tuple[list[Any], list[Any]]:
    if not method.is_uniform:
        raise AlgebraError(f"{method.name}: stability regions are those of equal steps")
    return list(method.alpha), list(method.beta)


def locus(method: Multistep, angles: np.ndarray) -> np.ndarray:
    """The points z = rho/sigma at exp(i angle): where a root of rho - z sigma lies on the unit circle."""
    alpha, beta = (np.array([float(v) for v in part]) for part in _equal_steps(method))
    zeta = np.exp(1j * np.asarray(angles))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.polyval(alpha, zeta) / np.polyval(beta, zeta)


def _along_circle(method: Multistep) -> tuple[Any, Any]:
    """Re(rho conj(sigma)) and Im(rho conj(sigma))/sin(angle) as polynomials in the cosine of the angle, exactly."""
    import sympy

    c = sympy.Symbol("c")
    alpha, beta = ([sympy.Rational(Fraction(v)) for v in part] for part in _equal_steps(method))
    real = imaginary = sympy.Integer(0)
    for i, a in enumerate(alpha):
        for j, b in enumerate(beta):
            k = j - i  # powers fall along the list
            real += a * b * sympy.chebyshevt(abs(k), c)
            if k:
                imaginary += a * b * sympy.sign(k) * sympy.chebyshevu(abs(k) - 1, c)
    return sympy.Poly(real, c), sympy.Poly(imaginary, c)


def is_a_stable(method: Multistep) -> bool:
    """Whether the left half-plane is in the stability region: exactly.

    The root locus must not enter it (a polynomial in the cosine does not change sign), and one point in it be stable.

    >>> from odekit.algebra.multistep import adams_moulton, bdf
    >>> [is_a_stable(m) for m in (bdf(1), bdf(2), bdf(3), adams_moulton(2), adams_moulton(3))]
    [True, True, False, True, False]
    """
    if method.is_explicit or not zero_stable(method) or not _stable_at(method, Fraction(-1)):
        return False
    real, _ = _along_circle(method)
    if real.is_zero:
        return True
    _, factors = real.factor_list()
    crossing = any(
        k % 2 and f.count_roots(-1, 1) > sum(f.eval(e) == 0 for e in (-1, 1)) for f, k in factors if f.degree() > 0
    )
    inside = next(v for v in (Fraction(k, 97) for k in range(97)) if real.eval(v) != 0)
    return not crossing and real.eval(inside) > 0


def _stable_at(method: Multistep, z: Any) -> bool:
    alpha, beta = _equal_steps(method)
    return root_condition([a - z * b for a, b in zip(alpha, beta, strict=True)])


def a_alpha(method: Multistep) -> float:
    """The angle alpha, in degrees, of the largest sector around the negative axis in the stability region.

    90 for A-stable methods, 0 where there is no sector. Source: Widlund 1967; Hairer, Wanner II, section V.2.

    >>> from odekit.algebra.multistep import bdf
    >>> [round(a_alpha(bdf(k)), 4) for k in range(1, 8)]
    [90.0, 90.0, 86.0324, 73.3517, 51.8398, 17.8398, 0.0]
    """
    if is_a_stable(method):
        return 90.0
    if method.is_explicit or not zero_stable(method) or real_interval(method) != math.inf:
        return 0.0
    from scipy.optimize import minimize_scalar

    def lean(angle: float) -> float:
        z = complex(locus(method, np.array([angle]))[0])
        return math.degrees(math.atan2(abs(z.imag), -z.real)) if z.real < 0 else 90.0

    grid = np.linspace(1e-3, math.pi - 1e-9, 4001)
    k = int(np.argmin([lean(t) for t in grid]))
    around = grid[max(k - 1, 0)], grid[min(k + 1, len(grid) - 1)]
    return float(minimize_scalar(lean, bounds=around, method="bounded", options={"xatol": 1e-12}).fun)


def _angles(polynomial: Any) -> np.ndarray:
    """The angles whose cosine is a root of the polynomial."""
    if polynomial.degree() < 1:
        return np.zeros(0)
    roots = polynomial.sqf_part().nroots(n=30, maxsteps=200)
    return np.array([math.acos(float(c)) for c in roots if c.is_real and abs(c) <= 1])


def real_interval(method: Multistep) -> Any:
    """The length of the interval of the negative axis, from 0 on, in the stability region; infinity if it is all.

    A Fraction where the interval ends with a root at -1, as for Adams methods.

    >>> from odekit.algebra.multistep import adams_bashforth
    >>> [str(real_interval(adams_bashforth(k))) for k in range(1, 6)]
    ['2', '1', '6/11', '3/10', '90/551']
    """
    _, imaginary = _along_circle(method)
    ends = [float(z.real) for z in locus(method, _angles(imaginary))]
    alpha, beta = _equal_steps(method)
    for zeta in (1, -1):
        above, below = (sum(v * zeta ** (len(p) - 1 - k) for k, v in enumerate(p)) for p in (alpha, beta))
        if below:
            ends.append(above / below)
    marks = sorted({e for e in ends if e < -1e-12}, reverse=True)
    for before, mark in zip([0, *marks], [*marks, None], strict=True):
        middle = Fraction(float(before) * 2 - 1 if mark is None else (float(before) + float(mark)) / 2)
        if not _stable_at(method, middle):
            return -before
    return math.inf


def imaginary_interval(method: Multistep) -> float:
    """The largest y for which the segment from 0 to i y lies in the stability region.

    >>> from odekit.algebra.multistep import adams_bashforth
    >>> [round(imaginary_interval(adams_bashforth(k)), 4) for k in (1, 2, 3, 4)]
    [0.0, 0.0, 0.7236, 0.43]
    """
    real, _ = _along_circle(method)
    ends = sorted(
        {abs(float(z.imag)) for z in locus(method, np.array([*_angles(real), math.pi / 2])) if np.isfinite(z)}
    )
    marks = [0.0, *(e for e in ends if e > 1e-9)]
    alpha, beta = (np.array([float(v) for v in part]) for part in _equal_steps(method))
    for before, mark in zip(marks, [*marks[1:], marks[-1] * 2 + 1], strict=True):
        if not _numeric_root_condition(alpha - 0.5j * (before + mark) * beta, 1e-11):
            return before
    return math.inf


# Unequal steps.


def differences(method: Multistep) -> np.ndarray:
    """How the step moves the differences of successive values where f = 0: a matrix, zero-stability is its powers'."""
    a = [-float(v) / float(method.alpha[0]) for v in method.alpha[1:]]
    matrix = np.eye(max(len(a) - 1, 1), k=-1)
    if len(a) > 1:
        matrix[0] = [-sum(a[i + 1 :]) for i in range(len(a) - 1)]
    return matrix


def ratio_limit(family: Callable[..., Multistep], order: int, maximum: float = 100.0) -> float:
    """How fast steps may grow, all in the same ratio, before a family's method stops being zero-stable.

    For BDF of order 2, exactly what bounds all step sequences; above it is a necessary bound only.
    Source: Grigorieff 1983; Hairer, Norsett, Wanner I, section III.5.

    >>> from odekit.algebra.multistep import bdf
    >>> [round(ratio_limit(bdf, k), 3) for k in (2, 3, 4, 5, 6)]
    [2.414, 1.618, 1.281, 1.127, 1.044]
    """

    def radius(ratio: float) -> float:
        matrix = differences(family(order, [Fraction(ratio)] * (order - 1)))
        return float(np.abs(np.linalg.eigvals(matrix)).max())

    if order == 1 or radius(maximum) <= 1:
        return math.inf
    low = next((r for r in np.geomspace(maximum, 1, 2000) if radius(r) <= 1), None)
    if low is None:
        return 0.0
    low, high = float(low), float(low) * maximum ** (1 / 1999)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if radius(middle) <= 1 else (low, middle)
    return low


class Growth(NamedTuple):
    """Bounds of the growth per step over sequences of steps; below 1 is stable, `worst` are the ratios of `least`."""

    least: float
    most: float
    worst: tuple[float, ...]

    @property
    def verdict(self) -> str:
        """ "stable" on the ratios tried, "unstable" (with the sequence that shows it), or "undetermined"."""
        return "unstable" if self.least > 1 + 1e-9 else "stable" if self.most < 1 else "undetermined"


def growth(family: Callable[..., Multistep], order: int, bound: float, length: int = 7) -> Growth:
    """How much differences can grow per step where ratios of steps are 1/bound, 1 or bound in any sequence.

    From below by periodic sequences (their spectral radius), from above by all products of `length` steps (the largest
    norm, in the frame of the eigenvectors at equal steps). "unstable" is a proof; "stable" holds for these ratios.

    >>> from odekit.algebra.multistep import bdf
    >>> [growth(bdf, k, bound).verdict for k, bound in ((2, 2.3), (2, 2.5), (3, 1.2), (3, 1.7))]
    ['stable', 'unstable', 'stable', 'unstable']
    """
    choices = (1 / bound, 1.0, bound)
    k = order - 1
    if k < 1:
        return Growth(0.0, 0.0, ())
    matrices = {w: differences(family(order, [Fraction(v) for v in w])) for w in product(choices, repeat=k)}
    _, frame = np.linalg.eig(matrices[(1.0,) * k])
    back = np.linalg.inv(frame)
    framed = {w: back @ m @ frame for w, m in matrices.items()}
    least, worst = 0.0, ()
    for period in range(1, min(length, 7) + 1):
        for ratios in product(choices, repeat=period):
            total = np.eye(len(frame))
            for i in range(period):  # newest ratio first in a window
                total = framed[tuple(ratios[(i - j) % period] for j in range(k))] @ total
            radius = float(np.abs(np.linalg.eigvals(total)).max()) ** (1 / period)
            if radius > least + 1e-12:
                least, worst = radius, ratios
    windows = {w: (np.eye(len(frame))[None], w) for w in product(choices, repeat=k)}
    level = {w: windows[w][0] for w in windows}
    most = math.inf
    for n in range(1, length + 1):
        following: dict[tuple, list] = {w: [] for w in level}
        for w, totals in level.items():
            for choice in choices:
                new = (choice, *w[:-1])
                following[new].append(framed[new] @ totals)
        level = {w: np.concatenate(parts) for w, parts in following.items()}
        largest = max(float(np.linalg.norm(t, 2, axis=(1, 2)).max()) for t in level.values())
        most = min(most, largest ** (1 / n))
    return Growth(least, most, worst)
