"""Mixtures in phase space: n x n problems of the channels, one an eigendirection of a component, never nd x nd."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from ..exceptions import TargetError
from ..processes.entries import Words
from .mixture import GaussianMixture
from .seen import LOG_TWO_PI, AtTime, SeenThrough


class PhaseSpaceLaw(AtTime):
    """u_t ~ sum_k w_k N(Psi (m_k, 0), Psi diag(S_k, v) Psi^T + noise).

    In the eigenbasis of S_k, the same for all channels, the covariance is one n x n matrix L D L^T an eigenvalue, L
    with ones on its diagonal: the precision is that of each channel, less what those before it tell, by 1/D. Posterior
    means of x_0 have tables of their own, Cov(x_0, u) times the precision from the factor of both: S_k times a
    precision would magnify rounding by the condition of S_k.
    """

    def __init__(self, seen: PhaseSpaceMixture, t: Any):
        super().__init__(seen)
        process, mixture = seen.process, seen.mixture
        process.check_times(t)
        t = torch.as_tensor(t, dtype=torch.float64)
        start = [float(v) for v in process.initial_variances]
        *rows, data = process.rooted(Words, t, start, data=mixture.covariances.eigenvalues)
        n = process.channels
        seen.check_regular([rows[i][i] for i in range(n)], t)
        self.along = [1 / rows[i][i] ** 2 for i in range(n)]
        self.below = [[rows[i][j] / rows[j][j] for j in range(i)] for i in range(n)]
        volume = 2 * sum(torch.log(rows[i][i]) for i in range(n))
        self.bias = mixture.log_weights - (mixture.covariances.multiplicity * volume).sum(-1) / 2
        self.bias = self.bias - n * mixture.dimension * LOG_TWO_PI / 2
        self.kept = [row[0] for row in process.from_start(Words, t)[0]]
        self.gains: list = []
        for i in reversed(range(n)):  # data L^-1, from its last entry on
            known = sum(gain * rows[k][i] for gain, k in zip(self.gains, range(i + 1, n), strict=True))
            self.gains.insert(0, (data[i] - known) / rows[i][i])

    def step(self, k: int) -> PhaseSpaceLaw:
        """The law at the k-th of times (m, 1, 1)."""

        def taken(table: Any) -> Any:
            if isinstance(table, list):
                return [taken(entry) for entry in table]
            return table[k] if table.ndim == 3 else table

        law = copy.copy(self)
        for name in ("along", "below", "kept", "gains"):
            setattr(law, name, taken(getattr(self, name)))
        law.bias = self.bias[k]
        return law

    def _differences(self, u: Tensor) -> list[Tensor]:
        """Each channel from the components' means, (B, K, d)."""
        means = self.seen.mixture.on(u)[0]
        return [u[:, i].unsqueeze(1) - shift.to(u) * means for i, shift in enumerate(self.kept)]

    def _solve(self, like: Tensor, channels: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The precisions times the channels, (B, K, n, d), and the quadratic forms, (B, K)."""
        covariances, n = self.seen.mixture.on(like)[1], len(channels)
        below, along = (
            [[entry.to(like) for entry in row] for row in self.below],
            [table.to(like) for table in self.along],
        )
        parts: list = []
        for row, y in zip(below, channels, strict=True):
            for entry, before in zip(row, parts, strict=True):
                y = y - covariances.join(entry, before)
            parts.append(covariances.split(y))
        energy = sum(covariances.quadratic(table, part) for table, part in zip(along, parts, strict=True))
        solved: list = []
        for i in reversed(range(n)):
            y = covariances.join(along[i], parts[i])
            for k, after in zip(range(i + 1, n), solved, strict=True):
                y = y - covariances.join(below[k][i], covariances.split(after))
            solved.insert(0, y)
        return torch.stack(solved, 2), energy

    def components(self, u: Tensor) -> tuple[Tensor, Tensor]:
        solved, energy = self._solve(u, self._differences(u))
        return self.bias.to(u) - energy / 2, -solved

    def precise(self, v: Tensor) -> Tensor:
        spread = v.unsqueeze(2).expand(-1, -1, len(self.seen.mixture.means), -1)
        return self._solve(v, list(spread.unbind(1)))[0]

    def posterior(self, u: Tensor) -> Tensor:
        """m_k + S_k (Psi^T Sigma_k^-1 (u - mean))_x."""
        means, covariances = self.seen.mixture.on(u)
        pairs = zip(self.gains, self._differences(u), strict=True)
        return means + sum(covariances.join(gain.to(u), covariances.split(y)) for gain, y in pairs)


class PhaseSpaceMixture(SeenThrough):
    """A mixture seen through CLD, PSLD or another process on channels: states (B, n, *shape), data first on axis 1."""

    law = PhaseSpaceLaw

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one state, (n, *shape of the data)."""
        return (self.process.channels, *self.mixture.shape)

    def flat(self, u: Tensor) -> Tensor:
        return super().flat(u).reshape(len(u), self.process.channels, self.mixture.dimension)

    def laws(self, times: Tensor) -> list[PhaseSpaceLaw]:
        """The laws at times (m,), their tables computed together."""
        together = max(1, self.mixture.budget // (64 * self.mixture.covariances.eigenvalues.numel()))
        parts = ((self.law(self, part[:, None, None]), len(part)) for part in times.split(together))
        return [whole.step(k) for whole, count in parts for k in range(count)]

    def marginal_x(self, t: float) -> GaussianMixture:
        """The law of the position x_t, a mixture: means Psi_xx m_k, covariances Psi_xx^2 S_k + Sigma_xx."""
        mean, covariance = self.process.mean(t).value, self.process.covariance(t).value
        return self.mixture.marginal(mean[0, 0].item(), covariance[0, 0].sqrt().item())

    def check_regular(self, deviations: list[Tensor], t: Tensor) -> None:
        """Raises `TargetError` where u_t has no density: at t = 0 for point masses or a channel without variance."""
        singular = [~(deviation > 0).all(-1).all(-1).expand(t.shape[:1]) for deviation in deviations]
        if any(bool(one.any()) for one in singular):
            first = t.flatten()[torch.stack(singular).any(0).flatten()][0].item()
            raise TargetError(
                f"no density at t = {first:g}: the covariance of a component is singular there; take t > 0, or"
                " positive scales with positive variances of the other channels"
            )

    def _hint(self, u: Tensor) -> str:
        return f"; {type(self.process).__name__} needs the channel axis of (x, ...), which process.embed(x) adds"
