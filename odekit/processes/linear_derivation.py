"""Transitions, covariances and factors of linear SDEs in symbols, where they close.

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
    if sympy.simplify(F * later - later * F) != sympy.zeros(F.rows):
        return None
    W = F.applyfunc(lambda entry: manualintegrate(entry, TIME))
    at_zero = W.subs(TIME, 0)
    if W.has(sympy.Integral) or at_zero.has(sympy.oo, sympy.zoo, sympy.nan):
        return None
    return (W - at_zero).applyfunc(sympy.simplify)


def exponential(B: sympy.Matrix) -> sympy.Matrix | None:
    """exp(B); multiple eigenvalues give polynomials times exponentials. None where it does not close.

    2x2: e^m (cosh(r) I + sinh(r)/r (B - m I)) with m = tr B/2 and r^2 = m^2 - det B. Larger ones close where B is a
    number times a constant matrix with eigenvalues of rational and square roots, see `of_direction`.

    >>> b = sympy.Symbol("b")
    >>> exponential(sympy.Matrix([[0, b], [0, 0]]))
    Matrix([
    [1, b],
    [0, 1]])
    """
    if B.rows == 1:
        return B.applyfunc(sympy.exp)
    if B.rows > 2:
        size = next((entry for entry in B if entry != 0), sympy.S.One)
        direction = (B / size).applyfunc(sympy.simplify)
        return None if direction.free_symbols else of_direction(direction, size)
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


def of_direction(A: sympy.Matrix, at: sympy.Expr) -> sympy.Matrix | None:
    """exp(z A) at z = `at` for a constant matrix; None where an eigenvalue takes more than square roots.

    An eigenvalue a + i b of multiplicity m has the functions z^k e^(a z) cos(b z) and z^k e^(a z) sin(b z), k < m. With
    f those of all eigenvalues and M_kj = f_j^(k)(0), exp(z A) = sum_k (f^T M^-1)_k A^k: derivatives at zero agree.

    >>> of_direction(sympy.Matrix([[0, 1, 0], [0, 0, 1], [0, 0, 0]]), sympy.Symbol("b"))
    Matrix([
    [1, b, b**2/2],
    [0, 1,      b],
    [0, 0,      1]])
    """
    n, z = A.rows, sympy.Symbol("z", real=True)
    found = sympy.roots(A.charpoly(), cubics=False, quartics=False)
    if sum(found.values()) != n:
        return None
    functions = []
    for root, multiplicity in found.items():
        a, b = (sympy.simplify(part) for part in root.as_real_imag())
        waves = [sympy.S.One] if b == 0 else [sympy.cos(b * z), sympy.sin(b * z)] if b.is_positive else []
        functions += [z**k * sympy.exp(a * z) * wave for k in range(multiplicity) for wave in waves]
    derivatives = sympy.Matrix(n, n, lambda k, j: sympy.diff(functions[j], z, k).subs(z, 0))
    shares = (sympy.Matrix([functions]) * derivatives.inv()).applyfunc(sympy.simplify)
    powers = [sympy.eye(n)]
    while len(powers) < n:
        powers.append(powers[-1] * A)
    total = sum((share * power for share, power in zip(shares, powers, strict=True)), sympy.zeros(n))
    return total.applyfunc(lambda entry: sympy.simplify(entry).subs(z, at))


def stationary(F: sympy.Matrix, D: sympy.Matrix) -> sympy.Matrix | None:
    """Q with F Q + Q F^T + D = 0 at all times, where F and D keep their proportions; else None.

    Then Sigma_t = Q + Psi (Sigma_0 - Q) Psi^T, Psi = Psi(t, 0).
    """
    n = F.rows
    places = [(i, j) for i in range(n) for j in range(i, n)]
    unknowns = {place: sympy.Dummy() for place in places}
    Q = sympy.Matrix(n, n, lambda i, j: unknowns[min(i, j), max(i, j)])
    balance = (F * Q + Q * F.T + D).applyfunc(sympy.simplify)
    found = sympy.solve([balance[place] for place in places], list(unknowns.values()), dict=True)
    if not found:
        return None
    Q = Q.subs(found[0]).applyfunc(sympy.simplify)
    return None if Q.free_symbols & {TIME, *unknowns.values()} else Q


QUANTITIES = "drift diffusion integral transition covariance cholesky rotation_rate angle_rate".split()


class LinearDerivation(Mapping):
    """Quantity name -> SymPy matrix in `t`, of transitions from `s` to `t`; None where it does not close.

    drift F, diffusion G G^T, integral (of F from 0), transition, covariance (from `initial` on), its lower Cholesky
    factor L, the skew rotation_rate Omega of R = L Q, Q' = Omega Q, and for two channels the rate of the angle theta of
    Q, an expression: R closes where its integral does. Each is derived when first asked for.
    """

    def __init__(self, F: sympy.Matrix, G: sympy.Matrix, initial: tuple[Any, ...]):
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

    def _cholesky(self) -> sympy.Matrix | None:
        sigma = self["covariance"]
        if sigma is None:
            return None
        L = sympy.zeros(sigma.rows)
        for i in range(sigma.rows):
            for j in range(i):
                rest = sigma[i, j] - sum(L[i, k] * L[j, k] for k in range(j))
                L[i, j] = rest / L[j, j] if L[j, j] != 0 else sympy.S.Zero
            L[i, i] = sympy.sqrt(sigma[i, i] - sum(L[i, k] ** 2 for k in range(i)))
        return L

    def _rotation_rate(self) -> sympy.Matrix | None:
        L = self["cholesky"]
        if L is None or any(pivot == 0 for pivot in L.diagonal()):
            return None
        drift = L.lower_triangular_solve(self["drift"] * L)
        X = drift + L.lower_triangular_solve(L.lower_triangular_solve(self["diffusion"]).T) / 2
        above = X.upper_triangular(1)
        return above - above.T

    def _angle_rate(self) -> sympy.Expr | None:
        rate = self["rotation_rate"]
        return None if rate is None or rate.rows != 2 else rate[1, 0]


def latex(known: Mapping[str, sympy.Matrix | None]) -> str:
    """F, G G^T, Psi(t, s) and Sigma_t as a paper would print them (`align`); what does not close is left out."""
    names = {"drift": "F_t", "diffusion": "G_t G_t^T", "transition": r"\Psi(t, s)", "covariance": r"\Sigma_t"}
    lines = [f"{sign} &= {sympy.latex(known[name])}" for name, sign in names.items() if known[name] is not None]
    return "\\begin{align}\n" + " \\\\\n".join(lines) + "\n\\end{align}"
