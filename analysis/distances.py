"""Distances between laws known by samples, and between Gaussians known by moments."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from odekit.exceptions import OdekitError

LARGEST = 4096  # samples whose optimal assignment takes seconds


def wasserstein(a: Any, b: Any) -> float:
    """The 2-Wasserstein distance of two samples of equal size, (n, d) each, exactly.

    On a line sorted samples are matched; elsewhere the assignment problem is solved, for n up to 4096.
    Source: Peyre & Cuturi 2019, Computational Optimal Transport, section 2.6 and eq. 2.36. Raises OdekitError for
    samples of different shapes.

    >>> wasserstein([[0.0], [1.0]], [[3.0], [2.0]])
    2.0
    """
    a, b = _samples(a), _samples(b)
    if a.shape != b.shape:
        raise OdekitError(f"wasserstein: samples of shapes {a.shape} and {b.shape}; expected equal ones")
    if a.shape[1] == 1:
        return float(np.sqrt(np.mean((np.sort(a[:, 0]) - np.sort(b[:, 0])) ** 2)))
    if len(a) > LARGEST:
        raise OdekitError(f"wasserstein: {len(a)} samples in {a.shape[1]} dimensions; expected {LARGEST} at most")
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    cost = cdist(a, b, "sqeuclidean")
    return float(np.sqrt(cost[linear_sum_assignment(cost)].mean()))


def frechet(a: Any, b: Any) -> float:
    """The Frechet distance of the Gaussians with the moments of two samples, (n, d) and (m, d).

    Source: Dowson & Landau 1982, J. Multivariate Anal. 12, eq. 4; FID (Heusel et al. 2017) is its square on features.

    >>> frechet([[0.0], [2.0]], [[3.0], [5.0]])
    3.0
    """
    a, b = _samples(a), _samples(b)
    return frechet_of_moments(a.mean(0), _covariance(a), b.mean(0), _covariance(b))


def frechet_of_moments(mean_a: Any, covariance_a: Any, mean_b: Any, covariance_b: Any) -> float:
    """The 2-Wasserstein distance of two Gaussians: |m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2)), its root."""
    from scipy.linalg import sqrtm

    A, B = (np.atleast_2d(np.asarray(one, dtype=float)) for one in (covariance_a, covariance_b))
    root = sqrtm(A)
    middle = sqrtm(root @ B @ root)
    gap = np.sum((np.asarray(mean_a, dtype=float) - np.asarray(mean_b, dtype=float)) ** 2)
    return float(np.sqrt(max(0.0, gap + np.trace(A + B - 2 * np.real(middle)))))


def _covariance(a: np.ndarray) -> np.ndarray:
    return np.atleast_2d(np.cov(a.T, bias=True))


def _samples(a: Any) -> np.ndarray:
    a = a.detach().cpu().numpy() if torch.is_tensor(a) else np.asarray(a, dtype=float)
    return a.reshape(len(a), -1).astype(float)
