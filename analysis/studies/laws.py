"""The law of the data's channels at the end of a solve, a mixture known exactly, and how far samples are from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from analysis.distances import frechet_of_moments
from analysis.weak import law

REPEATS = 20  # samples of the exact sampler: what they differ by is noise
EXACT = "exact sampler"
HALVINGS = 70  # of the bracket of a quantile: to rounding
FAR = 10  # deviations from a mean, beyond which no quantile lies


class EndLaw:
    """The mixture sum_k w_k N(means_k, covariances_k) of the data's channels at time t, coordinates (d,).

    Under blurring the coordinates are frequencies. `wasserstein` compares coordinate by coordinate.
    """

    def __init__(self, process: Any, mixture: Any, t: float):
        import odekit as ok

        d, parts = mixture.dimension, []
        self._known: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for mean, one in zip(mixture.means, torch.eye(len(mixture.means), dtype=torch.float64), strict=True):
            data = ok.Gaussian(mean.reshape(mixture.shape), mixture.covariances.average(one))
            parts.append(law(ok.ReverseSDE(process, data, prediction="score"), t))
        self.means = np.stack([mean[:d].numpy() for mean, _ in parts])
        self.covariances = np.stack([covariance[:d, :d].numpy() for _, covariance in parts])
        self.weights = mixture.weights.numpy() / float(mixture.weights.sum())
        self.mean = self.weights @ self.means
        centred = self.means - self.mean
        self.covariance = np.einsum("k,kij->ij", self.weights, self.covariances)
        self.covariance += np.einsum("k,ki,kj->ij", self.weights, centred, centred)

    def sample(self, count: int, seed: int) -> np.ndarray:
        """Independent draws, (count, d)."""
        random = np.random.default_rng(seed)
        parts = random.choice(len(self.weights), size=count, p=self.weights)
        z = random.standard_normal((count, self.means.shape[1]))
        return self.means[parts] + np.einsum("nij,nj->ni", np.linalg.cholesky(self.covariances)[parts], z)

    def noise(self, count: int) -> dict[str, Any]:
        """A row of the exact sampler: mean and largest distance of independent samples of this size."""
        drawn = [(self.wasserstein(x), self.frechet(x)) for x in (self.sample(count, k) for k in range(REPEATS))]
        mean, largest = np.mean(drawn, 0).tolist(), np.max(drawn, 0).tolist()
        row = {"method": EXACT, "W2": mean[0], "Frechet": mean[1]}
        return {**row, "W2 largest": largest[0], "Frechet largest": largest[1]}

    def wasserstein(self, samples: Any) -> float:
        """Root of the sum over coordinates of the squared 2-Wasserstein distance of samples (n, d) from this law.

        Of one coordinate: int_0^1 (x_(ceil(n u)) - Q(u))^2 du, exactly, with the quantiles Q of the law. In several
        dimensions the sum is a lower bound of the distance of the joint laws.
        """
        x = np.sort(np.asarray(samples, dtype=float).reshape(len(samples), -1), axis=0)
        if len(x) not in self._known:
            self._known[len(x)] = self._cells(len(x))
        averages, within = self._known[len(x)]
        return float(np.sqrt((((x - averages) ** 2).mean(0) + within).sum()))

    def frechet(self, samples: Any) -> float:
        """The Frechet distance of samples (n, d) from this law."""
        x = np.asarray(samples, dtype=float).reshape(len(samples), -1)
        covariance = np.atleast_2d(np.cov(x.T, bias=True))
        return frechet_of_moments(x.mean(0), covariance, self.mean, self.covariance)

    def _cells(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean of the quantiles over n cells of equal probability (n, d), and what is left of their variance (d,)."""
        from scipy.stats import norm

        deviations = np.sqrt(np.diagonal(self.covariances, axis1=1, axis2=2))
        levels = np.arange(1, n)[:, None] / n
        low = (self.means - FAR * deviations).min(0) + 0 * levels
        high = (self.means + FAR * deviations).max(0) + 0 * levels
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            below = norm.cdf((middle[:, None] - self.means) / deviations).swapaxes(1, 2) @ self.weights < levels
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        edges = ((low + high)[:, None] / 2 - self.means) / deviations
        ends = np.full((1, *edges.shape[1:]), np.inf)
        edges = np.concatenate([-ends, edges, ends])
        parts = self.means * np.diff(norm.cdf(edges), axis=0) - deviations * np.diff(norm.pdf(edges), axis=0)
        averages = n * (parts.swapaxes(1, 2) @ self.weights)
        second = self.weights @ (self.means**2 + deviations**2)
        return averages, np.maximum(second - (averages**2).mean(0), 0)


def noise_of(table: Any, measure: str) -> float:
    """The largest distance of an exact sample; 0 for trajectory errors, which have no such noise."""
    (row,) = table.where(method=EXACT)
    return row.get(f"{measure} largest", 0.0)
