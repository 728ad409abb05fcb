"""A data set as its own mixture: one isotropic component at each point."""

from __future__ import annotations

from typing import Any

import torch

from ..exceptions import TargetError
from .covariances import numbers
from .mixture import BUDGET, GaussianMixture


class Empirical(GaussianMixture):
    """The data set `points` (N, *shape), each smoothed by a Gaussian of standard deviation `bandwidth` (default 0).

    Evaluated in blocks of points whose log-sum-exps are merged, so that at most `budget` bytes of temporaries (default
    64 MiB) are alive whatever N is; the points themselves are kept once per dtype and device in use (and once more
    centred, where they lie far from the origin).

    Errors: `TargetError` for points that are not finite numbers or a negative bandwidth.

    >>> target = Empirical([[-1.0], [1.0]])
    >>> target.denoiser(torch.tensor([[0.3]]), 1.0, 0.1)
    tensor([[1.]])
    """

    def __init__(self, points: Any, bandwidth: float = 0.0, budget: int = BUDGET):
        points = numbers(points, "points")
        if points.ndim < 2 or points.numel() == 0:
            raise TargetError(f"points must be (count, *shape) with count >= 1, got shape {tuple(points.shape)}")
        count = len(points)
        scales = torch.full((count,), float(bandwidth), dtype=torch.float64)
        weights = torch.full((count,), 1 / count, dtype=torch.float64)
        super().__init__(points.reshape(count, -1), scales, weights, shape=points.shape[1:], budget=budget)
        self.bandwidth = float(bandwidth)
