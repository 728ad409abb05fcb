"""Any linear SDE on (x, m), given as SymPy matrices."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

from ..exceptions import OdekitError
from ..expressions import FLOAT64, exact_value
from .chebyshev import Interpolant
from .entries import Entries, Words
from .matrix import EARLIEST, MatrixProcess
from .propagate import halved, propagate

if TYPE_CHECKING:
    import sympy

NEAR = 0.5  # |r^2| below: Taylor series of cosh(r) and sinh(r)/r
POINTS = 16


class LinearSDE(MatrixProcess):
    """du = F_t u dt + G_t dw on states (B, 2, *shape), F (2, 2) and G (2, k) SymPy matrices in one symbol, the time.

    `initial` are the variances of (x, m) at t = 0 given the clean data. The transition is closed where F(t) and F(s)
    commute and F has an antiderivative (a double eigenvalue gives polynomials times an exponential), else collocation
    of order 20 to rounding; covariances are int Psi G G^T Psi^T, by Gauss-Legendre with panels doubled until they
    agree, which keeps its digits near t = 0. `expressions` has what closes in symbols.

    Raises `OdekitError` for matrices of other shapes or in several symbols, and for negative variances; mpmath times
    need a closed transition.

    >>> import sympy
    >>> t = sympy.Symbol("t")
    >>> process = LinearSDE(sympy.Matrix([[0, 1], [-1, -2]]), sympy.Matrix([0, 2]), initial=(0, 1))
    >>> process.expressions["transition"][0, 1]
    (-s + t)*exp(s - t)
    >>> process.transition(1.0, 0.0).value[0, 1].item() - math.exp(-1)
    0.0
    """

    name = "linear-sde"
    defaults = MappingProxyType({"F": inspect.Parameter.empty, "G": inspect.Parameter.empty, "initial": (0, 0)})

    def __init__(self, F: Any = inspect.Parameter.empty, G: Any = inspect.Parameter.empty, **parameters: Any) -> None:
        given = {name: value for name, value in (("F", F), ("G", G)) if value is not inspect.Parameter.empty}
        super().__init__(**given, **parameters)

    def _parameter(self, name: str, value: Any) -> Any:
        if name in ("F", "G"):
            return _matrix(name, value)
        if name != "initial":
            return super()._parameter(name, value)
        pair = tuple(value) if isinstance(value, (tuple, list)) else ()
        if len(pair) != 2:
            raise OdekitError(f"LinearSDE: initial = {value!r} must be two variances, of x and of m at t = 0")
        return tuple(super(LinearSDE, self)._parameter(name, entry) for entry in pair)

    def check(self) -> None:
        if min(self.initial) < 0:
            raise OdekitError(f"LinearSDE: initial variances {self.initial} must not be negative")
        symbols = sorted(self.F.free_symbols | self.G.free_symbols, key=str)
        if len(symbols) > 1:
            listed = ", ".join(map(str, symbols))
            raise OdekitError(f"LinearSDE: F and G contain {listed}; expected numbers and one symbol, the time")

    @property
    def initial_variances(self) -> tuple[Any, Any]:
        """Variances of (x, m) at t = 0 given the clean data, exact."""
        return tuple(map(exact_value, self.initial))

    @functools.cached_property
    def expressions(self) -> Mapping[str, sympy.Matrix | None]:
        """drift, diffusion, transition (from `s` to `t`), covariance, cholesky: derived when asked for, or None."""
        from .derivation import TIME
        from .linear_derivation import LinearDerivation

        exact = {symbol: TIME for symbol in self.F.free_symbols | self.G.free_symbols}
        return LinearDerivation(self.F.xreplace(exact), self.G.xreplace(exact), self.initial_variances)

    def latex(self) -> str:
        """F, G G^T, and where they close Psi(t, s) and Sigma_t, as a paper would print them."""
        from .linear_derivation import latex

        return latex(self.expressions)

    # ------------------------------------------------------------ the four formulas

    @functools.cached_property
    def _codes(self) -> dict[str, tuple]:
        from .code import compiled
        from .derivation import TIME

        return {
            name: tuple(compiled(entry, (TIME,)) for entry in self.expressions[name])
            for name in ("drift", "diffusion", "integral")
            if self.expressions[name] is not None
        }

    def _run(self, name: str, words: Any, t: Any) -> Entries:
        a, b, c, d = (code.on_mpmath(t) if words.exact else code.on_torch(t) for code in self._codes[name])
        return (a, b), (c, d)

    def _drift(self, words: Any, t: Any) -> Entries:
        return self._run("drift", words, t)

    def _diffusion(self, words: Any, t: Any) -> Entries:
        return self._run("diffusion", words, t)

    def _transition(self, words: Any, to: Any, at: Any) -> Entries:
        if "integral" not in self._codes:
            if words.exact:
                raise OdekitError(
                    "LinearSDE: this transition has no closed form (F(t) and F(s) do not commute), so times are float64"
                )
            psi = propagate(self._stacked("drift"), *torch.broadcast_tensors(to, at))
            return (psi[..., 0, 0], psi[..., 0, 1]), (psi[..., 1, 0], psi[..., 1, 1])
        (a0, b0), (c0, d0) = self._run("integral", words, at)
        (a1, b1), (c1, d1) = self._run("integral", words, to)
        a, b, c, d = a1 - a0, b1 - b0, c1 - c0, d1 - d0
        half = (a - d) / 2
        even, odd = exponentials(words, (a + d) / 2, half * half + b * c)
        return (even + odd * half, odd * b), (odd * c, even - odd * half)

    def _noise(self, words: Any, t: Any) -> tuple[Any, Any, Any]:
        if words.exact:
            from mpmath import mp

            return tuple(mp.quad(lambda r, k=k: self._density(words, t, r)[k], [0, t / 2, t]) for k in range(3))
        nodes, weights = (torch.tensor(row, dtype=torch.float64) for row in FLOAT64.gauss_legendre(POINTS))

        def integral(panels: int) -> tuple:
            share = ((torch.arange(panels, dtype=torch.float64).unsqueeze(1) + nodes) / panels).flatten()
            values = self._density(words, t.unsqueeze(-1), t.unsqueeze(-1) * share)
            return tuple((value * weights.repeat(panels)).sum(-1) * (t / panels) for value in values)

        return halved(integral, _gap, f"LinearSDE: the covariance at t = {t.max().item():g}")

    def from_start(self, words: Any, t: Any) -> tuple[Entries, tuple[Any, Any, Any]]:
        low, high = EARLIEST * self.t_max, self.t_max
        if words.exact or "integral" in self._codes or not bool(((t >= low) & (t <= high)).all()):
            return super().from_start(words, t)
        a, b, c, d, xx, xm, mm = self._history(torch.log(t)).unbind(-1)
        return ((a, b), (c, d)), (xx, xm, mm)

    @functools.cached_property
    def _history(self) -> Interpolant:
        """Psi(t, 0) and the noise since t = 0 as functions of log t, for processes without a closed transition."""

        def coefficients(t: torch.Tensor) -> torch.Tensor:
            """The Lyapunov equation of (xx, xm, mm, 1), beside u' = F u."""
            (a, b), (c, d) = self._drift(Words, t)
            (xx, xm), (_, mm) = self._diffusion(Words, t)
            matrix = t.new_zeros(*t.shape, 6, 6)
            for (i, j), entry in {
                (0, 0): 2 * a, (0, 1): 2 * b, (0, 3): xx, (1, 0): c, (1, 1): a + d, (1, 2): b, (1, 3): xm,
                (2, 1): 2 * c, (2, 2): 2 * d, (2, 3): mm, (4, 4): a, (4, 5): b, (5, 4): c, (5, 5): d,
            }.items():  # fmt: skip
                matrix[..., i, j] = entry
            return matrix

        def march(log_t: torch.Tensor) -> torch.Tensor:
            t = torch.exp(log_t)
            ((a, b), (c, d)), (xx, xm, mm) = super(LinearSDE, self).from_start(Words, t[:1])
            one, none = torch.ones_like(a), torch.zeros_like(a)
            rows = [xx, xm, mm, one, a, c], [none, none, none, none, b, d]
            states = [torch.stack([torch.cat(row) for row in rows], 1)]
            for step in propagate(coefficients, t[1:], t[:-1]):
                states.append(step @ states[-1])
            first, second = torch.stack(states).unbind(-1)
            return torch.stack([first[:, 4], second[:, 4], first[:, 5], second[:, 5], *first[:, :3].T], 1)

        with torch.no_grad():
            return Interpolant(march, math.log(EARLIEST * self.t_max), math.log(self.t_max))

    def _density(self, words: Any, t: Any, r: Any) -> tuple[Any, Any, Any]:
        """Entries xx, xm, mm of Psi(t, r) G G^T Psi(t, r)^T at time r."""
        (a, b), (c, d) = self._transition(words, t, r)
        (xx, xm), (_, mm) = self._diffusion(words, r)
        return (
            a * a * xx + 2 * a * b * xm + b * b * mm,
            a * c * xx + (a * d + b * c) * xm + b * d * mm,
            c * c * xx + 2 * c * d * xm + d * d * mm,
        )

    def _stacked(self, name: str) -> Any:
        def matrices(t: torch.Tensor) -> torch.Tensor:
            return torch.stack([code.on_torch(t) for code in self._codes[name]], -1).reshape(*t.shape, 2, 2)

        return matrices


