r"""Order conditions of exponential Runge-Kutta methods, one for each tree: stiff and classical.

*Stiff.* With psi_k(z) = phi_k(z) - sum_i b_i(z) c_i^(k-1)/(k-1)! and
psi_{k,i}(z) = c_i^k phi_k(c_i z) - sum_j a_ij(z) c_j^(k-1)/(k-1)!, the condition of a rooted tree is read off its
vertices: a root whose children are all leaves is psi_k, another vertex of this kind psi_{k,i}; a vertex with m leaves
and other children t_1, t_2, ... is sum_j a_ij c_j^m K(t_1, t_2, ...) (b_i at the root), where K is a derivative of g
with m arguments u'. As K is arbitrary and does not commute with A, every vertex has a variable z of its own. Trees of
n vertices are conditions of order n: 1, 2, 4, 9, 20 for n = 2..6, and psi_1 = 0 for n = 1.

*Classical.* Bicoloured trees in which a linear vertex (colour 1) has at most one child; along the way a chain of m
linear vertices takes the coefficient of z^m.

Sources: Hochbruck, Ostermann, SIAM J. Numer. Anal. 43 (2005), table 2; Luan, Ostermann, SIAM J. Numer. Anal. 51 (2013);
Luan, Ostermann, J. Comput. Appl. Math. 256 (2014), to order 5; Luan, Alhsmy (2023) for order 6; Berland, Owren,
Skaflestad (2005) for the classical ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache, reduce
from math import factorial
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.algebra.exponential_polynomials import ExponentialPolynomial, Ring
from odekit.algebra.trees import AlgebraError, Tree, table

if TYPE_CHECKING:
    from odekit.algebra.exponential import ExponentialTableau

MAX_CLASSICAL_ORDER = 8
_INDICES = "ijklmnpq"


# ---------------------------------------------------------------- stiff


@cache
def stiff_conditions(order: int) -> tuple[StiffCondition, ...]:
    """All stiff conditions to an order, by order: psi_1 = 0, psi_{1,i} = 0 (part of order 2), then a tree each.

    >>> [sum(c.order == n and not c.of_stages for c in stiff_conditions(6)) for n in range(1, 7)]
    [1, 1, 2, 4, 9, 20]
    """
    found = [StiffCondition(t) for t in table(order)]
    stages = [StiffCondition(table(1)[1], of_stages=True)] if order > 1 else []
    return (found[0], *stages, *found[1:])


@dataclass(frozen=True)
class StiffCondition:
    """The stiff order condition of one tree; with `of_stages` (for the single vertex) that of the row sums."""

    tree: Tree
    of_stages: bool = False

    @property
    def order(self) -> int:
        """The order to which the condition belongs."""
        return 2 if self.of_stages else self.tree.order

    @property
    def name(self) -> str:
        """The tree in brackets, or "psi_{1,i}"."""
        return "psi_{1,i}" if self.of_stages else str(self.tree)

    def __str__(self) -> str:
        return f"{self.name}: {self.python()} = 0"

    def residual(self, method: ExponentialTableau, weak: bool = False) -> ExponentialPolynomial:
        """What must vanish, in one variable for each inner vertex of the tree (root first); `weak`: root at z = 0.

        For the row sums, the first psi_{1,i} that does not vanish.
        """
        if self.of_stages:
            return next((psi for psi in psi_stage(method, 1) if not psi.is_zero), method.parts.ring.zero)
        full = _remembered(method, self.tree, root=True)[0]
        return full.at_origin() if weak else full

    def failure(self, method: ExponentialTableau, weak: bool = False) -> str:
        """What is left instead of zero, named and to leading order; empty where the condition holds."""
        residual = self.residual(method, weak)
        if residual.is_zero:
            return ""
        symbols = ()
        if weak and residual.variables:
            import sympy

            symbols = sympy.symbols(f"z1:{residual.variables + 1}")
        more = " + ..." if residual.variables else ""
        return f"{self.name}: {residual.leading(symbols)}{more}, not 0"

    def latex(self) -> str:
        r"""The condition with b_i, a_ij short for b_i(hA), a_ij(hA), as an equation.

        >>> from odekit.algebra.trees import tree
        >>> print(StiffCondition(tree("[[tau],tau]")).latex())
        \sum_{i} b_{i}\,c_{i}\,g''\bigl(u',\,\psi_{2,i}\bigr) = 0
        """
        if self.of_stages:
            return r"\psi_{1,i} = c_{i}\,\varphi_{1}(c_{i}hA) - \sum_{j} a_{ij} = 0"
        return f"{_latex(self.tree, 0)} = 0"

    def python(self) -> str:
        """The residual as Python, in s, c[i], a[i][j](z), b[i](z), phi(k, z) and the variables z[0], z[1], ...

        >>> from odekit.algebra.trees import tree
        >>> StiffCondition(tree("[tau]")).python()
        'phi(2, z[0]) - sum(b[i](z[0])*c[i] for i in range(s))'
        """
        if self.of_stages:
            return "[c[i]*phi(1, c[i]*z[0]) - sum(a[i][j](z[0]) for j in range(s)) for i in range(s)]"
        return _python(self.tree, 0, iter(range(self.tree.order)))


def psi_stage(method: ExponentialTableau, k: int) -> list[ExponentialPolynomial]:
    """psi_{k,i} for every stage i of a method.

    >>> from odekit.algebra.exponential_methods import get
    >>> [psi.is_zero for psi in psi_stage(get("etd2rk"), 1)]
    [True, True]
    """
    ring, c, A, _ = method.parts
    return [ring.phi(k, x) * x**k - _moment(row, c, k, ring.zero) for x, row in zip(c, A, strict=True)]


def _moment(weights: list, c: list, k: int, zero: ExponentialPolynomial) -> ExponentialPolynomial:
    terms = (w * (_power(zero.ring, x, k - 1) / factorial(k - 1)) for w, x in zip(weights, c, strict=True))
    return reduce(lambda a, b: a + b, terms, zero)


def _power(ring: Ring, x: Any, n: int) -> Any:
    return x**n if n else ring.domain.one  # SymPy's fields refuse 0**0


def _shape(tree: Tree) -> tuple[int, list[Tree]]:
    """The number of leaves on the root, and its other children."""
    inner = [child for child in tree.children if child.order > 1]
    return len(tree.children) - len(inner), inner


def _remembered(method: ExponentialTableau, tree: Tree, root: bool = False) -> list[ExponentialPolynomial]:
    key = tree, root
    if key not in method.memory:
        method.memory[key] = _weights(method, tree, root)
    return method.memory[key]


def _weights(method: ExponentialTableau, tree: Tree, root: bool) -> list[ExponentialPolynomial]:
    """The condition at the root (a single entry), or what stands for this tree in every stage."""
    ring, c, A, b = method.parts
    leaves, inner = _shape(tree)
    if not inner and not root:
        return psi_stage(method, leaves + 1)
    if not inner:
        return [ring.phi(leaves + 1, ring.domain.one) - _moment(b, c, leaves + 1, ring.zero)]
    below = [_remembered(method, child) for child in inner]
    products = [reduce(ExponentialPolynomial.tensor, parts) for parts in zip(*below, strict=True)]
    forests = [f * _power(ring, x, leaves) for x, f in zip(c, products, strict=True)]
    rows = [b] if root else A
    return [
        reduce(lambda a, b: a + b, (w.tensor(f) for w, f in zip(row, forests, strict=True) if not f.is_zero), ring.zero)
        for row in rows
    ]


def _latex(tree: Tree, depth: int) -> str:
    leaves, inner = _shape(tree)
    i = _INDICES[depth - 1] if depth else ""
    if not inner:
        return rf"\psi_{{{leaves + 1}{',' + i if i else ''}}}"
    j = _INDICES[depth]
    head = rf"\sum_{{{j}}} " + (rf"a_{{{i}{j}}}" if depth else f"b_{{{j}}}")
    if leaves:
        head += rf"\,c_{{{j}}}" + (f"^{{{leaves}}}" if leaves > 1 else "")
    count = leaves + len(inner)
    g = "g" + ("'" * count if count < 4 else f"^{{({count})}}")
    arguments = ["u'"] * leaves + [_latex(child, depth + 1) for child in inner]
    inside = r",\,".join(arguments)
    return rf"{head}\,{g}" + (rf"\,{inside}" if count == 1 else rf"\bigl({inside}\bigr)")


def _python(tree: Tree, depth: int, variables: Any) -> str:
    leaves, inner = _shape(tree)
    z = f"z[{next(variables)}]"
    i, j = _INDICES[depth - 1], _INDICES[depth]
    weight = f"a[{i}][{j}]({z})" if depth else f"b[{j}]({z})"
    power = f"*c[{j}]" + (f"**{leaves}" if leaves > 1 else "") if leaves else ""
    if not inner:
        k = leaves + 1
        start = f"c[{i}]**{k}*phi({k}, c[{i}]*{z})" if depth else f"phi({k}, {z})"
        scale = f"/{factorial(leaves)}" if leaves > 1 else ""
        text = f"{start} - sum({weight}{power} for {j} in range(s)){scale}"
        return f"({text})" if depth else text
    factors = "".join(f"*{_python(child, depth + 1, variables)}" for child in inner)
    return f"sum({weight}{power}{factors} for {j} in range(s))"


# ---------------------------------------------------------------- classical


@cache
def classical_conditions(order: int) -> tuple[ClassicalCondition, ...]:
    """All classical conditions to an order (at most 8), by order; colour 0 is g, colour 1 the linear part.

    >>> [sum(c.order == n for c in classical_conditions(5)) for n in range(1, 6)]
    [2, 4, 11, 34, 117]
    """
    if not 1 <= order <= MAX_CLASSICAL_ORDER:
        raise AlgebraError(f"classical conditions to order {order}: expected 1 to {MAX_CLASSICAL_ORDER}")
    trees = table(order, 2)
    kept = np.zeros(len(trees), dtype=bool)
    kept[1:3] = True
    for n in range(2, order + 1):
        ids = np.array(trees.of_order(n))
        trunk = trees.trunk[ids]
        kept[ids] = kept[trunk] & kept[trees.branch[ids]] & ((trees.colour[ids] == 0) | (trees.orders[trunk] == 1))
    return tuple(ClassicalCondition(trees[i]) for i in np.flatnonzero(kept))


@dataclass(frozen=True)
class ClassicalCondition:
    """The classical order condition of one bicoloured tree: its elementary weight is one over its density."""

    tree: Tree

    @property
    def order(self) -> int:
        """The order to which the condition belongs."""
        return self.tree.order

    @property
    def name(self) -> str:
        """The tree in brackets, _1 marking linear vertices."""
        return str(self.tree)

    def __str__(self) -> str:
        return f"{self.name}: Phi = {Fraction(1, self.tree.density)}"

    def weight(self, method: ExponentialTableau) -> Any:
        """The elementary weight: a Fraction, or a SymPy expression where roots or parameters occur."""
        return _plain(method, _elementary(method, self.tree, root=True)[0])

    def residual(self, method: ExponentialTableau) -> Any:
        """The elementary weight minus one over the density; zero where the condition holds."""
        domain = method.parts.ring.domain
        return _plain(method, _elementary(method, self.tree, root=True)[0] - domain.one / self.tree.density)

    def failure(self, method: ExponentialTableau) -> str:
        """The weight found and the one expected, named; empty where the condition holds."""
        value = self.weight(method)
        return "" if self.residual(method) == 0 else f"{self.name}: {value}, not {Fraction(1, self.tree.density)}"

    def latex(self) -> str:
        r"""The condition, b_i^{[m]} and a_ij^{[m]} being the coefficients of z^m.

        >>> from odekit.algebra.trees import tree
        >>> print(ClassicalCondition(tree("[[tau_0]_1]_0", colours=2)).latex())
        \sum_{i} b^{[0]}_{i}\sum_{j} a^{[1]}_{ij} = \frac{1}{6}
        """
        density = self.tree.density
        value = rf"\frac{{1}}{{{density}}}" if density > 1 else "1"
        return f"{_latex_classical(self.tree, 0)} = {value}"

    def python(self) -> str:
        """The residual as Python, in s, c[i], a[m][i][j] and b[m][i], m the power of z."""
        return f"{_python_classical(self.tree, 0)} - 1/{self.tree.density}"


def _plain(method: ExponentialTableau, value: Any) -> Any:
    import sympy

    exact = sympy.factor(method.parts.ring.domain.to_sympy(value))
    return Fraction(int(exact.p), int(exact.q)) if exact.is_Rational else exact


def _chain(tree: Tree) -> tuple[int, Tree | None]:
    """The number of linear vertices from the root on, and the tree on top of them."""
    m, top = 0, tree
    while top is not None and top.colour:
        m, top = m + 1, top.children[0] if top.children else None
    return m, top


def _elementary(method: ExponentialTableau, tree: Tree, root: bool = False) -> list:
    """The elementary weight at the root (a single entry), or those of every stage."""
    key = "classical", tree.id, root
    if key in method.memory:
        return method.memory[key]
    ring, c, _, _ = method.parts
    m, top = _chain(tree)
    if top is None:
        found = [x**m / factorial(m) for x in ([ring.domain.one] if root else c)]
    else:
        below = [_elementary(method, child) for child in top.children]
        forests = [reduce(lambda a, b: a * b, parts, ring.domain.one) for parts in zip(*below, strict=True)]
        forests = forests or [ring.domain.one] * len(c)
        zero = ring.domain.zero
        found = [sum((w * f for w, f in zip(row, forests, strict=True)), zero) for row in _taylor(method, m, root)]
    method.memory[key] = found
    return found


def _taylor(method: ExponentialTableau, m: int, root: bool) -> list[list]:
    key = "taylor", m, root
    if key not in method.memory:
        rows = [method.parts.b] if root else method.parts.A
        method.memory[key] = [[entry.coefficient((m,)) for entry in row] for row in rows]
    return method.memory[key]


def _latex_classical(tree: Tree, depth: int) -> str:
    m, top = _chain(tree)
    i, j = _INDICES[depth - 1] if depth else "", _INDICES[depth]
    if top is None:
        power = f"^{{{m}}}" if m > 1 else ""
        over = rf"\frac{{1}}{{{m}!}}"
        return (rf"{over}\," if m > 1 else "") + f"c_{{{i}}}{power}" if depth else over
    head = rf"\sum_{{{j}}} " + (rf"a^{{[{m}]}}_{{{i}{j}}}" if depth else f"b^{{[{m}]}}_{{{j}}}")
    parts = [_latex_classical(child, depth + 1) for child in top.children]
    parts = [rf"\Bigl({part}\Bigr)" if len(parts) > 1 and "sum" in part else part for part in parts]
    return head + "".join(part if "sum" in part else rf"\,{part}" for part in parts)


def _python_classical(tree: Tree, depth: int) -> str:
    m, top = _chain(tree)
    i, j = _INDICES[depth - 1], _INDICES[depth]
    if top is None:
        value = f"c[{i}]" + (f"**{m}" if m > 1 else "") if depth else "1"
        return value + (f"/{factorial(m)}" if m > 1 else "")
    weight = f"a[{m}][{i}][{j}]" if depth else f"b[{m}][{j}]"
    return f"sum({weight}{''.join('*' + _python_classical(t, depth + 1) for t in top.children)} for {j} in range(s))"
