"""Explicit Runge-Kutta methods with the longest stability intervals, and those that preserve strong stability best."""

from __future__ import annotations

from fractions import Fraction
from math import isqrt
from typing import Any

from odekit.algebra.derive.derivation import Derivation, Difference, recipe
from odekit.algebra.derive.rk_forms import among, beside, made, number, proved, whole
from odekit.algebra.trees import AlgebraError

MOST = 20
"""Stages to which entries stay short enough to be printed exactly."""


@recipe("maximum-stability")
def maximum_stability(stages: Any, order: Any = 1, interval: str = "real", damping: Any = "0") -> Derivation:
    """Explicit methods whose stability interval is the longest, on the real or on the imaginary axis, exact.

    "real": Runge-Kutta-Chebyshev. Order 1 reaches 2 s^2, the most there is; order 2 reaches 2/3 (s^2 - 1), four fifths
    of what any polynomial can. `damping` (2/13 is usual for order 2, 1/20 for order 1) shortens the interval and keeps
    |R| below 1 inside. "imaginary": s - 1, the most there is; the order is 1 for even s and 2 for odd s.

    Raises AlgebraError where there is no such method. Source: van der Houwen, Sommeijer 1980; Sommeijer, Shampine,
    Verwer 1997; imaginary: Kinnmark, Gray 1984; Sonneveld, van Leer 1985; Vichnevetsky 1983 for the bound.

    >>> from odekit.algebra import stability_function
    >>> chebyshev = maximum_stability(3)
    >>> print(stability_function(chebyshev.method), stability_function(chebyshev.method).real_interval)
    1 + z + 4/27 z^2 + 4/729 z^3 18.0
    """
    order = whole("order", order, (1, 2))
    s = whole("stages", stages, range(order, MOST + 1))
    interval = among("interval", interval, ("real", "imaginary"))
    damping = number("damping", damping)
    if not damping.is_Rational or damping < 0:
        raise AlgebraError(f"damping must be a rational number of 0 or more, not {damping}")
    if interval == "imaginary":
        if damping:
            raise AlgebraError("damping belongs to the real interval; the imaginary one has none")
        A, b, route = _imaginary(s, order)
        order = 1 + s % 2
    else:
        A, b, route = _chebyshev(s, order, Fraction(int(damping.p), int(damping.q)))
    proved("the method", [[*row, *[0] * (s - len(row))] for row in A], b, order)
    kind = "chebyshev" if interval == "real" else "imaginary"
    source = (
        "Sommeijer, Shampine, Verwer 1997" if interval == "real" else "Kinnmark, Gray 1984; Sonneveld, van Leer 1985"
    )
    return made(f"{kind}-{order}-{s}", order, source, A, b, route=route)


def _imaginary(s: int, order: int) -> tuple[list, list, list[str]]:
    """R(i (s-1) x) = i^(s-1) (T_(s-1)(x) + i (T_s(x) - T_(s-2)(x)) / 2), each stage fed by the one before it."""
    import sympy

    if s < 2:
        raise AlgebraError("one stage has no imaginary interval; it takes 2")
    if order == 2 and s % 2 == 0:
        raise AlgebraError(f"the interval {s - 1} has order 2 only for an odd number of stages, not for {s}")
    z, n = sympy.Symbol("z"), s - 1
    x = -sympy.I * z / n
    R = sympy.I**n * (sympy.chebyshevt(n, x) + sympy.I * (sympy.chebyshevt(s, x) - sympy.chebyshevt(s - 2, x)) / 2)
    r = [Fraction(int(c.p), int(c.q)) for c in reversed(sympy.Poly(sympy.expand(R), z).all_coeffs())]
    # y1 = y + h f(Y_s), Y_i = y + h a_i f(Y_(i-1)): R = 1 + z (1 + a_s z (1 + ...)), so that a_s = r_2 / r_1, ...
    A: list[list] = [[]] + [[*[0] * (i - 1), r[s - i + 1] / r[s - i]] for i in range(1, s)]
    b = [*[0] * (s - 1), 1]
    route = [
        f"R(i {n} x) = i^{n} (T_{n}(x) + i (T_{s}(x) - T_{s - 2}(x))/2): |R|^2 = 1 - x^2 (1 - T_{n}(x)^2) on [-1, 1]",
        f"the imaginary interval is {n}, which no consistent method with {s} stages exceeds (Vichnevetsky 1983)",
    ]
    return A, b, route


