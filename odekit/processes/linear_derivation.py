"""Transitions, covariances and factors of 2x2 linear SDEs in symbols, where they close.

SymPy is imported here, so this module is imported on first use only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import sympy
from sympy.integrals.manualintegrate import manualintegrate

from .derivation import TIME

START = sympy.Symbol("s", positive=True)
"""The time that transitions start from."""


def integral_of(F: sympy.Matrix) -> sympy.Matrix | None:
    """W with W' = F and W(0) = 0, where F(t) commutes with F(s) and its entries have antiderivatives; else None.

    Then the transition is exp(W(t) - W(s)).

    >>> integral_of(sympy.Matrix([[0, 2 * TIME], [-2 * TIME, 0]]))
    Matrix([
    [    0, t**2],
    [-t**2,    0]])
    """
    later = F.subs(TIME, START)
    if sympy.simplify(F * later - later * F) != sympy.zeros(2):
        return None
    W = F.applyfunc(lambda entry: manualintegrate(entry, TIME))
    at_zero = W.subs(TIME, 0)
    if W.has(sympy.Integral) or at_zero.has(sympy.oo, sympy.zoo, sympy.nan):
        return None
    return (W - at_zero).applyfunc(sympy.simplify)


def exponential(B: sympy.Matrix) -> sympy.Matrix:
    """exp(B) of a 2x2 matrix; a double eigenvalue gives a polynomial times one exponential.

    e^m (cosh(r) I + sinh(r)/r (B - m I)) with m = tr B/2 and r^2 = m^2 - det B.

    >>> b = sympy.Symbol("b")
    >>> exponential(sympy.Matrix([[0, b], [0, 0]]))
    Matrix([
    [1, b],
    [0, 1]])
    """
    m = sympy.simplify(B.trace() / 2)
    square = sympy.factor(sympy.simplify(((B[0, 0] - B[1, 1]) / 2) ** 2 + B[0, 1] * B[1, 0]))
    rest = (B - m * sympy.eye(2)).applyfunc(sympy.simplify)
    if square == 0:
        return sympy.exp(m) * (sympy.eye(2) + rest)
    turns = square.is_nonpositive or sympy.simplify(-square).is_nonnegative
    # either sign of r serves: both functions are even
    r = sympy.sqrt(-square if turns else square).replace(sympy.Abs, lambda x: x)
    even, odd = (sympy.cos(r), sympy.sin(r)) if turns else (sympy.cosh(r), sympy.sinh(r))
    return sympy.exp(m) * (even * sympy.eye(2) + odd / r * rest)


def stationary(F: sympy.Matrix, D: sympy.Matrix) -> sympy.Matrix | None:
    """Q with F Q + Q F^T + D = 0 at all times, where F and D keep their proportions; else None.

    Then Sigma_t = Q + Psi (Sigma_0 - Q) Psi^T, Psi = Psi(t, 0).
    """
    xx, xm, mm = sympy.symbols("xx xm mm")
    Q = sympy.Matrix([[xx, xm], [xm, mm]])
    balance = (F * Q + Q * F.T + D).applyfunc(sympy.simplify)
    found = sympy.solve([balance[0, 0], balance[0, 1], balance[1, 1]], [xx, xm, mm], dict=True)
    if not found:
        return None
    Q = Q.subs(found[0]).applyfunc(sympy.simplify)
    return None if Q.free_symbols & {TIME, xx, xm, mm} else Q


QUANTITIES = ("drift", "diffusion", "integral", "transition", "covariance", "cholesky", "angle_rate")


class LinearDerivation(Mapping):
    """Quantity name -> SymPy matrix in `t`, of transitions from `s` to `t`; None where it does not close.

    drift F, diffusion G G^T, integral (of F from 0), transition, covariance (from `initial` on), its lower Cholesky
    factor L, and the rate of the angle theta in R = L Q(theta), an expression: R closes where its integral does. Each
    is derived when first asked for.
    """

    def __init__(self, F: sympy.Matrix, G: sympy.Matrix, initial: tuple[Any, Any]):
        self._known: dict[str, sympy.Matrix | None] = {"drift": F, "diffusion": (G * G.T).applyfunc(sympy.simplify)}
        self._initial = sympy.diag(*initial)

    def __getitem__(self, name: str) -> sympy.Matrix | None:
        if name not in self._known:
            if name not in QUANTITIES:
                raise KeyError(name)
            self._known[name] = getattr(self, "_" + name)()
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(QUANTITIES)

    def __len__(self) -> int:
        return len(QUANTITIES)

    def _integral(self) -> sympy.Matrix | None:
        return integral_of(self["drift"])

    def _transition(self) -> sympy.Matrix | None:
        W = self["integral"]
        return None if W is None else exponential((W - W.subs(TIME, START)).applyfunc(sympy.factor))

    def _covariance(self) -> sympy.Matrix | None:
        if self["transition"] is None:
            return None
        Q, psi = stationary(self["drift"], self["diffusion"]), self["transition"].subs(START, 0)
        return None if Q is None else (Q + psi * (self._initial - Q) * psi.T).applyfunc(sympy.simplify)

    def _angle_rate(self) -> sympy.Expr | None:
        sigma = self["covariance"]
        if sigma is None:
            return None
        xx, xm, root = sigma[0, 0], sigma[0, 1], sympy.sqrt(sigma.det())
        D = self["diffusion"]
        return -self["drift"][0, 1] * root / xx + (D[0, 0] * xm / xx - D[0, 1]) / (2 * root)

    def _cholesky(self) -> sympy.Matrix | None:
        sigma = self["covariance"]
        if sigma is None:
            return None
        first = sympy.sqrt(sigma[0, 0])
        below = sigma[1, 0] / first if first != 0 else sympy.S.Zero
        return sympy.Matrix([[first, 0], [below, sympy.sqrt(sigma[1, 1] - below**2)]])


def latex(known: Mapping[str, sympy.Matrix | None]) -> str:
    """F, G G^T, Psi(t, s) and Sigma_t as a paper would print them (`align`); what does not close is left out."""
    names = {"drift": "F_t", "diffusion": "G_t G_t^T", "transition": r"\Psi(t, s)", "covariance": r"\Sigma_t"}
    lines = [f"{sign} &= {sympy.latex(known[name])}" for name, sign in names.items() if known[name] is not None]
    return "\\begin{align}\n" + " \\\\\n".join(lines) + "\n\\end{align}"
