"""What can be said of a linear multistep method for certain: its certificate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import factorial
from typing import Any

from odekit.algebra import multistep_stability as stability
from odekit.algebra.multistep import Multistep, get, is_null, nodes
from odekit.algebra.multistep_conditions import error_constant, order_of, order_on_smooth_grids, residual
from odekit.algebra.numbers import is_symbolic, plain, shown
from odekit.algebra.proof import Proof
from odekit.algebra.trees import AlgebraError


@dataclass(frozen=True)
class Failure:
    """The first moment that does not vanish: C_q of sum_j alpha_j y(t_j) - h sum_j beta_j y'(t_j), with alpha_0 = 1."""

    degree: int
    found: Any

    def __str__(self) -> str:
        return f"C_{self.degree}: {_shown(self.found)}, not 0"


class MultistepCertificate(Proof):
    """The numbers of one method, each computed when it is asked for; made by `multistep_certificate`.

    `order` is the textbook's, on equal steps. On grids whose steps vary smoothly, and on those where they jump, a
    formula that forgets its step ratios is of lower order: `smooth_order` and `any_order` say so.
    """

    family = "multistep"

    def __init__(self, method: Multistep):
        self.method = method
        self.name, self.claimed = method.name, method.order or None
        if not (method.varies or method.is_uniform):
            raise AlgebraError(f"{method.name} is made for certain steps; a certificate asks for equal ones or for all")

    @cached_property
    def _equal(self) -> Multistep:
        return self.method.on_equal_steps

    @cached_property
    def order(self) -> int:
        """The order on equal steps; -1 where not even constants are solutions."""
        return order_of(self._equal)

    @cached_property
    def smooth_order(self) -> int | None:
        """The order on grids t_n = g(n h), which is what a convergence study sees; None where unknown."""
        return order_on_smooth_grids(self.method) if self.method.varies else None

    @cached_property
    def any_order(self) -> int | None:
        """The order on almost any steps, at random ratios in exact arithmetic; None where unknown."""
        return order_of(self.method.at_random()) if self.method.varies else None

    @cached_property
    def failing(self) -> tuple[Failure, ...]:
        """The first moment that fails on equal steps.

        >>> print(multistep_certificate("ab-3").failing[0])
        C_4: 3/8, not 0
        """
        q = self.order + 1
        return (Failure(q, plain(residual(self._equal, q) / self._equal.alpha[0]) / factorial(q)),)

    @cached_property
    def failing_on_any_steps(self) -> tuple[Failure, ...]:
        """The first moment that holds on equal steps and fails on others, in the ratios w1, w2, ...; () if all hold."""
        if self.any_order is None or self.any_order == self.order:
            return ()
        given, q = self.method, self.any_order + 1
        if given.rule:
            points = nodes(len(given.nodes) - 1, symbolic=True)
            given = replace(given, nodes=points, **dict(zip(("alpha", "beta"), given.rule(points), strict=True)))
        return (Failure(q, (residual(given, q) / given.alpha[0]).as_expr() / factorial(q)),)

    @cached_property
    def error_constant(self) -> Any:
        """C_(p+1)/sigma(1) on equal steps; None where the derivatives' weights sum to zero."""
        return None if is_null(sum(self._equal.beta)) else plain(error_constant(self._equal))

    @cached_property
    def zero_stable(self) -> bool:
        """The root condition on equal steps."""
        return stability.zero_stable(self._equal)

    @cached_property
    def strongly_stable(self) -> bool:
        """Whether 1 is the only root of rho on the unit circle."""
        return stability.strongly_stable(self._equal)

    @cached_property
    def violating_root(self) -> tuple[complex, int] | None:
        """The root of rho, with its multiplicity, that breaks zero-stability; None where none does."""
        return None if self.zero_stable else stability.violating_root(self._equal)

    @cached_property
    def real_interval(self) -> Fraction | float | None:
        """The length of the stable part of the negative axis, from 0 on; None for irrational coefficients."""
        return self._asked(stability.real_interval)

    @cached_property
    def imaginary_interval(self) -> float | None:
        """The length of the stable part of the imaginary axis, from 0 on; None for irrational coefficients."""
        return self._asked(stability.imaginary_interval)

    @cached_property
    def a_alpha(self) -> float | None:
        """The angle of the largest stable sector around the negative axis, in degrees; 90 is A-stability."""
        return self._asked(stability.a_alpha)

    def _asked(self, question: Callable[[Multistep], Any]) -> Any:
        numbers = (*self._equal.alpha, *self._equal.beta)
        return None if any(is_symbolic(plain(v)) for v in numbers) else question(self._equal)

    @cached_property
    def symmetric(self) -> bool:
        """alpha_j = -alpha_(k-j) and beta_j = beta_(k-j): the method is its own adjoint.

        Source: Hairer, Lubich, Wanner, section XV.1.

        >>> [multistep_certificate(name).symmetric for name in ("nystroem-2", "milne-simpson-2", "am-2", "ab-2")]
        [True, True, True, False]
        """
        alpha, beta = (part[: self._equal.steps + 1] for part in (self._equal.alpha, self._equal.beta))
        sums = [a + b for a, b in zip(alpha, alpha[::-1], strict=True)]
        return all(map(is_null, [*sums, *(a - b for a, b in zip(beta, beta[::-1], strict=True))]))

    def findings(self) -> list[str]:
        """What is not as claimed, and what keeps the method from converging or from its order on unequal steps.

        >>> from odekit.algebra.multistep import from_text
        >>> ab2 = from_text("equal-steps-ab2", 2, ["1", "-1", "0"], ["0", "3/2", "-1/2"])
        >>> multistep_certificate(ab2).findings()
        ['order 2 on equal steps, 1 where they jump (C_2: (w1 - 1)/(2*w1), not 0)']
        """
        found = []
        least = self.order if self.any_order is None else self.any_order
        if self.claimed and not least <= self.claimed <= self.order:
            why = f": {self.failing[0]}" if self.order < self.claimed else ""
            found.append(f"order {self.order}, not {self.claimed} as claimed{why}")
        if self.any_order is not None and self._forgets:
            smooth = f", {self.smooth_order} where they vary smoothly" if self.smooth_order < self.order else ""
            found.append(
                f"order {self.order} on equal steps{smooth}, {self.any_order} where they jump "
                f"({self.failing_on_any_steps[0]})"
            )
        if not self.zero_stable:
            root, times = self.violating_root
            shown = f"{root.real:.10g}" if abs(root.imag) < 1e-12 else f"{root:.6g}"
            where = f"{shown}, outside the unit circle" if times == 1 else f"{shown} on the unit circle, {times}-fold"
            found.append(f"not zero-stable: rho has the root {where}")
        return found

    @property
    def _forgets(self) -> bool:
        """Whether unequal steps cost order because the coefficients do not follow the ratios; not so Simpson's rule."""
        return self.smooth_order < self.order or (self.any_order < self.order and self._is_constant)

    @property
    def _is_constant(self) -> bool:
        other = self.method.at_random()
        return (other.alpha, other.beta) == (self._equal.alpha, self._equal.beta)

    def rows(self) -> list[tuple[str, str]]:
        """(label, text) of everything, as a page shows it."""
        stable = "no" if not self.zero_stable else "strongly" if self.strongly_stable else "weakly"
        rows = [("order", f"{self.order}; next: {self.failing[0]}")]
        if self.any_order is not None:
            rows.append(("order on smooth grids, on any steps", f"{self.smooth_order}, {self.any_order}"))
        rows += [
            ("error constant", _text(self.error_constant)),
            ("zero-stable", stable),
            ("stable on the negative axis to", _text(self.real_interval)),
            ("stable on the imaginary axis to", _text(self.imaginary_interval)),
            ("A(alpha)", "" if self.a_alpha is None else f"{self.a_alpha:.6g} degrees"),
            ("symmetric", "yes" if self.symmetric else "no"),
        ]
        return [(label, text) for label, text in rows if text]

    def details(self) -> dict[str, Any]:
        """The rest of it as plain data."""
        return {
            "order_on_smooth_grids": self.smooth_order,
            "order_on_any_steps": self.any_order,
            "failing_on_any_steps": [str(f) for f in self.failing_on_any_steps],
            "error_constant": _text(self.error_constant),
            "zero_stable": self.zero_stable,
            "strongly_stable": self.strongly_stable,
            "real_interval": None if self.real_interval is None else float(self.real_interval),
            "imaginary_interval": self.imaginary_interval,
            "a_alpha": self.a_alpha,
            "symmetric": self.symmetric,
        }


def multistep_certificate(method: Multistep | str) -> MultistepCertificate:
    """The certificate of a linear multistep method, or of a name that `odekit.algebra.multistep.get` knows.

    >>> bdf3 = multistep_certificate("bdf-3")
    >>> bdf3.order, str(bdf3.error_constant), round(bdf3.a_alpha, 4), bdf3.any_order, bdf3.findings()
    (3, '-1/4', 86.0324, 3, [])
    """
    return MultistepCertificate(get(method) if isinstance(method, str) else method)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return "all of it" if math.isinf(value) else f"{value:.10g}"
    return "all of it" if value == math.inf else _shown(value)


def _shown(value: Any) -> str:
    if is_symbolic(value) and not value.is_number:
        import sympy

        return str(sympy.factor(value))
    return shown(value)