def exponentials(words: Any, mean: Any, square: Any) -> tuple[Any, Any]:
    """e^mean cosh(r) and e^mean sinh(r)/r with r^2 = `square` of either sign: entire functions, right also at zero."""
    if words.exact:
        r = words.sqrt(abs(square))
        if square > 0:
            return words.exp(mean) * words.cosh(r), words.exp(mean) * words.sinh(r) / r
        return words.exp(mean) * words.cos(r), words.exp(mean) * (words.sin(r) / r if r else 1)
    near = square.clamp(-NEAR, NEAR)
    even, odd = torch.ones_like(near), torch.ones_like(near)
    for n in range(9, 0, -1):  # Horner: sum r^2n/(2n)! and sum r^2n/(2n+1)!
        even, odd = 1 + near / ((2 * n) * (2 * n - 1)) * even, 1 + near / ((2 * n) * (2 * n + 1)) * odd
    grows, turns = square.clamp(min=NEAR).sqrt(), (-square).clamp(min=NEAR).sqrt()
    up, down, size = torch.exp(mean + grows), torch.exp(mean - grows), torch.exp(mean)
    even = torch.where(square > NEAR, (up + down) / 2, size * torch.where(square < -NEAR, torch.cos(turns), even))
    odd_far = torch.where(square < -NEAR, torch.sin(turns) / turns, odd)
    return even, torch.where(square > NEAR, (up - down) / (2 * grows), size * odd_far)


