"""Any linear SDE on n channels, given as SymPy matrices."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

from ..exceptions import ExpressionError, OdekitError
from ..expressions import FLOAT64, FUNCTIONS, exact_value, parse
from .chebyshev import Interpolant, together
from .entries import Entries, Words, as_matrix, as_rows
from .exponential import exponential
from .matrix import EARLIEST, MatrixProcess
from .propagate import halved, propagate
from .triangular import product

if TYPE_CHECKING:
    import sympy

NEAR = 0.5  # |r^2| below: Taylor series of cosh(r) and sinh(r)/r
POINTS = 16


class LinearSDE(MatrixProcess):
    """du = F_t u dt + G_t dw on states (B, n, *shape), F (n, n) and G (n, k) SymPy matrices in one symbol, the time.

    Rows of texts in t do as well: numbers, + - * / **, sqrt and the `odekit.expressions.FUNCTIONS`.

    Channel 0 is the data; n = 1 has no other: its states are (B, 1, *shape), where an `IsotropicProcess` takes
    (B, *shape). `initial` are the n variances at t = 0 given the clean data, zero by default. The transition is closed
    where F(t) and F(s) commute and F has an antiderivative, an exponential of a matrix (multiple eigenvalues are no
    obstacle), else collocation of order 20 to rounding; covariances are int Psi G G^T Psi^T, by Gauss-Legendre with
    panels doubled until they agree, which keeps its digits near t = 0. `expressions` has what closes in symbols.

    Raises `OdekitError` for matrices that do not fit or in several symbols, and for negative variances; mpmath times
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
    defaults = MappingProxyType({"F": inspect.Parameter.empty, "G": inspect.Parameter.empty, "initial": None})

    def __init__(self, F: Any = inspect.Parameter.empty, G: Any = inspect.Parameter.empty, **parameters: Any) -> None:
        given = {name: value for name, value in (("F", F), ("G", G)) if value is not inspect.Parameter.empty}
        super().__init__(**given, **parameters)

    def _parameter(self, name: str, value: Any) -> Any:
        if name in ("F", "G"):
            return _matrix(name, value)
        if name != "initial" or value is None:
            return value if name == "initial" else super()._parameter(name, value)
        if not isinstance(value, (tuple, list)):
            raise OdekitError(f"LinearSDE: initial = {value!r} must be the variances of the channels at t = 0, a tuple")
        return tuple(super(LinearSDE, self)._parameter(name, entry) for entry in value)

    def _fix(self, options: dict[str, Any]) -> None:
        if options["initial"] is None:
            options["initial"] = (0,) * options["F"].rows
        super()._fix(options)

    def check(self) -> None:
        n = self.F.rows
        if self.F.cols != n:
            raise OdekitError(f"LinearSDE: F must be square, a row and a column for each channel; got {self.F.shape}")
        if self.G.rows != n:
            raise OdekitError(f"LinearSDE: G has {self.G.rows} rows, F {n} channels; expected G of shape ({n}, k)")
        if len(self.initial) != n:
            raise OdekitError(
                f"LinearSDE: initial = {self.initial} must be {n} variances, of each channel at t = 0 given the data"
            )
        if min(self.initial) < 0:
            raise OdekitError(f"LinearSDE: initial variances {self.initial} must not be negative")
        symbols = sorted(self.F.free_symbols | self.G.free_symbols, key=str)
        if len(symbols) > 1:
            listed = ", ".join(map(str, symbols))
            raise OdekitError(f"LinearSDE: F and G contain {listed}; expected numbers and one symbol, the time")

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value}" for name, value in self.parameters.items())  # a SymPy repr takes lines
        return f"{type(self).__name__}({shown})"

    @functools.cached_property
    def initial_variances(self) -> tuple[Any, ...]:
        """Variances of the channels at t = 0 given the clean data, exact."""
        return tuple(map(exact_value, self.initial))

    @functools.cached_property
    def expressions(self) -> Mapping[str, sympy.Matrix | None]:
        """drift, diffusion, transition (from `s` to `t`), covariance, cholesky: derived when asked for, or None."""
        from .derivation import TIME
        from .linear_derivation import LinearDerivation

        exact = {symbol: TIME for symbol in self.F.free_symbols | self.G.free_symbols}
        return LinearDerivation(self.F.xreplace(exact), self.G.xreplace(exact), self.initial_variances)

    def texts(self) -> dict[str, list[list[str]]]:
        """F and G as rows of texts in t, from which the process can be made again.

        Raises `ExpressionError` where an entry has no text that is read back as it is.
        """
        from sympy import Symbol

        def text(entry: Any) -> str:
            plain = entry.xreplace({symbol: Symbol("t") for symbol in entry.free_symbols})
            if parse(str(plain), ("t",), functions=FUNCTIONS) != plain:
                raise ExpressionError(f"{plain} is not read back as it is written")
            return str(plain)

        return {name: [[*map(text, row)] for row in self.parameters[name].tolist()] for name in ("F", "G")}

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
        n, entries = self.channels, [c.on_mpmath(t) if words.exact else c.on_torch(t) for c in self._codes[name]]
        return tuple(tuple(entries[n * i : n * i + n]) for i in range(n))

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
            return as_rows(propagate(self._drifts, *torch.broadcast_tensors(to, at)))
        begun, ended = (self._run("integral", words, t) for t in (at, to))
        B = [[b - a for a, b in zip(*rows, strict=True)] for rows in zip(begun, ended, strict=True)]
        if self.channels != 2:
            return as_rows(exponential(as_matrix(B)))
        (a, b), (c, d) = B
        half = (a - d) / 2
        even, odd = exponentials(words, (a + d) / 2, half * half + b * c)
        return (even + odd * half, odd * b), (odd * c, even - odd * half)

    def _noise(self, words: Any, t: Any) -> Sequence[Any]:
        if words.exact:
            from mpmath import mp

            density = functools.cache(lambda r: self._density(words, t, r))
            entries = range(self.channels * (self.channels + 1) // 2)
            return [mp.quad(lambda r, k=k: density(r)[k], [0, t / 2, t]) for k in entries]
        nodes, weights = (torch.tensor(row, dtype=torch.float64) for row in FLOAT64.gauss_legendre(POINTS))

        def integral(panels: int) -> list:
            share = ((torch.arange(panels, dtype=torch.float64).unsqueeze(1) + nodes) / panels).flatten()
            values = self._density(words, t.unsqueeze(-1), t.unsqueeze(-1) * share)
            return [(value * weights.repeat(panels)).sum(-1) * (t / panels) for value in values]

        return halved(integral, self._gap, f"LinearSDE: the covariance at t = {t.max().item():g}")

    def _density(self, words: Any, t: Any, r: Any) -> Sequence[Any]:
        """The lower triangle of Psi(t, r) G G^T Psi(t, r)^T at time r."""
        psi = self._transition(words, t, r)
        pushed = product(psi, self._diffusion(words, r))
        return [sum(a * b for a, b in zip(pushed[i], psi[j], strict=True)) for i, j in _triangle(self.channels)]

    def _gap(self, now: Sequence[Any], before: Sequence[Any]) -> float:
        """The largest difference of two covariances, each entry in units of its own standard deviations."""
        places = _triangle(self.channels)
        variances = {i: now[k].detach() for k, (i, j) in enumerate(places) if i == j}
        gaps = []
        for (i, j), a, b in zip(places, now, before, strict=True):
            unit = variances[i] if i == j else (variances[i] * variances[j]).sqrt()
            gaps.append(torch.where(unit > 0, (a - b).detach().abs() / unit.clamp(min=1e-300), 0.0))
        return max(gap.max().item() for gap in gaps)

    def from_start(self, words: Any, t: Any) -> tuple[Entries, Sequence[Any]]:
        low, high = EARLIEST * self.t_max, self.t_max
        if words.exact or "integral" in self._codes or not bool(((t >= low) & (t <= high)).all()):
            return super().from_start(words, t)
        known, n = self._history(torch.log(t)), self.channels
        return as_rows(known[..., : n * n].unflatten(-1, (n, n))), known[..., n * n :].unbind(-1)

    @functools.cached_property
    def _history(self) -> Interpolant:
        """Psi(t, 0) and the noise since t = 0 as functions of log t, for processes without a closed transition."""

        def march(log_t: torch.Tensor) -> torch.Tensor:
            t = torch.exp(log_t)
            psi, noise = super(LinearSDE, self).from_start(Words, t[:1])
            found = [[as_matrix(psi)], [torch.stack([*noise, torch.ones_like(t[:1])], -1).unsqueeze(-1)]]
            for states, rate in zip(found, (self._drifts, self._lyapunov), strict=True):
                for step in propagate(rate, t[1:], t[:-1]):
                    states.append(step @ states[-1])
            psi, noise = (torch.cat(states).flatten(1) for states in found)
            return torch.cat([psi, noise[:, :-1]], 1)

        def units(sizes: torch.Tensor) -> torch.Tensor:
            """Of Psi its largest entry, of the noise products of standard deviations."""
            psi, noise = sizes[:, : self.channels**2], sizes[:, self.channels**2 :]
            variances = [noise[:, k] for k, (i, j) in enumerate(_triangle(self.channels)) if i == j]
            products = [(variances[i] * variances[j]).sqrt() for i, j in _triangle(self.channels)]
            return torch.cat([together(psi), torch.stack(products, 1)], 1)

        with torch.no_grad():
            return Interpolant(march, math.log(EARLIEST * self.t_max), math.log(self.t_max), units)

    def _drifts(self, t: torch.Tensor) -> torch.Tensor:
        """F at times (...), (..., n, n)."""
        return as_matrix(self._drift(Words, t))

    def _lyapunov(self, t: torch.Tensor) -> torch.Tensor:
        """The matrix of W' = F W + W F^T + G G^T on (lower triangle of W, 1)."""
        F, D = self._drift(Words, t), self._diffusion(Words, t)
        places = _triangle(self.channels)
        at = {pair: k for k, (i, j) in enumerate(places) for pair in ((i, j), (j, i))}
        matrix = t.new_zeros(*t.shape, len(places) + 1, len(places) + 1)
        for k, (i, j) in enumerate(places):
            matrix[..., k, -1] = D[i][j]
            for other in range(self.channels):
                matrix[..., k, at[other, j]] += F[i][other]
                matrix[..., k, at[i, other]] += F[j][other]
        return matrix


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


def _triangle(n: int) -> list[tuple[int, int]]:
    """The places of a lower triangle, row by row."""
    return [(i, j) for i in range(n) for j in range(i + 1)]


def _is_text(rows: Sequence) -> bool:
    """Whether these are rows of texts, all of one length."""
    lists = all(isinstance(row, list | tuple) for row in rows)
    return lists and len({len(row) for row in rows}) == 1 and all(isinstance(text, str) for row in rows for text in row)


def _matrix(name: str, value: Any) -> sympy.Matrix:
    import sympy

    if isinstance(value, list | tuple) and _is_text(value):
        value = sympy.Matrix([[parse(text, ("t",), functions=FUNCTIONS) for text in row] for row in value])
    if not isinstance(value, sympy.MatrixBase):
        raise OdekitError(
            f"LinearSDE: {name} must be a SymPy matrix, not {type(value).__name__}; or equally long rows of texts in t"
        )
    matrix = sympy.ImmutableMatrix(value)
    if 0 in matrix.shape:
        raise OdekitError(f"LinearSDE: {name} is empty, got shape {matrix.shape}")
    for entry in matrix:
        if entry.has(sympy.nan, sympy.oo, -sympy.oo, sympy.zoo, sympy.I):
            raise OdekitError(f"LinearSDE: {name} has the entry {entry}; expected real expressions in the time")
    # 0.1 in a matrix means 1/10, as everywhere
    return matrix.applyfunc(lambda entry: sympy.nsimplify(entry, rational=True) if entry.has(sympy.Float) else entry)
