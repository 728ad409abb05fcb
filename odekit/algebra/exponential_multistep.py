"""Exponential multistep methods on arbitrary step ratios, and their orders: classical and stiff.

For u' = A u + g(t, u), z = hA, a step of size h after steps of sizes r1 h, r2 h, ... (the last one first) is

    u_next = e^z u + h sum_i w_i(z) g(t + theta_i h),    theta_0 = 0, theta_1 = -r1, theta_2 = -r1 - r2, ...

With psi_k(z) = phi_k(z) - sum_i w_i(z) theta_i^(k-1)/(k-1)! its local error is sum_k h^k psi_k(z) g^(k-1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property, reduce
from math import factorial
from typing import Any

from odekit.algebra.exponential import Entries, latex
from odekit.algebra.exponential_polynomials import ExponentialPolynomial, Ring
from odekit.algebra.phi import evaluate, phi
from odekit.algebra.trees import AlgebraError, Tree, tree
from odekit.exceptions import MethodError


@dataclass(frozen=True)
class ExponentialMultistep:
    """An exponential multistep formula, explicit or (with theta = 1 among the nodes) implicit.

    `nodes` and `weights` are texts, one for each evaluation; nodes in the free `parameters` (step ratios "r1", "r2",
    ...), weights in phi0, phi1, ..., the parameters and the variable: z = hA, or h > 0, the step in log-SNR, where
    `prediction` says which form of the probability flow is meant ("noise": z = h, "data": z = -h).
    Raises MethodError where nodes and weights do not fit.

    >>> from odekit.algebra.exponential import classical_order, stiff_order
    >>> dpmpp2m = ExponentialMultistep("dpmpp-2m", 2, "arXiv:2211.01095, algorithm 2", ("0", "-r1"),
    ...     ("(1+1/(2*r1))*phi1(-h)", "-1/(2*r1)*phi1(-h)"), ("r1",), "data")
    >>> [str(psi.leading()) for psi in dpmpp2m.residuals(3)]
    ['0', '-z/12', '(3*r1 + 2)/12']
    >>> str(classical_order(dpmpp2m)), str(stiff_order(dpmpp2m))
    ('2 (psi_2: -z/12, not 0)', '1 (psi_2: -z/12 + ..., not 0)')
    """

    name: str
    order: int
    source: str
    nodes: tuple[str, ...]
    weights: tuple[str, ...]
    parameters: tuple[str, ...] = ()
    prediction: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.nodes) == len(self.weights):
            raise MethodError(f"{self.name}: {len(self.nodes)} nodes and {len(self.weights)} weights; expected as many")
        for name in ("nodes", "weights", "parameters"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self.expressions  # noqa: B018 - refuses what is outside the grammar

    def __getstate__(self) -> dict:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def family(self) -> str:
        """The catalogue's family, "exponential-multistep"."""
        return "exponential-multistep"

    @cached_property
    def expressions(self) -> tuple[list, list]:
        """(nodes, weights) as SymPy expressions in z and the parameters."""
        entries = Entries(self.name, self.parameters, self.prediction)
        return [*map(entries.constant, self.nodes)], [*map(entries.in_z, self.weights)]

    @cached_property
    def parts(self) -> tuple[Ring, list, list[ExponentialPolynomial]]:
        """(ring, nodes, weights) in the exact ring."""
        nodes, weights = self.expressions
        ring = Ring([*nodes, *weights])
        return ring, [*map(ring.constant, nodes)], [*map(ring.element, weights)]

    def conditions(self, order: int, stiff: bool = False) -> tuple[MultistepCondition, ...]:
        """The order conditions of this family."""
        return multistep_conditions(order, stiff)

    def residual(self, k: int) -> ExponentialPolynomial:
        """psi_k, exactly."""
        ring, nodes, weights = self.parts
        powers = [x ** (k - 1) if k > 1 else ring.domain.one for x in nodes]
        moments = (w * (x / factorial(k - 1)) for w, x in zip(weights, powers, strict=True))
        return ring.phi(k, ring.domain.one) - reduce(lambda a, b: a + b, moments)

    def latex(self) -> str:
        r"""The step as an equation.

        >>> print(exponential_adams(1).latex())
        u_{n+1} = e^{z} u_n + h\,\varphi_{1}\left(z \right)\,g(t_n + 0 h)
        """
        nodes, weights = (map(latex, part) for part in self.expressions)
        terms = (rf"h\,{w}\,g(t_n + {x} h)" for x, w in zip(nodes, weights, strict=True))
        return " + ".join(["u_{n+1} = e^{z} u_n", *terms])

    def residuals(self, order: int) -> list[ExponentialPolynomial]:
        """psi_1, ..., psi_order."""
        return [self.residual(k) for k in range(1, order + 1)]

    def coefficients(self, z: Any, **parameters: Any) -> tuple[list, list]:
        """(nodes, weights) as numbers, for a number z or an array of such, and the step ratios."""
        nodes, weights = self.expressions
        values = {"z": z, **parameters}
        return [evaluate(x, values, phi) for x in nodes], [evaluate(w, values, phi) for w in weights]


