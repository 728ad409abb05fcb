"""Exponential Runge-Kutta methods as exact data, and their orders: classical, stiff, and stage order.

For u' = A u + g(t, u), z = hA, a step of size h is

    U_i = e^(c_i z) u + h sum_j a_ij(z) g(t + c_i h, U_j),    u_next = e^z u + h sum_i b_i(z) g(t + c_i h, U_i)

In the log-SNR clock of a diffusion process both forms of the probability flow are of this kind, with h > 0 the step:
x/sigma with A = 1 and g = -noise (z = h), and x/alpha with A = -1 and g = data (z = -h).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from odekit.algebra.exponential_polynomials import ExponentialPolynomial, Ring
from odekit.algebra.phi import evaluate, phi
from odekit.exceptions import MethodError

if TYPE_CHECKING:
    from odekit.algebra.exponential_conditions import ClassicalCondition, StiffCondition

MAX_STAGES = 64
Texts = tuple[str, ...]


class Entries:
    """How the entries of an exponential method are read: the variable, its sign, the free parameters."""

    def __init__(self, name: str, parameters: Texts, prediction: str | None):
        signs = {None: 1, "noise": 1, "data": -1}
        if prediction not in signs:
            raise MethodError(f"{name}: prediction {prediction!r}; expected 'noise', 'data' or none")
        self.variable = "z" if prediction is None else "h"
        self.sign, self.parameters = signs[prediction], parameters

    def plain(self, text: Any) -> Any:
        """An entry as a SymPy expression in its own variable, z or h."""
        from odekit.expressions import parse

        return parse(str(text), (self.variable, *self.parameters))

    def in_z(self, text: Any) -> Any:
        """An entry as a SymPy expression in z = hA."""
        import sympy

        return self.plain(text).subs(sympy.Symbol(self.variable), self.sign * sympy.Symbol("z"))

    def constant(self, text: Any) -> Any:
        """A node: an expression in the parameters alone."""
        from odekit.expressions import parse

        return parse(str(text), self.parameters)


def latex(expression: Any) -> str:
    r"""An entry as LaTeX, with varphi for phi.

    >>> from odekit.expressions import parse
    >>> print(latex(parse("phi2(z/2)/c2", ("z", "c2"))))
    \frac{\varphi_{2}\left(\frac{z}{2} \right)}{c_{2}}
    """
    import sympy

    return re.sub(
        r"\\phi_\{(\d+)\}(\^\{\d+\})?\{(\\left\(.*?\\right\))\}", r"\\varphi_{\1}\2\3", sympy.latex(expression)
    )


class Parts(NamedTuple):
    """A method in its exact ring: `c` (s,) constants, `A` (s, s) and `b` (s,) exponential polynomials in z."""

    ring: Ring
    c: list
    A: list[list[ExponentialPolynomial]]
    b: list[ExponentialPolynomial]


@dataclass(frozen=True)
class ExponentialTableau:
    """An exponential Runge-Kutta method as its source prints it, with the orders claimed for it.

    `c` (s,), `A` (s rows, which may stop early) and `b` (s,) are texts in phi0, phi1, ..., numbers, roots and the free
    `parameters`, like "c2*phi1(c2*z)"; in `A` and `b` the variable is z = hA, or h > 0 where `prediction` says which
    form of the flow in log-SNR is meant ("noise": z = h, "data": z = -h). `order` is the classical order claimed,
    `stiff_order` that of Hochbruck and Ostermann. `b_embedded` and `embedded_order` come together.
    Raises MethodError for rows that do not fit, ExpressionError or AlgebraError for entries outside the grammar.
    Source: Hochbruck, Ostermann, SIAM J. Numer. Anal. 43 (2005), (2.2).

    >>> etd2 = ExponentialTableau("etd2rk", 2, "Cox, Matthews 2002, (22)", c=("0", "1"),
    ...                           A=((), ("phi1(z)",)), b=("phi1(z)-phi2(z)", "phi2(z)"))
    >>> str(classical_order(etd2)), str(stiff_order(etd2))
    ('2 ([tau_0,tau_0]_0: 1/2, not 1/3)', '2 ([tau,tau]: -1/12 + ..., not 0)')
    """

    name: str
    order: int
    source: str
    c: Texts
    A: tuple[Texts, ...]
    b: Texts
    b_embedded: Texts | None = None
    embedded_order: int | None = None
    stiff_order: int | None = None
    parameters: Texts = ()
    prediction: str | None = None

    def __post_init__(self) -> None:
        s = len(self.b)
        if not 1 <= s <= MAX_STAGES or len(self.c) != s or len(self.A) != s or any(len(row) > s for row in self.A):
            raise MethodError(f"{self.name}: c, A and b need an entry or row for each stage, 1 to {MAX_STAGES} of them")
        if (self.b_embedded is None) != (self.embedded_order is None) or len(self.b_embedded or self.b) != s:
            raise MethodError(f"{self.name}: b_embedded has one entry a stage and comes with embedded_order")
        for name in ("c", "b", "b_embedded", "parameters"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(value))
        object.__setattr__(self, "A", tuple(tuple(row) + ("0",) * (s - len(row)) for row in self.A))
        self.expressions  # noqa: B018 - refuses what is outside the grammar

    def __getstate__(self) -> dict:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # without what is remembered

    @property
    def family(self) -> str:
        """The catalogue's family, "exponential-runge-kutta"."""
        return "exponential-runge-kutta"

    @property
    def stages(self) -> int:
        """The number of stages s."""
        return len(self.b)

    @cached_property
    def expressions(self) -> tuple:
        """(c, A, b, b_embedded) as SymPy expressions in z and the parameters."""
        entries = Entries(self.name, self.parameters, self.prediction)
        embedded = None if self.b_embedded is None else [*map(entries.in_z, self.b_embedded)]
        A = [[*map(entries.in_z, row)] for row in self.A]
        return [*map(entries.constant, self.c)], A, [*map(entries.in_z, self.b)], embedded

    @cached_property
    def parts(self) -> Parts:
        """The method in its exact ring."""
        c, A, b, _ = self.expressions
        ring = Ring([*c, *b, *(a for row in A for a in row)])
        rows = [[*map(ring.element, row)] for row in A]
        return Parts(ring, [*map(ring.constant, c)], rows, [*map(ring.element, b)])

    def conditions(self, order: int, stiff: bool = False) -> tuple[ClassicalCondition | StiffCondition, ...]:
        """The order conditions of this family."""
        from odekit.algebra.exponential_conditions import classical_conditions, stiff_conditions

        return stiff_conditions(order) if stiff else classical_conditions(order)

    @cached_property
    def memory(self) -> dict:
        """What conditions have computed for this method so far."""
        return {}

    @property
    def embedded(self) -> ExponentialTableau | None:
        """The method with the embedded weights in place of b; None without them."""
        if self.b_embedded is None:
            return None
        changes = {"b": self.b_embedded, "order": self.embedded_order, "b_embedded": None, "embedded_order": None}
        return replace(self, name=f"{self.name}-embedded", stiff_order=None, **changes)

    def substitute(self, **values: Any) -> ExponentialTableau:
        """The method with numbers or expressions (texts) for some of its parameters.

        >>> from odekit.algebra.exponential_methods import get
        >>> get("ho2").substitute(c2="1/2").A[1]
        ('phi1(z/2)/2', '0')
        """
        import sympy

        unknown = sorted(set(values) - set(self.parameters))
        if unknown:
            known = ", ".join(self.parameters) or "none"
            raise MethodError(f"{self.name} has no parameter {unknown[0]} (known: {known})")
        entries = Entries(self.name, self.parameters, self.prediction)
        numbers = {name: entries.constant(value) for name, value in values.items()}
        kept = {str(symbol) for number in numbers.values() for symbol in number.free_symbols}

        def entry(text: str) -> str:
            value = entries.plain(text).subs(numbers, simultaneous=True)
            if value.has(sympy.zoo, sympy.nan, sympy.oo):
                raise MethodError(f"{self.name}: {text} has no value at {numbers}")
            return str(value)

        changed = {name: tuple(map(entry, row)) for name in ("c", "b", "b_embedded") if (row := getattr(self, name))}
        rest = tuple(p for p in self.parameters if p not in values or p in kept)
        return replace(self, A=tuple(tuple(map(entry, row)) for row in self.A), parameters=rest, **changed)

    def coefficients(self, z: Any, **parameters: Any) -> tuple[list, list[list], list]:
        """(c, A(z), b(z)) as numbers, for a float, complex or mpmath number z, or an array of such.

        >>> from odekit.algebra.exponential_methods import get
        >>> get("etd2rk").coefficients(0.0)
        ([0.0, 1.0], [[0.0, 0.0], [1.0, 0.0]], [0.5, 0.5])
        """
        c, A, b, _ = self.expressions
        values = {"z": z, **parameters}

        def number(entry: Any) -> Any:
            return evaluate(entry, values, phi)

        return [*map(number, c)], [[*map(number, row)] for row in A], [*map(number, b)]

    def latex(self) -> str:
        r"""The tableau as a LaTeX array, in z.

        >>> from odekit.algebra.exponential_methods import get
        >>> print(get("etd1").latex())
        \begin{array}{c|c}
        0 &  \\
        \hline
         & \varphi_{1}\left(z \right)
        \end{array}
        """
        c, A, b, embedded = self.expressions
        lines = [
            [latex(x), *("" if j >= i and not a else latex(a) for j, a in enumerate(row))]
            for i, (x, row) in enumerate(zip(c, A, strict=True))
        ]
        rows = [" & ".join(line) for line in lines] + [r"\hline" + "\n" + " & ".join(["", *map(latex, b)])]
        if embedded is not None:
            rows.append(" & ".join(["", *map(latex, embedded)]))
        body = " \\\\\n".join(rows)
        return f"\\begin{{array}}{{c|{'c' * self.stages}}}\n{body}\n\\end{{array}}"

    def stability(self, z: complex, w: complex, **parameters: Any) -> complex:
        """R(z, w): the factor by which a step multiplies u for u' = lambda u + mu u, z = h lambda, w = h mu.

        >>> from odekit.algebra.exponential_methods import get
        >>> round(get("etdrk4").stability(-1.0, 0.5), 5), round(2.718281828459045 ** -0.5, 5)
        (0.60633, 0.60653)
        """
        c, A, b = self.coefficients(z, **parameters)
        A, start = np.array(A), np.exp(np.array(c) * z)
        return (np.exp(z) + w * np.array(b) @ np.linalg.solve(np.eye(self.stages) - w * A, start)).item()