def _gap(now: tuple, before: tuple) -> float:
    """The largest difference of two covariances, each entry in units of its own standard deviations."""
    xx, _, mm = (entry.detach() for entry in now)
    units = (xx, (xx * mm).sqrt(), mm)
    gaps = [
        torch.where(unit > 0, (a - b).detach().abs() / unit.clamp(min=1e-300), 0.0)
        for a, b, unit in zip(now, before, units, strict=True)
    ]
    return max(gap.max().item() for gap in gaps)


def _matrix(name: str, value: Any) -> sympy.Matrix:
    import sympy

    if not isinstance(value, sympy.MatrixBase):
        raise OdekitError(f"LinearSDE: {name} must be a SymPy matrix, not {type(value).__name__}")
    matrix = sympy.ImmutableMatrix(value)
    if matrix.rows == 1 and matrix.cols == 1:
        raise OdekitError(
            f"LinearSDE: {name} is 1x1; a process with scalar coefficients is an IsotropicProcess, defined by alpha and"
            " sigma"
        )
    if matrix.rows != 2 or (name == "F" and matrix.cols != 2):
        expected = "(2, 2)" if name == "F" else "(2, k)"
        raise OdekitError(f"LinearSDE: {name} must be {expected} on (x, m), got {matrix.shape}")
    # 0.1 in a matrix means 1/10, as everywhere
    return matrix.applyfunc(lambda entry: sympy.nsimplify(entry, rational=True) if entry.has(sympy.Float) else entry)