def _chebyshev(s: int, order: int, damping: Fraction) -> tuple[list, list, list[str]]:
    """R = a + b T_s(w0 + w1 z) through the three-term recursion of its stages; every row is linear in the fields."""
    if order == 2 and s < 2:
        raise AlgebraError("one stage has no order 2; it takes 2")
    w0 = 1 + damping / s**2
    T = _chebyshev_values(w0, s)
    if order == 1:
        w1, weight = T[s][0] / T[s][1], [1 / T[j][0] for j in range(s + 1)]
    else:
        w1 = T[s][1] / T[s][2]
        weight = [T[j][2] / T[j][1] ** 2 for j in range(2, s + 1)]
        weight = [weight[0], weight[0], *weight]
    # Y_j = 1 - weight_j T_j(w0) + weight_j T_j(w0 + w1 z): as rows over h f(Y_0), h f(Y_1), ...
    rows: list[list[Fraction]] = [[Fraction(0)] * s]
    gap = [1 - weight[j] * T[j][0] for j in range(s + 1)]
    for j in range(1, s + 1):
        # T_j(w0 + w1 z) = 2 (w0 + w1 z) T_(j-1) - T_(j-2), and T_(j-1) = (Y_(j-1) - gap) / weight
        back = [(2 - (j == 1)) * weight[j] / weight[j - 1], -weight[j] / weight[j - 2] if j > 1 else Fraction(0)]
        row = [w0 * back[0] * a for a in rows[j - 1]]
        if j > 1:
            row = [a + back[1] * b for a, b in zip(row, rows[j - 2], strict=True)]
        row[j - 1] += back[0] * w1
        row[0] -= back[0] * w1 * gap[j - 1]
        rows.append(row)
    reach = f"2 s^2 = {2 * s * s}" if order == 1 else f"2/3 (s^2 - 1) = {Fraction(2 * (s * s - 1), 3)}"
    route = [
        f"R(z) = a + b T_{s}(w0 + w1 z) with w0 = {w0}, w1 = {w1}: the stages follow the recursion of T_j",
        f"the real interval is {'' if order == 1 else 'at least '}{reach}" if not damping else f"damped by {damping}",
    ]
    return [rows[j][:j] for j in range(s)], rows[s], route


def _chebyshev_values(w: Fraction, s: int) -> list[tuple[Fraction, Fraction, Fraction]]:
    """T_j, T_j', T_j'' at w for j = 0, ..., s."""
    zero, one = Fraction(0), Fraction(1)
    out = [(one, zero, zero), (w, one, zero)]
    for _ in range(s - 1):
        (p, dp, ddp), (q, dq, ddq) = out[-2:]
        out.append((2 * w * q - p, 2 * q + 2 * w * dq - dp, 4 * dq + 2 * w * ddq - ddp))
    return out


@recipe("strong-stability")
def strong_stability(stages: Any, order: Any) -> Derivation:
    """Explicit methods with the largest radius of absolute monotonicity (SSP coefficient) where it is known exactly.

    (s, 1) and (s, 2) for any s: radius s and s - 1; (3, 3): 1; (4, 3): 2; (n^2, 3): n^2 - n; (10, 4): 6. No explicit
    method of order above 4 has a positive radius. Raises AlgebraError where no closed form is known.

    Source: Gottlieb, Shu, Tadmor 2001; Kraaijevanger 1991; Ketcheson 2008 (SIAM J. Sci. Comput. 30, 2113-2136).

    >>> strong_stability(4, 3).data["b"], strong_stability(4, 3).certificate().ssp
    (['1/6', '1/6', '1/6', '1/2'], Fraction(2, 1))
    """
    order = whole("order", order, range(1, 21))
    if order > 4:
        raise AlgebraError(f"no explicit method of order {order} is SSP: 4 is the most (Kraaijevanger)")
    s = whole("stages", stages, range(1, 65))
    if s < order:
        raise AlgebraError(f"no explicit method of order {order} has {s} stages: it needs {order} (Butcher)")
    A, b, radius = _ssp(s, order)
    proved("the method", [[*row, *[0] * (s - len(row))] for row in A], b, order)
    known = {(1, 1): "euler", (2, 2): "heun2", (3, 3): "ssp33"}
    published = [beside(known[s, order], A, b)] if (s, order) in known else []
    if (s, order) == (10, 4):
        published = [Difference("SSPRK(10,4)", "Ketcheson 2008, section 5", "")]
    route = [f"stages are convex combinations of Euler steps of h/{radius}: radius of absolute monotonicity {radius}"]
    source = "Ketcheson 2008" if order > 2 else "Gottlieb, Shu, Tadmor 2001"
    return made(f"ssp-{s}-{order}", order, source, A, b, route=route, published=published)


def _ssp(s: int, order: int) -> tuple[list, list, int]:
    part = Fraction(1, s if order == 1 else max(s - 1, 1))
    if order < 3:
        return [[part] * i for i in range(s)], [Fraction(1, s)] * s, s - (order == 2)
    if (s, order) == (3, 3):
        half, sixth = Fraction(1, 4), Fraction(1, 6)
        return [[], [1], [half, half]], [sixth, sixth, 4 * sixth], 1
    n = isqrt(s)
    if order == 3 and n * n == s and n > 1:
        return _ketcheson(n)
    if (s, order) == (10, 4):
        sixth, fifteenth = Fraction(1, 6), Fraction(1, 15)
        A = [[sixth] * i for i in range(5)]
        A += [[fifteenth] * 5 + [sixth] * (i - 5) for i in range(5, 10)]
        return A, [Fraction(1, 10)] * 10, 6
    raise AlgebraError(f"no exact method is known for {s} stages and order {order}; known: (3,3), (n^2,3), (10,4)")


def _ketcheson(n: int) -> tuple[list, list, int]:
    """SSP(n^2, 3): Euler steps of h/(n^2 - n), one stage mixed with an earlier one (Ketcheson 2008, section 4)."""
    s, radius = n * n, n * n - n
    step, mixed, kept = Fraction(1, radius), n * (n + 1) // 2, (n - 1) * (n - 2) // 2
    rows: list[list[Fraction]] = [[Fraction(0)] * s]
    for i in range(1, s + 1):
        row = list(rows[-1])
        row[i - 1] += step
        if i == mixed:  # of Y_kept and the last step, in the ratio n : n - 1
            row = [(n * a + (n - 1) * b) / (2 * n - 1) for a, b in zip(rows[kept], row, strict=True)]
        rows.append(row)
    return [rows[i][:i] for i in range(s)], rows[s], radius
