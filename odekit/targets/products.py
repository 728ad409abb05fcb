"""The posterior as matrix products: few kernels a call, for any number of isotropic or diagonal components.

Expanding |x - alpha m|^2 turns log-weights into a matrix product and leaves out |x|^2 wherever it is the same for all
components. What that costs: with x' and m' the states and means after centring, R = max |m'| and v the smallest
variance of alpha^2 S + sigma^2 I, differences of log-weights are off by at most (`log_weight_error`)

    (d + 8) eps (|x'| + alpha R)^2 / v

where the direct form is off by (d + 8) eps |x - alpha m|^2 / v. The direct form is used up to `DIRECT_SIZE` numbers in
the means. Work is cut into blocks of states and of components (log-sum-exp merged as it streams), so that at most the
mixture's `budget` bytes of temporaries are alive, however many components there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from .mixture import GaussianMixture

Number = float | Tensor

DIRECT_SIZE = 512
_ALIVE = 6  # temporaries of the size of a block of log-weights alive at once, derivatives included


class Evaluation:
    """`wx x + ws score + wd denoiser` at one (alpha, sigma): a callable on states (B, d), its tables ready beforehand.

    Subclasses hold the tables. Components come in blocks [start, stop). `logits` are log-weights (B, stop - start),
    less `remainder`; `rows` is what the responsibilities average, `close` combines x with that average. For Jacobians,
    `along` is u_k . v and `spread` the sum of weights_k u_k, both up to what is the same for all components, and
    `inverse` the sum of weights_k C_k^-1 v.
    """

    def __init__(self, mixture: GaussianMixture, alpha: Number, sigma: Number, weights: tuple, like: Tensor):
        self.mixture, self.count, self.budget = mixture, len(mixture.means), mixture.budget
        self.direct = mixture.means.numel() <= DIRECT_SIZE
        self.alpha = alpha
        self.means, self.points, centre = mixture.placed(like)
        self.shift = None if centre is None else alpha * centre
        wx, ws, wd = weights
        variances = mixture.variances(alpha, sigma)
        self.kept = wx
        gains = (wd * alpha * mixture.covariances.eigenvalues - ws) / variances  # what multiplies x
        shares = (wd * sigma**2 + alpha * ws) / variances  # what multiplies the means
        self.build(variances, gains, shares, lambda table: table.to(like.device, like.dtype))

    def __call__(self, x: Tensor) -> Tensor:
        rows, columns = self.blocks(x)
        if len(x) > rows:
            return torch.cat([self(part) for part in x.split(rows)])
        if columns >= self.count:
            return self.average(x, torch.softmax(self.logits(x, 0, self.count), 1))
        return self.close(x, self.stream(x, columns, lambda r, i, j: r @ self.rows[i:j])[1])

    def average(self, x: Tensor, responsibilities: Tensor) -> Tensor:
        return self.close(x, responsibilities @ self.rows)

    def centred(self, x: Tensor) -> Tensor:
        return x if self.shift is None else x - self.shift

    def blocks(self, x: Tensor) -> tuple[int, int]:
        """How many states and how many components are taken at once."""
        numbers = self.budget // (_ALIVE * x.element_size())
        if self.direct:
            return max(1, 2 * numbers // self.means.numel()), self.count
        rows = min(len(x), max(1, numbers // (4 * self.means.shape[1])), max(1024, numbers // self.count))
        return max(rows, 1), min(self.count, max(1, numbers // max(rows, 1)))

    def stream(self, x: Tensor, columns: int, term: Callable) -> tuple[Tensor, Tensor]:
        """Log-sum-exp (B, 1) of the logits, and the average (B, n) of `term(weights, start, stop)`, block by block."""

        def part(x: Tensor, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
            logits = self.logits(x, start, stop)
            peak = logits.detach().amax(1, keepdim=True)
            weights = torch.exp(logits - peak)
            return peak, weights.sum(1, keepdim=True), term(weights, start, stop)

        top, mass, total = x.new_full((len(x), 1), -math.inf), 0.0, 0.0
        for start, stop in self.parts(columns):
            peak, weight, value = _frugal(part, x, start, stop)
            new = torch.maximum(top, peak)
            kept, share = torch.exp(top - new), torch.exp(peak - new)
            mass, total, top = mass * kept + weight * share, total * kept + value * share, new
        return top + torch.log(mass), total / mass

    def parts(self, columns: int) -> Iterator[tuple[int, int]]:
        return ((start, min(start + columns, self.count)) for start in range(0, self.count, columns))

    def log_density(self, x: Tensor) -> Tensor:
        """Log-density (B,) at states (B, d)."""
        rows, columns = self.blocks(x)
        if len(x) > rows:
            return torch.cat([self.log_density(part) for part in x.split(rows)])
        total, _ = self.stream(x, columns, lambda weights, start, stop: weights[:, :1])
        return total.squeeze(1) + self.remainder(x)

    def jacobian_product(self, x: Tensor, v: Tensor) -> Tensor:
        """The Jacobian of the score at x (B, d), times v (B, d)."""
        rows, columns = self.blocks(x)
        if len(x) > rows:
            pairs = zip(x.split(rows), v.split(rows), strict=True)
            return torch.cat([self.jacobian_product(*pair) for pair in pairs])

        def along(weights: Tensor, start: int, stop: int) -> Tensor:
            return (weights * self.along(x, v, start, stop)).sum(1, keepdim=True)

        total, mean = self.stream(x, columns, along)

        def part(x: Tensor, v: Tensor, start: int, stop: int) -> Tensor:
            weights = torch.exp(self.logits(x, start, stop) - total)
            centred = weights * (self.along(x, v, start, stop) - mean)
            return self.spread(x, centred, start, stop) - self.inverse(v, weights, start, stop)

        return sum(_frugal(part, x, v, start, stop) for start, stop in self.parts(columns))


def _frugal(function: Callable, *arguments) -> Tensor | tuple[Tensor, ...]:
    """Call a block; where a graph is being recorded, recompute it in the backward pass instead of keeping it."""
    if torch.is_grad_enabled():
        return checkpoint(function, *arguments, use_reentrant=False)
    return function(*arguments)


class SharedVariance(Evaluation):
    """One variance for all components: |x|^2 drops out and every coefficient is a kernel argument."""

    def build(self, variances: Tensor, gains: Tensor, shares: Tensor, cast: Callable) -> None:
        mixture, alpha = self.mixture, self.alpha
        self.variance, self.gain, self.share = variances.item(), self.kept + gains.item(), shares.item()
        bias = mixture.log_weights
        if self.direct:
            self.columns = (alpha * self.means).T.contiguous()
        else:
            bias = bias - (alpha**2 / (2 * self.variance)) * mixture.squares
        self.bias, self.rows = cast(bias), self.means

    def logits(self, x: Tensor, start: int, stop: int) -> Tensor:
        if self.direct:
            # coordinates before components: sums then run along contiguous rows
            y = x.unsqueeze(2) - self.columns
            return torch.add(self.bias, (y * y).sum(1), alpha=-0.5 / self.variance)
        points = self.points[start:stop]
        return torch.addmm(self.bias[start:stop], self.centred(x), points.T, alpha=self.alpha / self.variance)

    def average(self, x: Tensor, responsibilities: Tensor) -> Tensor:
        return torch.addmm(x, responsibilities, self.rows, beta=self.gain, alpha=self.share)

    def close(self, x: Tensor, mean: Tensor) -> Tensor:
        return self.gain * x + self.share * mean

    def remainder(self, x: Tensor) -> Tensor | float:
        constant = -self.mixture.dimension / 2 * math.log(2 * math.pi * self.variance)
        return constant if self.direct else constant - self.centred(x).square().sum(1) / (2 * self.variance)

    def along(self, x: Tensor, v: Tensor, start: int, stop: int) -> Tensor:
        return (v @ self.points[start:stop].T) * (-self.alpha / self.variance)

    def spread(self, x: Tensor, weights: Tensor, start: int, stop: int) -> Tensor:
        return (weights @ self.points[start:stop]) * (-self.alpha / self.variance)

    def inverse(self, v: Tensor, weights: Tensor, start: int, stop: int) -> Tensor:
        return v * (weights.sum(1, keepdim=True) / self.variance)


class OwnVariances(Evaluation):
    """A variance for each component (K, 1), or for each component and coordinate (K, d)."""

    def build(self, variances: Tensor, gains: Tensor, shares: Tensor, cast: Callable) -> None:
        mixture, (count, dimension) = self.mixture, self.means.shape
        bias = mixture.log_weights - (mixture.covariances.multiplicity * torch.log(variances)).sum(-1) / 2
        self.precisions = cast(1 / variances).expand(count, dimension)
        self.slopes = self.alpha * self.points * self.precisions
        if self.direct:
            roots = cast((2 * variances).rsqrt()).expand(count, dimension).T.unsqueeze(0)
            self.roots, self.offsets = roots, -roots * (self.alpha * self.means).T
        else:
            bias = bias - (self.alpha**2 / 2) * (mixture.points**2 / variances).sum(-1)
        self.bias = cast(bias)
        self.rows = torch.cat([cast(shares) * self.means, cast(self.kept + gains).expand(count, -1)], 1)

    def logits(self, x: Tensor, start: int, stop: int) -> Tensor:
        if self.direct:
            y = torch.addcmul(self.offsets, x.unsqueeze(2), self.roots)
            return self.bias - (y * y).sum(1)
        x = self.centred(x)
        linear = torch.addmm(self.bias[start:stop], x, self.slopes[start:stop].T)
        return torch.addmm(linear, x * x, self.precisions[start:stop].T, alpha=-0.5)

    def close(self, x: Tensor, mean: Tensor) -> Tensor:
        dimension = self.means.shape[1]
        return torch.addcmul(mean[:, :dimension], x, mean[:, dimension:])

    def remainder(self, x: Tensor) -> float:
        return -self.means.shape[1] / 2 * math.log(2 * math.pi)

    def along(self, x: Tensor, v: Tensor, start: int, stop: int) -> Tensor:
        turned = (self.centred(x) * v) @ self.precisions[start:stop].T
        return turned - v @ self.slopes[start:stop].T

    def spread(self, x: Tensor, weights: Tensor, start: int, stop: int) -> Tensor:
        return self.centred(x) * (weights @ self.precisions[start:stop]) - weights @ self.slopes[start:stop]

    def inverse(self, v: Tensor, weights: Tensor, start: int, stop: int) -> Tensor:
        return v * (weights @ self.precisions[start:stop])


def evaluation(mixture: GaussianMixture, alpha: Number, sigma: Number, weights: tuple, like: Tensor) -> Evaluation:
    """The evaluation that fits: coefficients as kernel arguments where one variance serves all and no graph is kept."""
    numbers = not any(isinstance(n, Tensor) for n in (alpha, sigma, *weights))
    shared = mixture.covariances.eigenvalues.shape == (1, 1) and numbers
    return (SharedVariance if shared else OwnVariances)(mixture, alpha, sigma, weights, like)


def log_weight_error(mixture: GaussianMixture, x: Tensor, alpha: float, sigma: float) -> Tensor:
    """Bound (B,) on the error of differences of log-weights in the product form, at states x (B, d)."""
    _, points, centre = mixture.placed(x)
    reach = abs(alpha) * points.norm(dim=1).max()
    distance = (x if centre is None else x - alpha * centre).norm(dim=1)
    smallest = mixture.variances(alpha, sigma).min().item()
    return (x.shape[1] + 8) * torch.finfo(x.dtype).eps * (distance + reach) ** 2 / smallest