# ---------------------------------------------------------------- orders


@dataclass(frozen=True)
class OrderFound:
    """An order, and the first condition that fails above it (None where the search ended at `order`)."""

    order: int
    failing: ClassicalCondition | StiffCondition | None = None
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.order} ({self.reason})" if self.failing else f"at least {self.order}"

    def __int__(self) -> int:
        return self.order


def classical_order(method: Any, limit: int = 6) -> OrderFound:
    """The order for a fixed, bounded A as h -> 0, searched up to `limit` (at most 8); 0 is inconsistent.

    `method` is an ExponentialTableau or an ExponentialMultistep (with exact starting values, at fixed step ratios).
    """
    return _search(method, method.conditions(limit), limit)


def stiff_order(method: Any, limit: int = 6, weak: bool = False) -> OrderFound:
    """The order uniformly in A, searched up to `limit`: in the strong form, or in the weak one.

    Strong: all conditions to order p vanish identically. Weak: those to order p - 1 do, and those of order p >= 2 with
    b_i(0) in place of b_i(z); it suffices for parabolic problems. Both ask for psi_{1,i} = 0 from order 2 on.
    Source: Hochbruck, Ostermann 2005, table 2 and section 4; Luan, Ostermann 2013, 2014 beyond order 4.

    >>> from odekit.algebra.exponential_methods import get
    >>> str(stiff_order(get("krogstad4"))), str(stiff_order(get("krogstad4"), weak=True))
    ('3 ([tau,tau,tau]: z/720 + ..., not 0)', '3 ([[tau,tau]]: -z1/576 + ..., not 0)')
    """
    conditions = method.conditions(limit, stiff=True)
    strong = _search(method, conditions, limit)
    if not weak or strong.failing is None or strong.order == 0:
        return strong
    p = strong.order + 1
    weakened = _search(method, [c for c in conditions if c.order == p], p, weak=True)
    return weakened if weakened.failing else OrderFound(p, strong.failing, f"in the weak form; {strong.reason}")


def stage_order(method: ExponentialTableau, limit: int = 20) -> int:
    """The largest q with psi_{1,i} = ... = psi_{q,i} = 0 in all stages, and at most `limit`."""
    from odekit.algebra.exponential_conditions import psi_stage

    q = 0
    while q < limit and all(psi.is_zero for psi in psi_stage(method, q + 1)):
        q += 1
    return q


def _search(method: Any, conditions: Sequence[Any], limit: int, **form: Any) -> OrderFound:
    """The order below that of the first condition a method fails; `limit` where it fails none."""
    for condition in conditions:
        found = condition.failure(method, **form)
        if found:
            return OrderFound(condition.order - 1, condition, found)
    return OrderFound(limit)
