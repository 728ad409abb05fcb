"""The posterior over components at one state, term by term: the accurate evaluation, for any carrier of covariances.

With C_k = alpha^2 S_k + sigma^2 I, y_k = x - alpha m_k, u_k = C_k^-1 y_k and responsibilities r_k,

    score = -sum r_k u_k          denoiser = sum r_k (m_k + alpha S_k u_k)
    Jacobian of the score = -sum r_k C_k^-1 + sum r_k (u_k - u)(u_k - u)^T,   u = sum r_k u_k.

Differences y_k are formed before anything is squared, and log-weights before anything is exponentiated. Small float64
mixtures (`is_small`) get compensated log-weights wherever plain ones would show: on ridges between distant modes, and
between modes seen from far away. Their error there is that of the final exponential.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import compensated
from .covariances import EXACT_DIMENSION

if TYPE_CHECKING:
    from .mixture import GaussianMixture

Number = float | Tensor


@dataclass(frozen=True)
class Posterior:
    """Responsibilities r (B, K) and u (B, K, d) at states x (B, d)."""

    responsibilities: Tensor
    logits: Tensor  # log-weights, less `constant`
    constant: Tensor
    solved: Tensor

    @property
    def log_density(self) -> Tensor:
        return self.constant + torch.logsumexp(self.logits, 1)


@dataclass(frozen=True)
class Tables:
    """What a posterior needs at one (alpha, sigma), on the device and in the dtype of the states."""

    mixture: GaussianMixture
    alpha: Number
    sigma: Number
    centres: Tensor  # alpha m_k, (K, d)
    precisions: Tensor  # 1 / eigenvalues of C_k
    log_weights: Tensor  # log r_k at y_k = 0, relative to component 0
    log_constant: Tensor  # what was taken off
    amplification: Tensor  # condition of C_k: by how much rounding of S_k is magnified in |y|^2 / C

    @classmethod
    def build(cls, mixture: GaussianMixture, alpha: Number, sigma: Number, like: Tensor) -> Tables:
        variances = mixture.variances(alpha, sigma)
        multiplicity = mixture.covariances.multiplicity
        # ratios first: the logarithm of a ratio near one is small and accurate
        relative = (multiplicity * torch.log(variances / variances[:1])).sum(-1)
        log_weights = mixture.log_weights - mixture.log_weights[0] - relative / 2
        constant = mixture.log_weights[0] - ((multiplicity * torch.log(variances[0])).sum() + _log_tau(mixture)) / 2
        means, _ = mixture.on(like)
        condition = mixture.covariances.condition(variances.detach())
        cast = (t.to(like.device, like.dtype) for t in (1 / variances, log_weights, constant, condition))
        return cls(mixture, alpha, sigma, alpha * means, *cast)

    def __call__(self, x: Tensor, exact: bool) -> Posterior:
        """Posterior at states x (B, d); `exact` compensates the log-weights of states where that changes anything."""
        _, covariances = self.mixture.on(x)
        parts = covariances.split(x.unsqueeze(1) - self.centres)
        solved = covariances.join(self.precisions, parts)
        distances = covariances.quadratic(self.precisions, parts)
        logits = self.log_weights - distances / 2
        rows = self._doubtful(logits, distances) if exact else ()
        if len(rows) == 0:
            return Posterior(torch.softmax(logits, 1), logits, self.log_constant, solved)
        # values from the compensated sums, derivatives from the plain ones
        below, top, refinement = self._compensated(x.detach()[rows], solved.detach()[rows])
        plain = logits.detach()
        tops = plain.amax(1, keepdim=True)
        values = (plain - tops).index_copy(0, rows, below)
        solved = solved + torch.zeros_like(solved).index_copy(0, rows, refinement)
        logits = values + (logits - plain)
        constant = self.log_constant + tops.index_copy(0, rows, top).squeeze(1)
        return Posterior(torch.softmax(logits, 1), logits, constant, solved)

    @torch.no_grad()
    def _doubtful(self, logits: Tensor, distances: Tensor) -> Tensor:
        """Rows whose responsibilities may be off by more than about 1e-14: on ridges, and where distances are huge."""
        weights = torch.softmax(logits, 1)
        doubt = (weights * (1 - weights) * distances * self.amplification).amax(1)
        return (doubt > 32).nonzero().squeeze(1)

    @torch.no_grad()
    def _compensated(self, x: Tensor, solved: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights below their maximum (B, K), that maximum (B, 1), and the refinement of u (B, K, d)."""
        alpha, sigma = (n.item() if isinstance(n, Tensor) else n for n in (self.alpha, self.sigma))
        _, covariances = self.mixture.on(x)
        centres = compensated.two_product(self.mixture.means, torch.tensor(alpha, dtype=torch.float64))
        noised = compensated.noised(covariances.exact, alpha, sigma)
        centres, noised = (tuple(part.to(x.device) for part in pair) for pair in (centres, noised))
        high, low = compensated.two_sum(x.unsqueeze(1), -centres[0])
        y = high, low - centres[1]
        rest = compensated.residual(y, noised, solved)
        refinement = covariances.join(self.precisions, covariances.split(rest[0]))
        distance = compensated.quadratic(y, rest, solved)
        high, low = compensated.two_sum(self.log_weights.detach(), -distance[0] / 2)
        top = high.amax(1, keepdim=True)
        return (high - top) + (low - distance[1] / 2), top, refinement


def _log_tau(mixture: GaussianMixture) -> float:
    return mixture.dimension * math.log(2 * math.pi)


def is_small(mixture: GaussianMixture) -> bool:
    """Whether compensated log-weights are worth their price: up to 64 components in up to 8 dimensions."""
    return 1 < len(mixture.means) <= 64 and mixture.dimension <= EXACT_DIMENSION


def combination(tables: Tables, x: Tensor, weights: tuple[Number, Number, Number], exact: bool) -> Tensor:
    """`wx x + ws score + wd denoiser` for states x (B, d)."""
    wx, ws, wd = weights
    posterior = tables(x, exact)
    means, covariances = tables.mixture.on(x)
    gains = -ws + wd * tables.alpha * covariances.eigenvalues
    terms = covariances.join(gains.to(x.device, x.dtype), covariances.split(posterior.solved))
    result = torch.einsum("bk,bkd->bd", posterior.responsibilities, terms)
    if isinstance(wd, Tensor) or wd != 0:
        result = result + wd * (posterior.responsibilities @ means)
    return result if isinstance(wx, float) and wx == 0 else result + wx * x


def jacobian_product(tables: Tables, x: Tensor, v: Tensor, exact: bool) -> Tensor:
    """The Jacobian of the score at x (B, d), times v (B, d): symmetric, and formed from centred differences."""
    posterior = tables(x, exact)
    _, covariances = tables.mixture.on(x)
    weights, solved = posterior.responsibilities, posterior.solved
    centred = solved - torch.einsum("bk,bkd->bd", weights, solved).unsqueeze(1)
    along = (centred * v.unsqueeze(1)).sum(-1)
    directions = v.unsqueeze(1).expand_as(solved)
    inverse = covariances.join(tables.precisions, covariances.split(directions))
    return torch.einsum("bk,bkd->bd", weights * along, centred) - torch.einsum("bk,bkd->bd", weights, inverse)
