"""Mixtures under blurring: transformed means, and covariances that the damping bends."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..exceptions import TargetError
from .covariances import Isotropic
from .seen import LOG_TWO_PI, AtTime, SeenThrough


class BlurredLaw(AtTime):
    """y_t ~ sum_k w_k N(m_t * T m_k, C_k) in the cosine basis T, C_k = diag(m_t) T S_k T^T diag(m_t) + s_t^2 I.

    Isotropic S_k keep C_k diagonal; others are factorised once a time.
    """

    def __init__(self, seen: BlurredMixture, t: Any):
        super().__init__(seen)
        mixture, process = seen.mixture, seen.process
        t = torch.as_tensor(t, dtype=torch.float64)
        self.damping, variance = process.mean(t).value, process.covariance(t).value
        self.diagonal = seen.covariances.ndim == 2
        if self.diagonal:
            variances = seen.covariances * self.damping**2 + variance
            self.precisions, volume = 1 / variances, torch.log(variances).sum(1)
        else:
            bent = self.damping.unsqueeze(1) * seen.covariances * self.damping + torch.diag(variance)
            self.roots = torch.linalg.cholesky(bent)
            volume = 2 * torch.log(self.roots.diagonal(dim1=1, dim2=2)).sum(1)
        self.bias = mixture.log_weights - (volume + mixture.dimension * LOG_TWO_PI) / 2

    def _differences(self, u: Tensor) -> Tensor:
        return u.unsqueeze(1) - (self.damping * self.seen.means).to(u)

    def _solve(self, y: Tensor) -> Tensor:
        """C_k^-1 y_k for y (B, K, d)."""
        if self.diagonal:
            return self.precisions.to(y) * y
        return torch.cholesky_solve(y.permute(1, 2, 0), self.roots.to(y)).permute(2, 0, 1)

    def components(self, u: Tensor) -> tuple[Tensor, Tensor]:
        y = self._differences(u)
        if self.diagonal:
            solved = self.precisions.to(u) * y
            return self.bias.to(u) - (solved * y).sum(2) / 2, -solved
        roots = self.roots.to(u)
        whitened = torch.linalg.solve_triangular(roots, y.permute(1, 2, 0), upper=False)
        solved = torch.linalg.solve_triangular(roots.mT, whitened, upper=True)
        return self.bias.to(u) - (whitened * whitened).sum(1).T / 2, -solved.permute(2, 0, 1)

    def precise(self, v: Tensor) -> Tensor:
        return self._solve(v.unsqueeze(1).expand(-1, len(self.seen.means), -1))

    def posterior(self, u: Tensor) -> Tensor:
        """T m_k + T S_k T^T (m_t * C_k^-1 (y - mean))."""
        pulled, covariances = self.damping.to(u) * self._solve(self._differences(u)), self.seen.covariances.to(u)
        moved = covariances * pulled if self.diagonal else torch.einsum("kij,bkj->bki", covariances, pulled)
        return self.seen.means.to(u) + moved


class BlurredMixture(SeenThrough):
    """A mixture of signals seen through `Blurring`: states are cosine coefficients (B, *shape), as the process has."""

    law = BlurredLaw

    def __init__(self, process: Any, mixture: Any):
        super().__init__(process, mixture)
        if mixture.shape != process.shape:
            raise TargetError(
                f"the mixture has signals of shape {mixture.shape}, {process!r} those of {process.shape}; give both one"
                " shape"
            )
        self.means = process.embed(mixture.means.reshape(-1, *process.shape)).flatten(1)
        eigenvalues, (count, d) = mixture.covariances.eigenvalues, mixture.means.shape
        if type(mixture.covariances) is Isotropic:
            self.covariances = eigenvalues.expand(count, d)
            return
        if 16 * count * d * d > mixture.budget:
            raise TargetError(
                f"{count} covariances of {d} x {d} numbers exceed the budget of {mixture.budget} bytes; components with"
                " one standard deviation each stay diagonal under blurring"
            )
        columns = torch.eye(d, dtype=torch.float64).unsqueeze(1).expand(d, count, d)
        full = mixture.covariances.join(eigenvalues, mixture.covariances.split(columns)).transpose(0, 1)
        turned = process.embed(full.reshape(-1, *process.shape)).reshape(count, d, d)
        self.covariances = process.embed(turned.mT.reshape(-1, *process.shape)).reshape(count, d, d)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one state, that of the signals."""
        return self.process.shape

    def flat(self, u: Tensor) -> Tensor:
        return super().flat(u).reshape(len(u), math.prod(self.shape))
