"""Mixtures in phase space: 2x2 problems, one for each eigendirection of a component, never 2d x 2d."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..exceptions import TargetError
from ..processes.entries import Words
from .mixture import GaussianMixture
from .seen import LOG_TWO_PI, AtTime, SeenThrough


class PhaseSpaceLaw(AtTime):
    """u_t ~ sum_k w_k N(Psi (m_k, 0), Psi diag(S_k, v) Psi^T + noise).

    In the eigenbasis of S_k, x and m alike, the covariance is one 2x2 matrix [[xx, xm], [xm, mm]] an eigenvalue, and
    with `rest` = mm - xm^2/xx the precision is that of x by 1/xx and of m - (xm/xx) x by 1/rest. Posterior means of
    x_0 have tables of their own: S_k times a precision would magnify rounding by the condition of S_k.
    """

    def __init__(self, seen: PhaseSpaceMixture, t: Any):
        super().__init__(seen)
        process, mixture = seen.process, seen.mixture
        process.check_times(t)
        t = torch.as_tensor(t, dtype=torch.float64)
        position, momentum = (float(v) for v in process.initial_variances)
        eigenvalues = mixture.covariances.eigenvalues
        xx, xm, _, determinant = process.spread(Words, t, eigenvalues + position, momentum)
        seen.check_regular(determinant, t)
        self.across, self.rest, self.along = xm / xx, xx / determinant, 1 / xx
        self.bias = mixture.log_weights - (mixture.covariances.multiplicity * torch.log(determinant)).sum(-1) / 2
        self.bias = self.bias - mixture.dimension * LOG_TWO_PI
        ((self.kept, b), (self.pushed, d)), (nxx, nxm, nmm) = process.from_start(Words, t)
        # S (Psi^T Sigma^-1)_x, the adjugate of noise + Psi diag Psi^T taken term by term
        start = (self.kept * d - b * self.pushed) * momentum
        share = eigenvalues / determinant
        self.gains = (
            share * (self.kept * nmm - self.pushed * nxm + start * d),
            share * (self.pushed * nxx - self.kept * nxm - start * b),
        )

    def _differences(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """x and m from the components' means, (B, K, d) each."""
        means = self.seen.mixture.on(u)[0]
        return tuple(u[:, i].unsqueeze(1) - shift.to(u) * means for i, shift in ((0, self.kept), (1, self.pushed)))

    def _solve(self, like: Tensor, x: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        """The precisions times (x, m), (B, K, 2, d), and the quadratic forms, (B, K)."""
        covariances = self.seen.mixture.on(like)[1]
        across, rest, along = (table.to(like) for table in (self.across, self.rest, self.along))
        parts = covariances.split(x)
        left = covariances.split(m - covariances.join(across, parts))
        second = covariances.join(rest, left)
        first = covariances.join(along, parts) - covariances.join(across, covariances.split(second))
        energy = covariances.quadratic(along, parts) + covariances.quadratic(rest, left)
        return torch.stack([first, second], 2), energy

    def components(self, u: Tensor) -> tuple[Tensor, Tensor]:
        solved, energy = self._solve(u, *self._differences(u))
        return self.bias.to(u) - energy / 2, -solved

    def precise(self, v: Tensor) -> Tensor:
        spread = (v[:, i].unsqueeze(1).expand(-1, len(self.seen.mixture.means), -1) for i in (0, 1))
        return self._solve(v, *spread)[0]

    def posterior(self, u: Tensor) -> Tensor:
        """m_k + S_k (Psi^T Sigma_k^-1 (u - mean))_x."""
        means, covariances = self.seen.mixture.on(u)
        pairs = zip(self.gains, self._differences(u), strict=True)
        return means + sum(covariances.join(gain.to(u), covariances.split(y)) for gain, y in pairs)


class PhaseSpaceMixture(SeenThrough):
    """A mixture seen through CLD, PSLD or another process on (x, m): states (B, 2, *shape), (x, m) on axis 1."""

    law = PhaseSpaceLaw

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one state, (2, *shape of the data)."""
        return (2, *self.mixture.shape)

    def flat(self, u: Tensor) -> Tensor:
        return super().flat(u).reshape(len(u), 2, self.mixture.dimension)

    def marginal_x(self, t: float) -> GaussianMixture:
        """The law of the position x_t, a mixture: means Psi_xx m_k, covariances Psi_xx^2 S_k + Sigma_xx."""
        mean, covariance = self.process.mean(t).value, self.process.covariance(t).value
        return self.mixture.marginal(mean[0, 0].item(), covariance[0, 0].sqrt().item())

    def check_regular(self, determinant: Tensor, t: Tensor) -> None:
        """Raises `TargetError` where u_t has no density: at t = 0 for point masses or a momentum without variance."""
        if not bool((determinant > 0).all()):
            raise TargetError(
                f"no density at t = {t.item():g}: the covariance of a component is singular there; take t > 0, or"
                " positive scales with a positive momentum variance"
            )

    def _hint(self, u: Tensor) -> str:
        return f"; {type(self.process).__name__} needs the channel axis (x, m), which process.embed(x) adds"
