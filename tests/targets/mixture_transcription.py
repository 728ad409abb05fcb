"""A Gaussian mixture at 50 digits, transcribed from the definition and sharing no code with the package."""

from __future__ import annotations

from typing import NamedTuple

import mpmath

mp = mpmath.mp.clone()  # a context of its own: other tests count on the default precision of mpmath's
mp.dps = 50


class Exact(NamedTuple):
    responsibilities: list
    log_density: mp.mpf
    score: mp.matrix
    denoiser: mp.matrix


def exact(means, covariances, weights, x, alpha, sigma) -> Exact:
    """Everything about x_t = alpha x_0 + sigma eps at one state; lists of floats, covariances as mp matrices."""
    alpha, sigma, x = mp.mpf(alpha), mp.mpf(sigma), mp.matrix(x)
    eye = mp.eye(len(x))
    logs, solved = [], []
    for mean, covariance, weight in zip(means, covariances, weights, strict=True):
        noised = alpha**2 * covariance + sigma**2 * eye
        y = x - alpha * mp.matrix(mean)
        u = mp.lu_solve(noised, y)
        solved.append(u)
        logs.append(mp.log(weight) - (y.T * u)[0] / 2 - mp.log(mp.det(noised)) / 2)
    top = max(logs)
    masses = [mp.exp(value - top) for value in logs]
    r = [mass / sum(masses) for mass in masses]
    log_density = top + mp.log(sum(masses)) - len(x) * mp.log(2 * mp.pi) / 2
    score, denoiser = mp.zeros(len(x), 1), mp.zeros(len(x), 1)
    for k in range(len(r)):
        score -= r[k] * solved[k]
        denoiser += r[k] * (mp.matrix(means[k]) + alpha * covariances[k] * solved[k])
    return Exact(r, log_density, score, denoiser)


def isotropic(scales, dimension):
    return [mp.mpf(s) ** 2 * mp.eye(dimension) for s in scales]


def diagonal(scales):
    return [mp.diag([mp.mpf(s) ** 2 for s in row]) for row in scales]


def full(matrices):
    return [mp.matrix(matrix) for matrix in matrices]


def low_rank(factors, scale):
    result = []
    for factor, s in zip(factors, scale, strict=True):
        f = mp.matrix(factor)
        result.append(f * f.T + mp.mpf(s) ** 2 * mp.eye(f.rows))
    return result
