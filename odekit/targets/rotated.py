"""The posterior of full and low-rank covariances in few kernels, with every scalar prepared.

With S_k = U_k diag(l_k) U_k^T and f_k, b_k the eigenvalues of C_k^-1 in U_k and in its complement (b_k = 0 where U_k is
complete), all coordinates of all components are one product, z = U^T (x - alpha m), and

    log r_k = log w_k - (sum log C_k + b_k |x - alpha m_k|^2 + sum (f_k - b_k) z_k^2) / 2 + constant.

Coordinates are formed from the product, not from the differences: near modes this costs eps |x| / sigma, as rounding x
does; the complement's distances are expanded, with the bound of `products`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .mixture import GaussianMixture

_ALIVE = 4  # temporaries of the size of the coordinates alive at once


class Rotated:
    """`wx x + ws score + wd denoiser` at one (alpha, sigma): a callable on states (B, d), its tables ready."""

    def __init__(self, mixture: GaussianMixture, alpha: float, sigma: float, weights: tuple, like: Tensor):
        self.kept, ws, wd = weights
        means, points, centre = mixture.placed(like)
        basis = mixture.on(like)[1].basis
        self.count, dimension, rank = basis.shape
        self.rank = rank
        self.block = max(1, mixture.budget // (_ALIVE * self.count * max(rank, 1) * like.element_size()))
        self.shift = None if centre is None else alpha * centre
        eigenvalues = mixture.covariances.eigenvalues
        variances = mixture.variances(alpha, sigma)
        gains = (wd * alpha * eigenvalues - ws) / variances
        log_determinants = (mixture.covariances.multiplicity * torch.log(variances)).sum(-1)
        bias = mixture.log_weights - log_determinants / 2

        def cast(table: Tensor) -> Tensor:
            return table.to(like.device, like.dtype)

        spikes, lifts = 1 / variances[:, :rank], gains[:, :rank]
        self.slopes = None
        if rank < dimension:
            base = 1 / variances[:, -1:]
            # 1/f - 1/b through the difference of the eigenvalues, which is exact where they are close
            spikes = -(alpha**2) * (eigenvalues[:, :rank] - eigenvalues[:, -1:]) * spikes * base
            lifts = lifts - gains[:, -1:]
            bias = bias - (alpha**2 / 2) * base.squeeze(1) * mixture.squares
            self.precisions = cast(base).expand(self.count, dimension)
            self.slopes = alpha * self.precisions * points
            shares = (wd * sigma**2 + alpha * ws) * base
            self.rows = torch.cat([cast(shares) * means, cast(self.kept + gains[:, -1:])], 1)
        else:
            self.rows = wd * means if wd else None
        # scaled so that squares are summed as they are; the scale may vanish with a spike, and takes its lift along
        scale = (spikes.abs() / 2).sqrt()
        self.sign = -1.0 if rank < dimension else 1.0
        lifts = torch.where(scale > 0, lifts / scale, 0.0)
        columns = basis * cast(scale).unsqueeze(1)
        self.columns = columns.transpose(0, 1).reshape(dimension, -1)
        self.offset = -alpha * torch.einsum("kd,kdr->kr", points, columns).reshape(-1)
        self.lift = (basis * cast(lifts).unsqueeze(1)).transpose(1, 2).reshape(-1, dimension)
        self.bias = cast(bias)

    def __call__(self, x: Tensor) -> Tensor:
        if len(x) > self.block:
            return torch.cat([self(part) for part in x.split(self.block)])
        centred = x if self.shift is None else x - self.shift
        z = torch.addmm(self.offset, centred, self.columns)
        energy = (z * z).view(len(x), self.count, self.rank).sum(-1)
        base = self.bias
        if self.slopes is not None:
            base = torch.addmm(base, centred, self.slopes.T)
            base = torch.addmm(base, centred * centred, self.precisions.T, alpha=-0.5)
        responsibilities = torch.softmax(torch.sub(base, energy, alpha=self.sign), 1)
        weighted = (responsibilities.unsqueeze(-1) * z.view(len(x), self.count, self.rank)).view(len(x), -1)
        if self.slopes is None:
            result = torch.addmm(x, weighted, self.lift, beta=self.kept)
            return result if self.rows is None else torch.addmm(result, responsibilities, self.rows)
        mean = responsibilities @ self.rows
        result = torch.addcmul(mean[:, : x.shape[1]], x, mean[:, x.shape[1] :])
        return torch.addmm(result, weighted, self.lift)
