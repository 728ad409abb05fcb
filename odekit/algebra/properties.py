"""What can be said of a Runge-Kutta method for certain: its certificate, every number exact where its entries are."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from odekit.algebra import structure
from odekit.algebra.conditions import PrincipalError, principal_error, residuals
from odekit.algebra.numbers import is_zero, numbers, shown
from odekit.algebra.proof import Proof
from odekit.algebra.runge_kutta import Scheme, scheme, series, tableau
from odekit.algebra.stability import StabilityFunction, stability_function
from odekit.algebra.structure import Verdict
from odekit.algebra.trees import AlgebraError, Tree

LIMITS = {1: 12, 2: 8}
"""Orders beyond which no condition is asked, by the number of colours: trees become too many."""


@dataclass(frozen=True)
class Failure:
    """An order condition that does not hold: its tree, Phi, and 1/gamma."""

    tree: Tree
    found: Any
    wanted: Fraction

    def __str__(self) -> str:
        return f"{self.tree}: {shown(self.found)}, not {self.wanted}"


class Certificate(Proof):
    """The numbers of one method, each computed when it is asked for; made by `certificate`."""

    family = "runge-kutta"

    def __init__(self, method: Any):
        self._method = method
        self.scheme: Scheme = scheme(method)
        found = None if isinstance(method, tuple | list | Scheme) else tableau(method)
        self.name = self.scheme.name
        self.limit = LIMITS.get(self.scheme.colours, 6)
        self.claimed: int | None = found and found.order
        self.claimed_embedded: int | None = found and found.embedded_order

    @cached_property
    def failing(self) -> tuple[Failure, ...]:
        """The conditions of the first order at which one does not hold; none if all hold to `limit`, order 12.

        >>> str(certificate("midpoint").failing[0])
        '[tau,tau]: 1/4, not 1/3'
        """
        return self._failing(False, self.claimed)

    @cached_property
    def failing_embedded(self) -> tuple[Failure, ...] | None:
        """The same for the embedded weights; None for a method without them."""
        return None if self.claimed_embedded is None else self._failing(True, self.claimed_embedded)

    def _failing(self, embedded: bool, claimed: int | None) -> tuple[Failure, ...]:
        done = 0
        for order in sorted({min(n, self.limit) for n in ((claimed or 3) + 1, 8, self.limit)}):
            gap = residuals(self._method, order, embedded=embedded)
            for n in range(done + 1, order + 1):
                broken = {t: r for t, r in gap.of_order(n).items() if not is_zero(r, self.scheme.tolerance)}
                if broken:
                    return tuple(
                        Failure(t, r + Fraction(1, t.density), Fraction(1, t.density)) for t, r in broken.items()
                    )
            done = order
        return ()

    @cached_property
    def order(self) -> int:
        """The classical order: all conditions hold up to it."""
        return self.failing[0].tree.order - 1 if self.failing else self.limit

    @cached_property
    def embedded_order(self) -> int | None:
        """The order of the embedded weights; None for a method without them."""
        failing = self.failing_embedded
        return None if failing is None else failing[0].tree.order - 1 if failing else self.limit

    @cached_property
    def principal_error(self) -> PrincipalError:
        """The leading error: (Phi - 1/gamma)/sigma for each tree of order p + 1, and its norm."""
        return principal_error(self._method, self.order)

    @cached_property
    def stage_order(self) -> int:
        """The largest q for which the stages are exact to order q (conditions B(q) and C(q), at least one of them).

        Source: Butcher 2016, section 321; Hairer, Wanner II, IV.5 and IV.15.

        >>> [certificate(name).stage_order for name in ("rk4", "gauss-2", "radau-iia-3", "sdirk2")]
        [1, 2, 3, 1]
        """
        A, b, unit, leave = self._entries
        c, power, whole = A.sum(axis=1), 1, 1
        for q in range(1, 2 * len(b) + 2):
            below = power * np.ones(len(b), dtype=A.dtype)
            power, whole = below * c, whole * unit
            gaps = [*(q * (A * below).sum(axis=1) - power), q * (b * below).sum() - whole]
            if not self._vanish(leave(gaps, q)):
                return max(q - 1, 1)
        return 2 * len(b)

    @property
    def stiff_order(self) -> int | None:
        """What is left of the order on stiff problems however large h lambda is: at most the stage order.

        None for an additive method.

        Source: Prothero, Robinson 1974; Hairer, Wanner II, IV.15 (where steps that large are stable at all).
        """
        return None if self.scheme.colours > 1 else min(self.order, self.stage_order)

    @cached_property
    def stability(self) -> StabilityFunction:
        """R(z), with its real and imaginary intervals."""
        return stability_function(self.scheme)

    @cached_property
    def symplectic(self) -> Verdict:
        """b_i a_ij + b_j a_ji = b_i b_j; where that fails, the order to which the map is symplectic.

        Source: Sanz-Serna 1988; Lasagni 1988; Suris 1988; Hairer, Lubich, Wanner, theorem VI.4.3.

        >>> bool(certificate("gauss-2").symplectic), certificate("rk4").symplectic.failing
        (True, '[tau] o [[tau]]: 1/48, not 0')
        """
        A, b, _, leave = self._entries
        M = A * b[:, None]
        gap = M + M.T - b[:, None] * b
        return self._or_series("symplectic", self._vanish(leave(gap.ravel(), 2)), structure.symplectic)

    @cached_property
    def symmetric(self) -> Verdict:
        """a_(s+1-i)(s+1-j) + a_ij = b_j for stages by increasing c; else the order to which the map is symmetric.

        Source: Hairer, Lubich, Wanner, theorem V.2.3.

        >>> [bool(certificate(name).symmetric) for name in ("gauss-3", "trapezoidal", "rk4", "radau-iia-2")]
        [True, True, False, False]
        """
        A, b, _, leave = self._entries
        rising = np.argsort([float(sum(row)) for row in self.scheme.A[0]], kind="stable")
        A, b = A[np.ix_(rising, rising)], b[rising]
        gap = A + A[::-1, ::-1] - b
        return self._or_series("symmetric", self._vanish(leave(gap.ravel(), 1)), structure.symmetric)

    @cached_property
    def ssp(self) -> Fraction | float:
        """The radius of absolute monotonicity: the strong-stability-preserving coefficient.

        >>> [str(certificate(name).ssp) for name in ("ssp33", "heun2", "rk4", "implicit-euler")]
        ['1', '1', '0', 'inf']
        """
        return monotonicity_radius(self.scheme)

    @cached_property
    def _entries(self) -> tuple[np.ndarray, np.ndarray, Any, Any]:
        """A and b as numbers of weight one, what stands for 1 at that weight, and the way back."""
        if self.scheme.colours > 1:
            raise AlgebraError(f"{self.name}: this is asked of one method, not of an additive one")
        s = self.scheme.stages
        parts = ([a for row in self.scheme.A[0] for a in row], 1), (self.scheme.b[0], 1), ([1], 1)
        (A, b, (unit,)), leave = numbers(*parts)
        return A.reshape(s, s), b, unit, leave

    @property
    def _is_rational(self) -> bool:
        return all(isinstance(a, int | Fraction) for part in (*self.scheme.A[0], self.scheme.b[0]) for a in part)

    def _vanish(self, values: np.ndarray) -> bool:
        return all(is_zero(v, self.scheme.tolerance) for v in values)

    def _or_series(self, name: str, holds: bool, of_series: Any) -> Verdict:
        if holds:
            return Verdict(name, self.limit, True)
        for order in range(min(self.order + 1, self.limit), min(self.order + 3, self.limit) + 1):
            found = of_series(series(self.scheme, order, exact=self._is_rational))
            if not found:
                return found
        return Verdict(name, found.order, False, "the coefficients of the method, not yet the map")

    def findings(self) -> list[str]:
        """Claims that do not hold, each with the first condition that fails."""
        rows = (("order", self.claimed, self.order, self.failing),)
        if self.claimed_embedded is not None:
            rows += (("embedded order", self.claimed_embedded, self.embedded_order, self.failing_embedded),)
        return [
            f"{what} {found}, not {claimed} as claimed" + (f": {failing[0]}" if found < claimed else "")
            for what, claimed, found, failing in rows
            if claimed is not None and found != claimed and not found == self.limit < claimed
        ]

    def rows(self) -> list[tuple[str, str]]:
        """(label, text) of everything, as a page shows it.

        >>> for label, text in certificate("heun2").rows()[:4]:
        ...     print(f"{label}: {text}")
        consistency: yes: the weights sum to 1
        order: 2; next: [tau,tau]: 1/2, not 1/3
        stage order: 1
        stiff order: at most 1, the stage order
        """
        failing = self.failing
        consistent = "yes: the weights sum to 1" if self.order else f"no: {failing[0]}"
        rows = [("consistency", consistent), ("order", _reached(self.order, failing))]
        if self.scheme.parts:
            names = ", ".join(f"_{colour} {part}" for colour, part in enumerate(self.scheme.parts))
            rows.insert(0, ("parts of the field", f"{names}; the field taken as autonomous"))
        if self.failing_embedded is not None:
            rows.append(("embedded order", _reached(self.embedded_order, self.failing_embedded)))
        if failing:
            error = self.principal_error
            largest = max(error.terms, key=lambda t: abs(float(error.terms[t])))
            rows.append(("principal error", f"{error.norm:.10g}; largest {shown(error.terms[largest])} at {largest}"))
        if self.scheme.colours > 1:
            return rows
        R, ssp = self.stability, self.ssp
        rows[2:2] = [
            ("stage order", str(self.stage_order)),
            ("stiff order", f"at most {self.stiff_order}, the stage order"),
        ]
        stable = "L-stable" if R.is_l_stable else "A-stable" if R.is_a_stable else f"{R.a_alpha:.6g} degrees"
        return [
            *rows,
            ("stability function", str(R)),
            ("real interval", f"{R.real_interval:.10g}"),
            ("imaginary interval", f"{R.imaginary_interval:.10g}"),
            ("A(alpha)", stable),
            ("zero-stability", "yes: a one-step method"),
            ("SSP coefficient", str(ssp) if isinstance(ssp, Fraction) else f"{ssp:.10g}"),
            ("symplectic", _preserved(self.symplectic)),
            ("symmetric", _preserved(self.symmetric)),
        ]

    def details(self) -> dict[str, Any]:
        """The rest of it as plain data."""
        about = {
            "consistent": self.order >= 1,
            "claimed_embedded_order": self.claimed_embedded,
            "embedded_order": self.embedded_order,
            "failing_embedded": [str(f) for f in self.failing_embedded or ()],
            "principal_error": {str(t): shown(v) for t, v in self.principal_error.terms.items()},
            "principal_error_norm": self.principal_error.norm,
        }
        if self.scheme.colours > 1:  # what follows is asked of one method, not of an additive one
            return about
        return {
            **about,
            "stage_order": self.stage_order,
            "stiff_order": self.stiff_order,
            "stability_numerator": [shown(c) for c in self.stability.numerator],
            "stability_denominator": [shown(c) for c in self.stability.denominator],
            "real_interval": self.stability.real_interval,
            "imaginary_interval": self.stability.imaginary_interval,
            "a_stable": self.stability.is_a_stable,
            "l_stable": self.stability.is_l_stable,
            "a_alpha": self.stability.a_alpha,
            "zero_stable": True,
            "symplectic": bool(self.symplectic),
            "failing_symplectic": self.symplectic.failing,
            "symmetric": bool(self.symmetric),
            "failing_symmetric": self.symmetric.failing,
            "ssp_coefficient": float(self.ssp),
        }


def certificate(method: Any) -> Certificate:
    """The certificate of a Runge-Kutta method, in any form of `runge_kutta.scheme`.

    >>> rk4 = certificate("rk4")
    >>> rk4.order, rk4.stage_order, round(rk4.principal_error.norm, 10), rk4.findings()
    (4, 1, 0.0145045823, [])
    """
    return Certificate(method)


def monotonicity_radius(method: Any) -> Fraction | float:
    """The largest r with K = (A; b)(I + r A)^-1 >= 0 and r K 1 <= 1: exact where it is a small fraction.

    Source: Kraaijevanger 1991, Contractivity of Runge-Kutta methods; Gottlieb, Ketcheson, Shu 2011, chapter 3.

    >>> monotonicity_radius("ssp33")
    Fraction(1, 1)
    """
    given = scheme(method)
    if given.colours > 1:
        raise AlgebraError(f"{given.name}: an additive method has no single radius of absolute monotonicity")
    floats = scheme(given, exact=False)
    A, b = np.array(floats.A[0]), np.array(floats.b[0])
    full = np.vstack([A, b])
    reached = full @ A
    if (full < 0).any() or ((abs(reached) > 1e-14) & (full == 0)).any():
        return Fraction(0)
    low, high = 0.0, 1.0
    while _monotone(full, high):
        low, high = high, 2 * high
        if high > 1e6:
            return float("inf")
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _monotone(full, middle) else (low, middle)
    near = Fraction(low).limit_denominator(100)
    if abs(float(near) - low) < 1e-9 and not given.tolerance and _monotone_exactly(given, near):
        return near
    return low


def _monotone(full: np.ndarray, r: float) -> bool:
    s = full.shape[1]
    K = np.linalg.solve((np.eye(s) + r * full[:s]).T, full.T).T
    return bool((K > -1e-13).all() and (r * K.sum(axis=1) < 1 + 1e-13).all())


def _monotone_exactly(given: Scheme, r: Fraction) -> bool:
    from sympy import Matrix, eye, sympify

    full = Matrix([[sympify(a) for a in row] for row in (*given.A[0], given.b[0])])
    K = full * (eye(given.stages) + sympify(r) * full[:-1, :]).inv()
    rows = [1 - sympify(r) * sum(K.row(i)) for i in range(K.rows)]
    return all(bool(x >= 0) for x in (*K, *rows))


def _reached(order: int, failing: tuple[Failure, ...]) -> str:
    return f"{order}; next: {failing[0]}" if failing else f"at least {order}"


def _preserved(verdict: Verdict) -> str:
    return "yes" if verdict else f"to order {verdict.order}; next: {verdict.failing}"
