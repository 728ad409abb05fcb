"""Preconditioned scores: what a Gaussian of the data's variance explains is taken out, the rest has unit variance.

With a = Psi(t, 0) e_x, how the data enter the mean, Sigma_t the covariance given the data and v the data's variance,
S_t = Sigma_t + v a a^T is the covariance of u_t, and

    score = C_skip u + C_out N,    C_skip = -S^-1,    Cov(C_out N) = Sigma^-1 - S^-1 = Sigma^-1 (v a a^T) S^-1

for Gaussian data. The difference has rank one, whatever the number of channels: data have a variance, the auxiliary
variable's is in Sigma already. With Sigma = L L^T, w = L^-1 a and q = w^T w it is c c^T,

    c = sqrt(v / (1 + v q)) L^-T w,

without a difference. It weighs the first channel of N, and E[x_0 | u] = v a^T S^-1 u + sqrt(v / (1 + v q)) N_x, which
is EDM's preconditioning: on isotropic processes N_x is EDM's network. Every other channel has a column L^-T w', the w'
orthonormal and across w; of two channels it is (a')^T (u + Sigma score) / sqrt((a')^T Sigma a'), a' across a: zero for
every exact score, whose denoised momentum is zero. So a network needs the data's channels alone, C_out has an inverse
at all times, and nothing is lost of scores that are not exact.

A = F - G G^T C_skip / 2 = F + G G^T S^-1 / 2 has the flow Psi_A(s, t) = R_s R_t^-1, R the factor of S that follows it.
Source: Karras et al. 2022 (arXiv 2206.00364), appendix B.6, for numbers; for matrices derived here.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from odekit.exceptions import OdekitError, PredictionError
from odekit.expressions import exact_value, field_of
from odekit.operators import Block, Diagonal, Operator
from odekit.processes.entries import gathered
from odekit.processes.propagate import propagated


@dataclass(frozen=True)
class Preconditioned:
    """The prediction with C_skip for data of this variance, on every process: EDM's, and its form for matrices.

    ``data_variance``: of a coordinate of the data (EDM's sigma_data squared); under blurring also one number for each
    component of a state, in the cosine basis. The name "edm" is the one of variance 1/4. On states of
    several channels the model returns (N, 0, ...): the data's, and zeros. Raises PredictionError for variances that are
    not positive.

    >>> import odekit as ok
    >>> flow = ok.ProbabilityFlow(ok.PSLD(), ok.Gaussian([0.0], [[0.25]]), prediction=Preconditioned(0.25))
    >>> flow.model(torch.ones(1, 2, 1), 0.5).abs().max().item() < 1e-5  # of a Gaussian nothing is left
    True
    """

    data_variance: Any = Fraction(1, 4)

    def __post_init__(self) -> None:
        given = self.data_variance
        if isinstance(given, torch.Tensor | np.ndarray):
            given = given.flatten().tolist()
        several = isinstance(given, list | tuple)
        try:
            exact = tuple(map(exact_value, given if several else [given]))
            fine = bool(exact) and all(isinstance(v, Fraction) and v > 0 for v in exact)
        except (OdekitError, TypeError, ValueError):
            fine = False
        if not fine:
            raise PredictionError(
                f"data_variance = {self.data_variance!r:.60}: expected a positive number, or one for each component"
            )
        object.__setattr__(self, "data_variance", exact if several else exact[0])

    name = "edm"

    @property
    def deviation(self) -> str:
        """sigma_data as exact text, for processes whose coefficients are numbers."""
        import sympy

        if isinstance(self.data_variance, tuple):
            raise PredictionError("data_variance has an entry for each component: only blurring takes several")
        return str(sympy.sqrt(sympy.Rational(self.data_variance.numerator, self.data_variance.denominator)))

    def __str__(self) -> str:
        shown = self.data_variance
        return f"edm({', '.join(map(str, shown)) if isinstance(shown, tuple) else shown})"


@dataclass(frozen=True)
class Coefficients:
    """C_out, its inverse, C_skip and Psi_A of a preconditioned score, functions (process, t) -> `Operator`."""

    data_variance: Any

    def out(self, process: Any, t: Any) -> Operator:
        """C_out."""
        K, turn, _ = self._frame(process, t)
        return K.inverse().transpose() @ turn

    def into(self, process: Any, t: Any) -> Operator:
        """C_out^-1."""
        K, _, back = self._frame(process, t)
        return back @ K.transpose()

    def skip(self, process: Any, t: Any) -> Operator:
        """C_skip = -S^-1."""
        return -self.covariance(process, t).inverse()

    def covariance(self, process: Any, t: Any) -> Operator:
        """S_t."""
        self.check(process)
        mean = process.mean(t)
        v = self._variance(mean)
        if mean.own_axes == 1:
            return process.covariance(t) + Diagonal(v * mean.value**2)
        a = mean.value[..., :, 0]
        return process.covariance(t) + Block(v * a[..., :, None] * a[..., None, :])

    def propagator(self, process: Any, to: Any, at: Any) -> Operator:
        """Psi_A(to, at): R_s R_t^-1 of the process whose data have this variance, where there is such a process."""
        self.check(process)
        if process.carrier == "diagonal":
            one, other = (self.covariance(process, t).factor() for t in (to, at))
            return one @ other.inverse()
        wide = _widened(process, self.data_variance)
        if wide is not None:
            return wide.factor(to) @ wide.factor(at).inverse()
        return propagated(lambda r: process.drift(r) - 0.5 * process.diffusion(r) @ self.skip(process, r), to, at)

    def primitive(self, process: Any, t: Any) -> Diagonal:
        """M_t with int Psi_A(s, r) B_r dr = M_s - Psi_A(s, t) M_t, of components that move alone.

        As S^(-1/2) u turns by the angle atan(sigma/(m sqrt v)), m the mean and sigma the deviation given the data, M is
        -S^(1/2) times that angle.
        """
        mean = process.mean(t).value
        tangent = process.covariance(t).factor().value / (self._variance(process.mean(t)) ** 0.5 * mean)
        angle = gathered(lambda words, x: (words.atan(x),), tangent, form=())
        return Diagonal(-self.covariance(process, t).factor().value * angle)

    def _frame(self, process: Any, t: Any) -> tuple[Operator, Operator, Operator]:
        """L, and what its frame is turned and stretched by, with the inverse: C_out = L^-T turn."""
        self.check(process)
        K = process.factor(t, "L")
        whitened = (K.inverse() @ process.mean(t)).value
        v = self._variance(K)
        if K.own_axes == 1:
            stretch = (v / (1 + v * whitened**2)) ** 0.5 * whitened
            return K, Diagonal(stretch), Diagonal(1 / stretch)
        w = whitened[..., :, 0]
        q, first = (w * w).sum(-1, keepdims=True), _identity(w)[0]
        turn, stretch = _turn(w / q**0.5), (v * q / (1 + v * q)) ** 0.5 * first + (1 - first)
        return K, Block(turn * stretch[..., None, :]), Block(turn.swapaxes(-1, -2) / stretch[..., :, None])

    def check(self, process: Any) -> None:
        """Raises PredictionError where the form of the variances is not the process's."""
        several = isinstance(self.data_variance, tuple)
        if process.carrier == "block":
            if several:
                raise PredictionError(
                    f"a preconditioned score on {process!r:.60} takes one variance, got {len(self.data_variance)}"
                )
        elif several and len(self.data_variance) != len(process.mean(process.t_min).value):
            raise PredictionError(
                f"data_variance has {len(self.data_variance)} entries, states of {process!r:.60}"
                f" {len(process.mean(process.t_min).value)} components"
            )

    def _variance(self, like: Operator) -> Any:
        """The variance in the numbers of an operator."""
        numbers = field_of(like.value)
        if isinstance(self.data_variance, tuple):
            return numbers.stack([numbers.number(v) for v in self.data_variance])
        return numbers.number(self.data_variance)


@functools.lru_cache(maxsize=64)
def _widened(process: Any, variance: Fraction) -> Any:
    """The process whose start has the data's variance as well, so that its Sigma_t is S_t; None where none is known."""
    parameters = dict(process.parameters)
    if "position_variance" in parameters:
        parameters["position_variance"] = exact_value(parameters["position_variance"]) + variance
    elif "initial" in parameters:
        first, *others = process.initial_variances
        parameters["initial"] = (first + variance, *others)
    else:
        return None
    return type(process)(**parameters)


def _turn(w: Any) -> Any:
    """Orthogonal matrices (..., n, n) whose first column is the unit vector w (..., n), smooth in w.

    Of two channels a rotation; of others the reflection that takes -e_1 to w, its first column turned round. That fails
    at w = -e_1 alone, far from where data are while they enter their own mean with the sign that they start with.
    """
    one = _identity(w)
    if len(one) == 2:
        return (torch if torch.is_tensor(w) else np).stack([w, w[..., [1, 0]] * (one[1] - one[0])], -1)
    head = w + one[0]
    return (one - head[..., :, None] * head[..., None, :] / head[..., :1, None]) * (1 - 2 * one[0])


def _identity(w: Any) -> Any:
    """The unit matrix (n, n) in the numbers of vectors (..., n)."""
    n = w.shape[-1]
    return torch.eye(n, dtype=w.dtype) if torch.is_tensor(w) else np.eye(n).astype(w.dtype)
