"""Transitions, covariances and factors of 2x2 linear SDEs in symbols, where they close.

SymPy is imported here, so this module is imported on first use only.
"""

from __future__ import annotations

from collections.abc import Mapping
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


def expressions(F: sympy.Matrix, G: sympy.Matrix, initial: tuple[Any, Any]) -> Mapping[str, sympy.Matrix | None]:
    """drift, diffusion, transition (from `s` to `t`), covariance and cholesky; None where it does not close."""
    D = (G * G.T).applyfunc(sympy.simplify)
    W = integral_of(F)
    known: dict[str, sympy.Matrix | None] = {"drift": F, "diffusion": D, "integral": W}
    known |= dict.fromkeys(("transition", "covariance", "cholesky"))
    if W is None:
        return known
    known["transition"] = exponential((W - W.subs(TIME, START)).applyfunc(sympy.factor))
    Q = stationary(F, D)
    if Q is None:
        return known
    psi = known["transition"].subs(START, 0)
    sigma = (Q + psi * (sympy.diag(*initial) - Q) * psi.T).applyfunc(sympy.simplify)
    known["covariance"] = sigma
    first = sympy.sqrt(sigma[0, 0])
    rest = sympy.sqrt(sympy.simplify(sigma.det() / sigma[0, 0])) if sigma[0, 0] != 0 else sympy.sqrt(sigma[1, 1])
    below = sigma[1, 0] / first if sigma[0, 0] != 0 else sympy.S.Zero
    known["cholesky"] = sympy.Matrix([[first, 0], [below, rest]])
    return known


def latex(known: Mapping[str, sympy.Matrix | None]) -> str:
    """F, G G^T, Psi(t, s) and Sigma_t as a paper would print them (`align`); what does not close is left out."""
    names = {"drift": "F_t", "diffusion": "G_t G_t^T", "transition": r"\Psi(t, s)", "covariance": r"\Sigma_t"}
    lines = [f"{sign} &= {sympy.latex(known[name])}" for name, sign in names.items() if known[name] is not None]
    return "\\begin{align}\n" + " \\\\\n".join(lines) + "\n\\end{align}"
