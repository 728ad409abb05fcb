"""Processes on states (B, 2, *shape), data beside an auxiliary variable: what all of them derive from four formulas."""

from __future__ import annotations

import functools
from typing import Any

import torch

from ..exceptions import OperatorError, TimeRangeError, unknown
from ..operators import Block
from .chebyshev import Antiderivative
from .entries import Entries, Words, block
from .kinds import Mpmath, elementwise, number
from .process import Process

Number = float | torch.Tensor | Any  # python float, float64 tensor (0-d, or a vector over steps), mpmath number
EARLIEST = 1e-12  # of t_max: where the table of R_t begins
ROUNDING = 1e-12  # by which a grid's end may miss t_max


class MatrixProcess(Process):
    """A forward process du = F_t u dt + G_t dw with 2x2 coefficients on the channel axis of u (B, 2, *shape).

    Channel 0 is the data x, channel 1 the auxiliary variable m. Given clean data, u_0 = (x_0, m_0) has the covariance
    Sigma_0 = diag(`initial_variances`), independent of x_0 and zero in the mean of m. A subclass gives four formulas in
    `words` (exp, sqrt, ... of a number kind): `_drift`, `_diffusion` (G G^T), `_transition` (Psi) and `_noise`
    (the symmetric int_0^t Psi(t, r) G G^T Psi(t, r)^T dr as (xx, xm, mm), accurate near t = 0).

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

    def _noise(self, words: Any, t: Any) -> tuple[Any, Any, Any]:
        raise NotImplementedError

    @property
    def initial_variances(self) -> tuple[Any, Any]:
        """Variances of (x, m) at t = 0 given the clean data, exact numbers."""
        raise NotImplementedError

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
            xx, xm, mm, _ = self.spread(words, s, *self._initial(words, initial))
            return (xx, xm), (xm, mm)

        return block(formula, t)

    def from_start(self, words: Any, t: Any) -> tuple[Entries, tuple[Any, Any, Any]]:
        """Psi(t, 0) and the noise since t = 0."""
        return self._transition(words, t, 0 * t), self._noise(words, t)

    def spread(self, words: Any, t: Any, position: Any, momentum: Any) -> tuple[Any, Any, Any, Any]:
        """(xx, xm, mm, determinant) of Psi diag(position, momentum) Psi^T + noise at t; variances of any shape.

        The determinant is a sum of terms that do not cancel: det(P + W) = det P + tr(adj(P) W) + det W.
        """
        ((a, b), (c, d)), (xx, xm, mm) = self.from_start(words, t)
        first, mixed, second = (
            a * a * position + b * b * momentum,
            a * c * position + b * d * momentum,
            c * c * position + d * d * momentum,
        )
        own = (a * d - b * c) ** 2 * position * momentum
        both = xx * second + mm * first - 2 * xm * mixed
        return xx + first, xm + mixed, mm + second, (xx * mm - xm * xm) + both + own

    def factor(self, t: Number, kind: str = "R") -> Block:
        """K_t with K K^T = Sigma_t: ``"L"`` the lower Cholesky factor, ``"R"`` the one that follows the flow.

        R_t solves dR/dt = (F + 1/2 G G^T Sigma^-1) R (Zhang, Tao and Chen 2023, arXiv 2206.05564, equation 17), which
        leaves R_t U free for one orthogonal U: here R = L at t = t_max. R_t = L_t Q(theta_t) with Q a rotation by the
        angle `rotation(t)`. Raises `TimeRangeError` where R is not known: beyond t_max, and towards t = 0 where
        Sigma_0 is singular.
        """
        if kind not in ("R", "L"):
            raise unknown("factor", kind, ("R", "L"))
        self.check_times(t)
        if kind == "L":
            return block(self._cholesky, t)
        angle = self.rotation(t)
        turn = block(lambda words, a: ((words.cos(a), -words.sin(a)), (words.sin(a), words.cos(a))), angle)
        return block(self._cholesky, t) @ turn

    def _initial(self, words: Any, given: bool = True) -> tuple[Any, Any]:
        return tuple(words.constant(v if given else 0) for v in self.initial_variances)

    def _cholesky(self, words: Any, t: Any) -> Entries:
        xx, xm, mm, determinant = self.spread(words, t, *self._initial(words))
        none = xx == 0  # a variance of zero: its covariance is zero as well
        safe = words.where(none, xx + 1, xx)
        second = words.sqrt(words.where(none, mm, determinant / safe))
        return (words.sqrt(xx), 0 * xx), (xm / words.sqrt(safe), second)

    # ------------------------------------------------------------ the angle of R_t

    def rotation(self, t: Number) -> Number:
        """theta_t of R_t = L_t Q(theta_t), zero at t_max; tabulated on first use, by quadrature for mpmath numbers.

        theta' = -F_xm sqrt(det)/xx + (GG_xx xm/xx - GG_xm)/(2 sqrt(det)), xx, xm and det those of Sigma_t: the entry
        above the diagonal of L^-1 L' + theta' J = L^-1 F L + 1/2 L^-1 G G^T L^-T, where L^-1 L' has none.
        """
        return elementwise(self._rotation, t)

    def _rotation(self, t: Number) -> Number:
        kind, value = number(t)
        low, singular = EARLIEST * self.t_max, not all(v > 0 for v in self.initial_variances)
        times = torch.as_tensor(float(value) if kind is Mpmath else value, dtype=torch.float64)
        if bool((times > self.t_max * (1 + ROUNDING)).any()):
            raise TimeRangeError(
                f"{type(self).__name__}: R_t is known up to t_max = {self.t_max:g}, got t = {times.max():g}; make the"
                " process with a larger t_max, or take factor(t, 'L')"
            )
        if singular and bool((times < low * (1 - ROUNDING)).any()):
            shown = ", ".join(f"{float(v):g}" for v in self.initial_variances)
            raise TimeRangeError(
                f"{type(self).__name__}: R_t is not known at t = {times.min():g}, where Sigma_0 = diag({shown}) is"
                f" singular; take t >= {low:g} or positive initial variances"
            )
        if kind is Mpmath:
            return self._quadrature(value)
        angle = self._angles(torch.log(times.clamp(min=low)))
        return angle if isinstance(t, torch.Tensor) else angle.item()

    def angle_rate(self, words: Any, t: Any) -> Any:
        """theta' at t, in `words` of a number kind."""
        xx, xm, _, determinant = self.spread(words, t, *self._initial(words))
        (_, shear), _ = self._drift(words, t)
        (gxx, gxm), _ = self._diffusion(words, t)
        root = words.sqrt(determinant)
        return -shear * root / xx + (gxx * xm / xx - gxm) / (2 * root)

    @functools.cached_property
    def _angles(self) -> Antiderivative:
        """theta as a function of log t, in which it is smooth: t^(1/2), or log t, at the end t = 0."""
        ends = torch.log(torch.tensor([EARLIEST, 1.0], dtype=torch.float64) * self.t_max).tolist()

        def velocity(log_t: torch.Tensor) -> torch.Tensor:
            t = torch.exp(log_t)
            value = t * self.angle_rate(Words, t)
            if not bool(torch.isfinite(value).all()):
                raise OperatorError(
                    f"{type(self).__name__}: the noise leaves a direction out (Sigma_t is singular for t > 0), so there"
                    " is no R_t; noise must reach both channels through the drift"
                )
            return value

        with torch.no_grad():
            return Antiderivative(velocity, *ends)

    def _quadrature(self, t: Any) -> Any:
        from mpmath import mp

        from .entries import MpmathWords

        with mp.workprec(mp.prec + 30):
            ends = mp.log(mp.mpf(self.t_max)), mp.log(mp.mpf(t))
            steps = [ends[0] + (ends[1] - ends[0]) * k / 8 for k in range(9)]
            value = mp.quad(lambda u: mp.exp(u) * self.angle_rate(MpmathWords, mp.exp(u)), steps)
        return +value

    # ------------------------------------------------------------ states

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Clean data x (B, *shape) as a state (B, 2, *shape), the auxiliary variable at its mean, zero."""
        return torch.stack([x, torch.zeros_like(x)], 1)

    def project(self, u: torch.Tensor) -> torch.Tensor:
        """The data x (B, *shape) of a state u (B, 2, *shape)."""
        self.check_states(u)
        return u[:, 0]

    def check_states(self, u: torch.Tensor) -> None:
        """Raises `OperatorError` unless u is a state (B, 2, *shape)."""
        if u.ndim < 2 or u.shape[1] != 2:
            raise OperatorError(
                f"states of {type(self).__name__} are (batch, 2, ...), data and auxiliary variable on axis 1; got shape"
                f" {tuple(u.shape)} (embed(x) makes a state of data)"
            )
