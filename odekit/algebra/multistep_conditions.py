"""Order conditions of linear multistep methods on any steps, error constants, and what the start lets through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import factorial, log2
from typing import Any

from odekit.algebra.multistep import MAX_STEPS, Multistep, is_null, nodes
from odekit.algebra.trees import AlgebraError


def residual(method: Multistep, q: int) -> Any:
    """sum_j alpha_j c_j^q - q sum_j beta_j c_j^(q-1): zero for q = 0, ..., p means order p.

    Source: Hairer, Norsett, Wanner I, theorem III.2.4, equation (2.6).
    """
    total = method.nodes[0] * 0
    for a, b, c in zip(method.alpha, method.beta, method.nodes, strict=True):
        if a != 0:
            total = total + (a * c**q if q else a)
        if b != 0 and q:
            total = total - (b * c ** (q - 1) * q if q > 1 else b)
    return total


def order_of(method: Multistep, maximum: int = 2 * MAX_STEPS, tolerance: float = 0) -> int:
    """The order on the method's steps; -1 where constants fail.

    For symbolic ratios, the order on almost all steps: decided at ratios drawn from 2^60 numbers, in exact arithmetic.

    >>> from odekit.algebra.multistep import bdf, milne_simpson, nystroem
    >>> order_of(bdf(3)), order_of(milne_simpson(2)), order_of(milne_simpson(2, ["2"])), order_of(nystroem(1))
    (3, 4, 3, 2)
    """
    tried = method.at_random() if hasattr(method.nodes[0], "field") else method
    for q in range(maximum + 2):
        found = residual(tried, q)
        if not (is_null(found) or (tolerance and abs(found) <= tolerance)):
            return q - 1
    return maximum


def order_on_smooth_grids(method: Multistep) -> int:
    """The order on grids t_n = g(n h) with smooth g, whose ratios of steps are 1 + O(h).

    A residual of degree q that vanishes like h^v there counts as one of degree q + v; v is seen, in exact arithmetic,
    where h is halved at 2^-60. A formula for equal steps keeps the order 2 at most, Simpson's rule its 4.

    >>> from odekit.algebra.multistep import from_text, milne_simpson
    >>> ab3 = from_text("ab3", 3, ["1", "-1", "0", "0"], ["0", "23/12", "-4/3", "5/12"])
    >>> [order_on_smooth_grids(m) for m in (ab3, milne_simpson(2))], [order_of(m) for m in (ab3, milne_simpson(2, [2]))]
    ([2, 4], [1, 3])
    """
    best = order_of(method.on_equal_steps) + 1
    near = [_on_smooth_grid(method, Fraction(1, 2**k)) for k in (60, 61)]
    for q in range(best):
        coarse, fine = (residual(m, q) for m in near)
        if not is_null(coarse):
            best = min(best, q + round(log2(abs(float(coarse / fine)))))
    return best - 1


def _on_smooth_grid(method: Multistep, h: Fraction) -> Multistep:
    times = [s + s**2 * Fraction(2, 7) + s**3 * Fraction(5, 11) for s in (-j * h for j in range(len(method.nodes)))]
    lengths = [a - b for a, b in zip(times, times[1:], strict=False)]
    return method.at([a / b for a, b in zip(lengths, lengths[1:], strict=False)])


def error_constant(method: Multistep) -> Any:
    """C of the local error C h^(p+1) y^(p+1), where the derivatives' weights are scaled to the sum 1.

    Source: Hairer, Norsett, Wanner I, (2.7) and (2.13) of section III.2.

    >>> from odekit.algebra.multistep import adams_bashforth, adams_moulton, bdf
    >>> [str(error_constant(m(k))) for m in (adams_bashforth, adams_moulton, bdf) for k in (1, 2, 3)]
    ['1/2', '5/12', '3/8', '-1/2', '-1/12', '-1/24', '-1/2', '-1/3', '-1/4']
    """
    p = order_of(method)
    weight = method.nodes[0] * 0
    for b in method.beta:
        if b != 0:
            weight = weight + b
    return residual(method, p + 1) / weight / factorial(p + 1)


@dataclass(frozen=True)
class MultistepCondition:
    r"""The moment condition of degree q: the method is exact for t^q, the one tree of order q that counts.

    A vertex with q - 1 leaves: for a quadrature of f the other trees follow from it.

    >>> condition = multistep_conditions(2, steps=2)[2]
    >>> print(condition, condition.latex(), condition.python(), sep="\n")
    [tau]: moment 2 = 0
    \sum_{j} \alpha_{j} c_{j}^{2} = 2 \sum_{j} \beta_{j} c_{j}
    sum(a * c**2 for a, c in zip(alpha, nodes)) - 2 * sum(b * c for b, c in zip(beta, nodes))
    >>> condition.residual
    alpha0 + alpha2/w1**2 - 2*beta0 + 2*beta2/w1
    """

    degree: int
    steps: int | None = None

    @property
    def order(self) -> int:
        """The order of which it is a condition."""
        return self.degree

    @property
    def tree(self) -> str:
        """The tree: empty, a vertex, a vertex with leaves."""
        q = self.degree
        return "empty" if q == 0 else "tau" if q == 1 else f"[{','.join(['tau'] * (q - 1))}]"

    def __str__(self) -> str:
        return f"{self.tree}: moment {self.degree} = 0"

    @property
    def residual(self) -> Any:
        """The residual in alpha0, beta0, ... and the ratios w1, w2, ...; AlgebraError without a number of steps."""
        if self.steps is None:
            raise AlgebraError(f"{self}: how many steps? ask for multistep_conditions(..., steps=k)")
        import sympy

        points = [
            sympy.sympify(c.as_expr() if hasattr(c, "as_expr") else int(c)) for c in nodes(self.steps, symbolic=True)
        ]
        alpha, beta = (tuple(sympy.symbols(f"{name}:{self.steps + 1}")) for name in ("alpha", "beta"))
        return sympy.expand(residual(Multistep("symbolic", tuple(points), alpha, beta), self.degree))

    def latex(self) -> str:
        """The condition for any number of steps."""
        q = self.degree
        left, right = _power("c_{j}", q), _power("c_{j}", q - 1)
        weighted = rf"{q if q > 1 else ''} \sum_{{j}} \beta_{{j}} {right}".strip() if q else "0"
        return rf"\sum_{{j}} \alpha_{{j}} {left}".strip() + f" = {weighted}".rstrip()

    def python(self) -> str:
        """The residual as Python, for sequences alpha, beta and nodes."""
        q = self.degree
        if q == 0:
            return "sum(alpha)"
        left, right = f"c**{q}" if q > 1 else "c", f"c**{q - 1}" if q > 2 else "c"
        first = f"sum(a * {left} for a, c in zip(alpha, nodes))"
        second = f"sum(b * {right} for b, c in zip(beta, nodes))" if q > 1 else "sum(beta)"
        return f"{first} - {f'{q} * ' if q > 1 else ''}{second}"


def _power(name: str, q: int) -> str:
    return "" if q == 0 else name if q == 1 else f"{name}^{{{q}}}"


@dataclass(frozen=True)
class StartCondition:
    """A starting value must be right to h^order: what follows makes no error smaller (see `weights_of_start`).

    >>> print(StartCondition(2, 3), StartCondition(2, 3).latex(), sep="; ")
    start 2: error O(h^3); y_{2} - y(t_{2}) = O(h^{3})
    """

    index: int
    order: int

    def __str__(self) -> str:
        return f"start {self.index}: error O(h^{self.order})"

    def latex(self) -> str:
        """The condition in a formula."""
        return rf"y_{{{self.index}}} - y(t_{{{self.index}}}) = O(h^{{{self.order}}})"

    def python(self) -> str:
        """What is missing, for the powers of h in the errors of the starting values: errors[0] that of y_1."""
        return f"max(0, {self.order} - errors[{self.index - 1}])"


def multistep_conditions(order: int, steps: int | None = None, start: bool = False) -> list:
    """The conditions to `order`, on any steps; with `start`, those on the starting values of a k-step method as well.

    Source: Hairer, Norsett, Wanner I, theorem III.2.4 and section III.4.

    >>> [str(c) for c in multistep_conditions(2, steps=3, start=True)][3:]
    ['start 1: error O(h^2)', 'start 2: error O(h^2)']
    """
    if not 0 <= order <= 2 * MAX_STEPS:
        raise AlgebraError(f"order {order} of a multistep method: expected 0 to {2 * MAX_STEPS}")
    found: list = [MultistepCondition(q, steps) for q in range(order + 1)]
    if start:
        if steps is None:
            raise AlgebraError("conditions on the start need the number of steps")
        found += [StartCondition(j, order) for j in range(1, steps)]
    return found


def starting_errors(orders: Sequence[int]) -> list[int]:
    """The powers of h in the errors of y_1, y_2, ... when step j is taken by a formula of order `orders[j - 1]`.

    A step of order p errs by h^(p+1); finitely many steps neither gain nor lose a power.

    >>> starting_errors([1, 2, 3]), starting_errors([3, 3])
    ([2, 2, 2], [4, 4])
    """
    found: list[int] = []
    for p in orders:
        found.append(min([*found[-1:], p + 1]))
    return found


def weights_of_start(method: Multistep) -> list[float]:
    """How much of each starting value y_0, y_1, ... stays for ever: 0 for those that only act through f, times h.

    For each root of rho on the unit circle, the coefficients of rho/(zeta - root); the largest counts.

    >>> from odekit.algebra.multistep import adams_bashforth, bdf
    >>> weights_of_start(adams_bashforth(3)), [round(w, 3) for w in weights_of_start(bdf(2))]
    ([0.0, 0.0, 1.0], [0.333, 1.0])
    """
    import numpy as np

    alpha = np.array([float(a) for a in method.alpha[: method.steps + 1]])
    roots = np.append(np.roots(alpha), 1.0)
    parts = [np.polydiv(alpha, [1, -r])[0] for r in roots if abs(abs(r) - 1) < 1e-9]
    largest = np.max(np.abs(parts), axis=0)
    return [float(w) if w > 1e-9 else 0.0 for w in largest[::-1]]


def order_with_start(method: Multistep, errors: Sequence[int]) -> int:
    """The global order of a zero-stable method whose starting values y_1, y_2, ... err by these powers of h.

    The least of the method's order and of the errors; a value that acts through f only (in Adams methods, all but the
    last) gains a power. Raises AlgebraError for a method that is not zero-stable, or too few starting values.
    Source: Hairer, Norsett, Wanner I, section III.4.

    >>> from odekit.algebra.multistep import adams_bashforth
    >>> [order_with_start(adams_bashforth(4), errors) for errors in (starting_errors([1, 2, 3]), [2, 3, 4])]
    [2, 3]
    """
    from odekit.algebra.multistep_stability import zero_stable

    if not zero_stable(method):
        raise AlgebraError(f"{method.name} is not zero-stable: no start makes it converge")
    if len(errors) < method.steps - 1:
        raise AlgebraError(f"{method.name} needs {method.steps - 1} starting values, got {len(errors)}")
    kept = weights_of_start(method)[1:]
    return min([order_of(method), *(q + (not w) for q, w in zip(errors, kept, strict=False))])