@dataclass(frozen=True)
class MultistepCondition:
    """The condition psi_k = 0, or psi_k(z) = O(z^`up_to`); its tree is the bush with k - 1 leaves."""

    k: int
    order: int
    up_to: int | None = None

    @property
    def tree(self) -> Tree:
        """The bush with k - 1 leaves."""
        return tree(f"[{','.join(['tau'] * (self.k - 1))}]" if self.k > 1 else "tau")

    @property
    def name(self) -> str:
        """The residual's name."""
        return f"psi_{self.k}"

    def __str__(self) -> str:
        return f"{self.name}: {self.python()} = {'0' if self.up_to is None else f'O(z**{self.up_to})'}"

    def failure(self, method: ExponentialMultistep, weak: bool = False) -> str:
        """What is left instead of zero, to leading order; empty where the condition holds (at z = 0 if `weak`)."""
        residual = method.residual(self.k)
        if self.up_to is None and not weak:
            return "" if residual.is_zero else f"{self.name}: {residual.leading()} + ..., not 0"
        degree = 0 if weak else self.up_to - 1
        value = residual.coefficient((degree,)) if residual.terms else 0
        if not value:
            return ""
        ring = method.parts[0]
        return f"{self.name}: {ring.domain.to_sympy(value) * ring.variable**degree}, not 0"

    def latex(self) -> str:
        r"""The condition as an equation.

        >>> print(MultistepCondition(3, 3).latex())
        \varphi_{3}(z) - \sum_{i} w_{i}(z)\,\frac{\theta_{i}^{2}}{2!} = 0
        """
        k = self.k - 1
        theta = rf"\,\theta_{{i}}^{{{k}}}" if k > 1 else r"\,\theta_{i}" if k else ""
        moment = rf"\,\frac{{{theta[2:]}}}{{{k}!}}" if k > 1 else theta
        right = "0" if self.up_to is None else rf"\mathcal{{O}}(z^{{{self.up_to}}})"
        return rf"\varphi_{{{self.k}}}(z) - \sum_{{i}} w_{{i}}(z){moment} = {right}"

    def python(self) -> str:
        """The residual as Python, in w[i], theta[i], phi(k, z) and z."""
        k = self.k - 1
        power = f"*theta[i]**{k}" if k > 1 else "*theta[i]" if k else ""
        return f"phi({self.k}, z) - sum(w[i]{power} for i in range(len(w)))" + (f"/{factorial(k)}" if k > 1 else "")


@cache
def multistep_conditions(order: int, stiff: bool = False) -> tuple[MultistepCondition, ...]:
    """All conditions to an order. Stiff: psi_k = 0 for k <= p. Classical: psi_k(z) = O(z^(p+1-k)), one power an order.

    Exact starting values are assumed; step ratios stay fixed as h -> 0.
    Source: Hochbruck, Ostermann, BIT 51 (2011), Exponential multistep methods of Adams-type, for the stiff ones.

    >>> [(c.order, c.name, c.up_to) for c in multistep_conditions(2)]
    [(1, 'psi_1', 1), (2, 'psi_1', 2), (2, 'psi_2', 1)]
    """
    if stiff:
        return tuple(MultistepCondition(k, k) for k in range(1, order + 1))
    return tuple(MultistepCondition(k, p, p + 1 - k) for p in range(1, order + 1) for k in range(1, p + 1))


def exponential_adams(steps: int, implicit: bool = False, ratios: Sequence[Any] | None = None) -> ExponentialMultistep:
    """The exponential Adams formula on step ratios r1, r2, ..., or given ones; implicit with theta = 1 as well.

    Explicit ones are exact for polynomials g of degree below `steps`, implicit ones for one degree more.

    Source: Hochbruck, Ostermann, BIT 51 (2011), section 2; w_j = sum_k k! l_jk phi_{k+1}, l_jk the coefficients of the
    Lagrange polynomials.

    >>> exponential_adams(2).weights
    ('phi1(z) + phi2(z)/r1', '-phi2(z)/r1')
    """
    if not 1 <= steps <= 8:
        raise AlgebraError(f"exponential Adams formulas have 1 to 8 steps, not {steps}")
    import sympy

    if ratios is None:
        ratios = sympy.symbols(f"r1:{steps}") if steps > 1 else ()
    ratios = [*map(sympy.sympify, ratios)]
    nodes: Sequence[Any] = [-sum(ratios[:j], sympy.Integer(0)) for j in range(steps)]
    nodes = [sympy.Integer(1), *nodes] if implicit else nodes
    theta, z = sympy.Symbol("theta"), sympy.Symbol("z")
    weights = []
    for j, here in enumerate(nodes):
        others = [x for i, x in enumerate(nodes) if i != j]
        rising = sympy.Poly(sympy.prod(theta - x for x in others), theta).all_coeffs()[::-1]
        below = sympy.prod(here - x for x in others)
        terms = (
            sympy.factor(a / below) * factorial(k) * sympy.Function(f"phi{k + 1}")(z) for k, a in enumerate(rising)
        )
        weights.append(sympy.Add(*terms))
    name = f"exponential-{'am' if implicit else 'ab'}-{steps}"
    return ExponentialMultistep(
        name, len(nodes), "Hochbruck, Ostermann, BIT 51 (2011)", tuple(map(str, nodes)), tuple(map(str, weights)),
        tuple(str(r) for r in ratios if r.is_Symbol),
    )  # fmt: skip
