"""Processes on states (B, n, *shape), data beside auxiliary variables: what all of them derive from four formulas."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch

from ..exceptions import OdekitError, OperatorError, TimeRangeError, unknown
from ..operators import Block, identity
from .chebyshev import Antiderivative
from .entries import Entries, Words, as_matrix, as_rows, block
from .exact_table import ExactAntiderivative
from .kinds import Mpmath, elementwise, number
from .process import Process
from .triangular import Rows, product, solved, transposed, triangular
from .turning import Turning

Number = float | torch.Tensor | Any  # python float, float64 tensor (0-d, or a vector over steps), mpmath number
EARLIEST = 1e-12  # of t_max: where the table of R_t begins
WIDTH = 0.75  # of a panel of an exact table of the angle, in log t
ROUNDING = 1e-12  # by which a grid's end may miss t_max
REACHED = 1e-13  # of a variance: what less of it is noise of its own is rounding
REGULAR = 1e-11  # of a variance: R_t begins where more is noise of its own, so that its rates have digits
LADDER = torch.tensor([float(f"{m}e{k}") for k in range(-12, 0) for m in (1, 2, 5)] + [1.0], dtype=torch.float64)
"""Of t_max: where that is asked."""


class MatrixProcess(Process):
    """A forward process du = F_t u dt + G_t dw with n x n coefficients on the channel axis of u (B, n, *shape).

    Channel 0 is the data x, the others auxiliary variables (n = 2: the momentum m; n = 1: there is none). Given clean
    data, u_0 = (x_0, 0, ...) has the covariance Sigma_0 = diag(`initial_variances`), independent of x_0. A subclass
    gives four formulas in `words` (exp, sqrt, ... of a number kind): `_drift`, `_diffusion` (G G^T) and `_transition`
    (Psi) as rows, and `_noise`, int_0^t Psi(t, r) G G^T Psi(t, r)^T dr as its lower triangle, row by row, every entry
    accurate near t = 0.

    Every method that takes a time takes floats, float64 tensors (a vector gives an operator over steps; with autograd)
    and mpmath numbers, and returns a `Block` of that kind. The flow of the marginals is
    du/dt = F u - 1/2 G G^T score(u, t); with a factor K K^T = Sigma_t, the noise is eps = -K^T score.
    """

    carrier = "block"

    def _drift(self, words: Any, t: Any) -> Entries:
        raise NotImplementedError

    def _diffusion(self, words: Any, t: Any) -> Entries:
        raise NotImplementedError

    def _transition(self, words: Any, to: Any, at: Any) -> Entries:
        raise NotImplementedError

    def _noise(self, words: Any, t: Any) -> Sequence[Any]:
        raise NotImplementedError

    @property
    def initial_variances(self) -> tuple[Any, ...]:
        """Variances of the channels at t = 0 given the clean data, exact numbers."""
        raise NotImplementedError

    @property
    def channels(self) -> int:
        """n, the length of the channel axis."""
        return len(self.initial_variances)

    # ------------------------------------------------------------ coefficients

    def drift(self, t: Number) -> Block:
        """F_t of du = F_t u dt + G_t dw."""
        self.check_times(t)
        return block(self._drift, t)

    def diffusion(self, t: Number) -> Block:
        """G_t G_t^T of du = F_t u dt + G_t dw."""
        self.check_times(t)
        return block(self._diffusion, t)

    def transition(self, to: Number, at: Number) -> Block:
        """Psi(to, at), the flow of u' = F_t u, in either direction of time; vectors of times go step by step."""
        self.check_times(to)
        self.check_times(at)
        return block(self._transition, to, at)

    def mean(self, t: Number) -> Block:
        """Psi(t, 0): takes an embedded clean state to the mean of u_t."""
        return self.transition(t, 0 * t)

    def covariance(self, t: Number, initial: bool = True) -> Block:
        """Sigma_t, the covariance of u_t given x_0; with ``initial=False`` that given all of u_0."""
        self.check_times(t)

        def formula(words: Any, s: Any) -> Entries:
            psi, noise = self.from_start(words, s)
            start, n = self._initial(words, initial), self.channels
            lower = _lower(noise, n)
            for i in range(n):
                for j in range(i + 1):
                    lower[i][j] = lower[i][j] + sum(a * b * v for a, b, v in zip(psi[i], psi[j], start, strict=True))
            return [[lower[max(i, j)][min(i, j)] for j in range(n)] for i in range(n)]

        return block(formula, t)

    def from_start(self, words: Any, t: Any) -> tuple[Entries, Sequence[Any]]:
        """Psi(t, 0), and the noise since t = 0 (its lower triangle, row by row)."""
        return self._transition(words, t, 0 * t), self._noise(words, t)

    def rooted(self, words: Any, t: Any, variances: Sequence[Any], data: Any = None) -> Rows:
        """Rows of the lower triangular L with L L^T = Psi diag(variances) Psi^T + noise at t.

        With ``data``, a variance of x_0 beside the process's own (tensors of any shape), that of all of u_t, and after
        the n rows of L another, Cov(x_0, u_t) L^-T. Small entries keep their digits, see `triangular`.
        """
        psi, noise = self.from_start(words, t)
        n, rounding = self.channels, REACHED
        if words.exact:
            from mpmath import mp

            rounding = mp.eps * 2**20  # within the guard bits
        noise = as_rows(Block(as_matrix(_lower(noise, n))).factor(rounding).value)
        starts = [] if data is None else [(0, data)]
        starts += [(j, v) for j, v in enumerate(variances) if v != 0]
        rows = [
            [psi[i][j] * v**0.5 for j, v in starts] + [noise[i][j] if j <= i else 0 for j in range(n)] for i in range(n)
        ]
        if data is not None:
            rows.append([data**0.5] + [0] * (len(rows[0]) - 1))
        return triangular(words, rows, n)

    def factor(self, t: Number, kind: str = "R") -> Block:
        """K_t with K K^T = Sigma_t: ``"L"`` the lower Cholesky factor, ``"R"`` the one that follows the flow.

        R_t solves dR/dt = (F + 1/2 G G^T Sigma^-1) R (Zhang, Tao and Chen 2023, arXiv 2206.05564, equation 17), which
        leaves R_t U free for one orthogonal U: here R = L at t = t_max. R_t = L_t Q_t, see `turn`. Raises
        `TimeRangeError` where R is not known: beyond t_max, and towards t = 0 where Sigma_0 is singular.
        """
        if kind not in ("R", "L"):
            raise unknown("factor", kind, ("R", "L"))
        self.check_times(t)
        turn = self.turn(t) if kind == "R" else identity
        return block(self._cholesky, t) @ turn

    def _initial(self, words: Any, given: bool = True) -> tuple[Any, ...]:
        return tuple(words.constant(v if given else 0) for v in self.initial_variances)

    def _cholesky(self, words: Any, t: Any) -> Rows:
        rows = self.rooted(words, t, self._initial(words))
        if words.exact:
            return rows
        for i, row in enumerate(rows):
            lost = (row[i] == 0) & (t > 0)
            if bool(lost.any()) and math.isfinite(begun := self._regular[REACHED][i]):
                raise TimeRangeError(
                    f"{type(self).__name__}: the noise of channel {i} that is its own is lost in rounding at"
                    f" t = {t.expand_as(lost)[lost].max():.1e} (Sigma_t is singular to float64); take t >= {begun:.1e},"
                    " mpmath numbers for times, or positive initial variances"
                )
        return rows

    @functools.cached_property
    def _regular(self) -> dict[float, list[float]]:
        """The times from which each channel has this share of its noise for its own, infinite where it never has."""
        t = LADDER * self.t_max
        with torch.no_grad():
            rows, (_, noise) = self.rooted(Words, t, self._initial(Words)), self.from_start(Words, t)
        found: dict[float, list[float]] = {}
        for share in (REACHED, REGULAR):
            own = [row[i] ** 2 > share * noise[i * (i + 3) // 2] for i, row in enumerate(rows)]
            since = [one.expand_as(t).flip(0).cumprod(0).flip(0).bool() for one in own]
            found[share] = [t[one].min().item() if bool(one.any()) else math.inf for one in since]
        return found

    @functools.cached_property
    def _earliest(self) -> float:
        """Where the table of R_t begins: beside t = 0, or where Sigma is regular to rounding."""
        begun = max(self._regular[REGULAR])
        if math.isinf(begun):
            raise OperatorError(
                f"{type(self).__name__}: the noise leaves a direction out, or too little reaches it to be told from"
                " rounding (Sigma_t is singular up to t_max), so there is no R_t; noise must reach every channel"
                " through the drift, or initial variances be positive"
            )
        return max(EARLIEST * self.t_max, begun)

    # ------------------------------------------------------------ the rotation of R_t

    def turn(self, t: Number) -> Block:
        """Q_t of R_t = L_t Q_t in SO(n), I at t_max: Q' = Omega Q with the skew Omega of `rotation_rate`.

        A rotation by the angle `rotation(t)` for two channels; a table of Q itself, in float64, for more.
        """
        if self.channels == 1:
            return block(lambda words, s: ((1 + 0 * s,),), t)
        if self.channels == 2:
            angle = self.rotation(t)
            return block(lambda words, a: ((words.cos(a), -words.sin(a)), (words.sin(a), words.cos(a))), angle)
        return block(self._turned, t)

    def _turned(self, words: Any, t: Any) -> Entries:
        self._check_rotation(t)
        if words.exact:
            raise OdekitError(
                f"{type(self).__name__}: R_t of {self.channels} channels is tabulated in float64; expected floats or"
                " tensors for times, or factor(t, 'L')"
            )
        return as_rows(self._turns(t))

    def rotation(self, t: Number) -> Number:
        """theta_t of R_t = L_t Q(theta_t), zero at t_max; tabulated on first use, at each precision for mpmath.

        For two channels; others have no one angle, and raise `OperatorError`.
        """
        if self.channels != 2:
            raise OperatorError(f"{self.channels} channels turn by no one angle; turn(t) is the orthogonal matrix")
        return elementwise(self._rotation, t)

    def _rotation(self, t: Number) -> Number:
        kind, value = number(t)
        self._check_rotation(value)
        if kind is Mpmath:
            from mpmath import mp

            return self._exact_angles(mp.log(value))
        times = torch.as_tensor(value, dtype=torch.float64)
        angle = self._angles(torch.log(times.clamp(min=self._earliest)))
        return angle if isinstance(t, torch.Tensor) else angle.item()

    def _check_rotation(self, t: Number) -> None:
        """Raises `TimeRangeError` where R is not known."""
        low, singular = self._earliest, not all(v > 0 for v in self.initial_variances)
        times = t.detach() if isinstance(t, torch.Tensor) else torch.tensor(float(t), dtype=torch.float64)
        if bool((times > self.t_max * (1 + ROUNDING)).any()):
            raise TimeRangeError(
                f"{type(self).__name__}: R_t is known up to t_max = {self.t_max:g}, got t = {times.max():g}; make the"
                " process with a larger t_max, or take factor(t, 'L')"
            )
        if (singular or low > EARLIEST * self.t_max) and bool((times < low * (1 - ROUNDING)).any()):
            shown = ", ".join(f"{float(v):g}" for v in self.initial_variances)
            raise TimeRangeError(
                f"{type(self).__name__}: R_t is not known at t = {times.min():g}, where Sigma_0 = diag({shown}) is"
                f" singular, or Sigma_t is to rounding; take t >= {low:g} or positive initial variances"
            )

    def rotation_rate(self, words: Any, t: Any) -> Rows:
        """Rows of the skew Omega of Q' = Omega Q: above its diagonal L^-1 F L + 1/2 L^-1 G G^T L^-T, see `turning`."""
        lower, n = self._cholesky(words, t), self.channels
        drift = solved(words, lower, product(self._drift(words, t), lower))
        noise = solved(words, lower, transposed(solved(words, lower, self._diffusion(words, t))))
        rate = [[0 * drift[i][i]] * n for i in range(n)]
        for i in range(n):
            for j in range(i + 1, n):
                rate[i][j] = drift[i][j] + noise[i][j] / 2
                rate[j][i] = -rate[i][j]
        return rate

    def angle_rate(self, words: Any, t: Any) -> Any:
        """theta' at t for two channels, in `words` of a number kind."""
        return self.rotation_rate(words, t)[1][0]

    def _per_log_time(self, log_t: torch.Tensor) -> torch.Tensor:
        """dQ/dlog t = Omega Q: smooth at the end t = 0 in t^(1/2), or in log t."""
        t = torch.exp(log_t)
        return t[..., None, None] * as_matrix(self.rotation_rate(Words, t))

    @functools.cached_property
    def _angles(self) -> Antiderivative:
        ends = torch.log(torch.tensor([self._earliest, self.t_max], dtype=torch.float64)).tolist()
        with torch.no_grad():
            return Antiderivative(lambda log_t: self._per_log_time(log_t)[..., 1, 0], *ends)

    @functools.cached_property
    def _turns(self) -> Turning:
        return Turning(self._per_log_time, self._earliest, self.t_max)

    @functools.cached_property
    def _exact_angles(self) -> ExactAntiderivative:
        from mpmath import mp

        from .entries import MpmathWords

        def rate(log_t: Any) -> Any:
            t = mp.exp(log_t)
            return t * self.angle_rate(MpmathWords, t)

        return ExactAntiderivative(rate, lambda: mp.log(mp.mpf(self.t_max)), WIDTH)

    # ------------------------------------------------------------ states

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Clean data x (B, *shape) as a state (B, n, *shape), auxiliary variables at their mean, zero."""
        return torch.stack([x, *[torch.zeros_like(x)] * (self.channels - 1)], 1)

    def project(self, u: torch.Tensor) -> torch.Tensor:
        """The data x (B, *shape) of a state u (B, n, *shape)."""
        self.check_states(u)
        return u[:, 0]

    def check_states(self, u: torch.Tensor) -> None:
        """Raises `OperatorError` unless u is a state (B, n, *shape)."""
        if u.ndim < 2 or u.shape[1] != self.channels:
            raise OperatorError(
                f"states of {type(self).__name__} are (batch, {self.channels}, ...), data and auxiliary variables on"
                f" axis 1; got shape {tuple(u.shape)} (embed(x) makes a state of data)"
            )


def _lower(flat: Sequence[Any], n: int) -> Rows:
    """The rows of a lower triangle."""
    entries = iter(flat)
    return [[next(entries) for _ in range(i + 1)] for i in range(n)]
