"""Gaussian mixtures: score, denoiser, density, samples and moments in closed form, at every noise level."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from ..exceptions import TargetError
from . import products
from .covariances import Covariances, numbers, read_covariances
from .posterior import Number, Tables, combination, is_small, jacobian_product
from .rotated import Rotated

BUDGET = 64 * 2**20  # bytes of temporaries


class GaussianMixture:
    """The data distribution `sum_k w_k N(m_k, S_k)`, seen through `x_t = alpha x_0 + sigma eps`.

    `means` (K, d); `scales` standard deviations (K,) or (K, d), covariances (K, d, d), or a `LowRank`; `weights` (K,)
    positive with sum 1. `shape` is that of one state, default (d,): states are (B, *shape) of any floating dtype, and
    come back so. alpha and sigma are numbers of the host: floats, or 0-d float64 tensors that may carry gradients.
    Zero scales are allowed (point masses) wherever sigma > 0. At most `budget` bytes of temporaries are alive.

    Errors: `TargetError` for weights that are not positive, covariances that are not symmetric and positive, shapes
    that do not fit. Source: Karras et al. (2022), Elucidating the design space of diffusion models, appendix B.3.

    >>> target = GaussianMixture([[-1.0], [0.8]], [0.3, 0.2], [0.3, 0.7])
    >>> target.denoiser(torch.zeros(1, 1, dtype=torch.float64), 0.0, 1.0)   # at alpha = 0: the mean of the data
    tensor([[0.2600]], dtype=torch.float64)
    """

    def __init__(self, means: Any, scales: Any, weights: Any, shape: Sequence[int] | None = None, budget: int = BUDGET):
        means = numbers(means, "means")
        if means.ndim != 2 or 0 in means.shape:
            raise TargetError(f"means must be (components, dimension), got shape {tuple(means.shape)}")
        weights = _read_weights(weights, len(means))
        self._assign(means, read_covariances(scales, *means.shape), weights, shape, budget)

    def _assign(self, means: Tensor, covariances: Covariances, weights: Tensor, shape: Any, budget: int) -> None:
        self.shape = tuple(means.shape[1:]) if shape is None else tuple(int(n) for n in shape)
        if math.prod(self.shape) != means.shape[1]:
            raise TargetError(f"shape {self.shape} holds {math.prod(self.shape)} numbers, means have {means.shape[1]}")
        self.means, self.covariances, self.weights, self.budget = means, covariances, weights, budget
        self.log_weights = torch.log(weights)
        # matrix products lose |centre|^2 / spread^2 of their accuracy: data far from the origin is moved there
        centre = self.weights @ means
        points = means - centre
        far = centre.norm() > points.norm(dim=1).max() / 2
        self._centre, self.points = (centre, points) if far and len(means) > 1 else (None, means)
        self.squares = (self.points**2).sum(1)
        self._placed: dict = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(components={len(self.means)}, shape={self.shape})"

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_placed": {}}

    @property
    def dimension(self) -> int:
        return self.means.shape[1]

    @property
    def mean(self) -> Tensor:
        """Mean of the data, float64 of the state's shape."""
        return (self.weights @ self.means).reshape(self.shape)

    @property
    def covariance(self) -> Tensor:
        """Covariance of the data, flattened: float64 (d, d)."""
        centred = self.means - self.weights @ self.means
        spread = (centred * self.weights.unsqueeze(1)).T @ centred
        return spread + self.covariances.average(self.weights)

    def sample(self, count: int, seed: int | torch.Generator = 0, dtype: torch.dtype = torch.float64) -> Tensor:
        """Independent draws (count, *shape) on the CPU, reproducible from the seed or from a generator's state.

        >>> GaussianMixture([[0.0, 0.0]], [1.0], [1.0]).sample(3, seed=1).shape
        torch.Size([3, 2])
        """
        generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
        component = torch.bucketize(
            torch.rand(count, generator=generator, dtype=torch.float64) * self.weights.sum(),
            self.weights.cumsum(0)[:-1],
            right=True,
        )
        z = torch.randn(count, self.dimension, generator=generator, dtype=torch.float64)
        draws = self.means[component] + self.covariances.colour(component, z)
        return draws.to(dtype).reshape(count, *self.shape)

    def marginal(self, alpha: float, sigma: float) -> GaussianMixture:
        """The distribution of `alpha x_0 + sigma eps`: a mixture again.

        >>> GaussianMixture([[1.0]], [0.0], [1.0]).marginal(0.6, 0.8).covariance
        tensor([[0.6400]], dtype=torch.float64)
        """
        alpha, sigma = float(alpha), float(sigma)
        _check_noise(alpha, sigma)
        result = GaussianMixture.__new__(GaussianMixture)
        covariances = self.covariances.noised(alpha, sigma)
        result._assign(alpha * self.means, covariances, self.weights, self.shape, self.budget)
        return result

    def log_density(self, x: Tensor, alpha: Number = 1.0, sigma: Number = 0.0) -> Tensor:
        """Log-density (B,) of `alpha x_0 + sigma eps` at states x (B, *shape)."""
        flat, alpha, sigma = self._flat(x), settled(alpha), settled(sigma)
        if self._by_products(flat):
            result = products.evaluation(self, alpha, sigma, (0.0, 1.0, 0.0), flat).log_density(flat)
        else:
            tables = Tables.build(self, alpha, sigma, flat)
            result = self._by_rows(lambda part: tables(part, self._exact(part)).log_density, flat)
        return result.to(x.dtype)

    def score(self, x: Tensor, alpha: Number, sigma: Number) -> Tensor:
        """Gradient of the log-density, (B, *shape), at states x (B, *shape).

        For small float64 mixtures, sigma * score is off by at most 8 eps (1 + (|x| + |alpha m|) / sigma + D^2 / sigma^2
        min(r, 1 - r)), D the distance of the competing modes and r a responsibility; see `products` for large ones.
        """
        return self._combine(x, alpha, sigma, (0.0, 1.0, 0.0))

    def denoiser(self, x: Tensor, alpha: Number, sigma: Number) -> Tensor:
        """Posterior mean E[x_0 | x], (B, *shape), at states x (B, *shape); stable at alpha = 0 and as sigma -> 0."""
        return self._combine(x, alpha, sigma, (0.0, 0.0, 1.0))

    def noise(self, x: Tensor, alpha: Number, sigma: Number) -> Tensor:
        """Posterior mean of the noise, E[eps | x] = -sigma score, (B, *shape), at states x (B, *shape)."""
        sigma = settled(sigma)
        return self._combine(x, alpha, sigma, (0.0, -sigma, 0.0))

    def score_jvp(self, x: Tensor, v: Tensor, alpha: Number, sigma: Number) -> Tensor:
        """Jacobian of the score at x (B, *shape), times v (B, *shape): the Hessian of the log-density, symmetric."""
        flat, direction, alpha, sigma = self._flat(x), self._flat(v), settled(alpha), settled(sigma)
        if flat.shape != direction.shape:
            raise TargetError(f"x and v must have one shape, got {tuple(x.shape)} and {tuple(v.shape)}")
        direction = direction.to(flat.dtype)
        if self._by_products(flat):
            evaluation = products.evaluation(self, alpha, sigma, (0.0, 1.0, 0.0), flat)
            result = evaluation.jacobian_product(flat, direction)
        else:
            tables, exact = Tables.build(self, alpha, sigma, flat), self._exact(flat)
            result = self._by_rows(lambda x, v: jacobian_product(tables, x, v, exact), flat, direction)
        return result.reshape(x.shape).to(x.dtype)

    def prepare(
        self, alphas: Sequence[float], sigmas: Sequence[float], weights: Sequence[tuple[float, float, float]]
    ) -> Callable[[int, Tensor], Tensor]:
        """Bind the noise levels of a solver: `call(k, x) = wx x + ws score + wd denoiser` at (alpha_k, sigma_k).

        All work on scalars is done before the loop, once per dtype and device: a call is 6 kernels for isotropic
        components of one variance and up to 512 numbers in the means, 3 or 4 (matrix products) above, 6 to 12 else. It
        is the plain form; where modes lie more than 100 standard deviations apart the compensated one is bound.

        >>> target = GaussianMixture([[-1.0], [1.0]], [0.1, 0.1], [0.5, 0.5])
        >>> call = target.prepare([0.8], [0.6], [(0.0, 1.0, 0.0)])
        >>> x = torch.ones(2, 1, dtype=torch.float64)
        >>> torch.allclose(call(0, x), target.score(x, 0.8, 0.6), rtol=1e-14)
        True
        """
        levels = [
            (float(a), float(s), tuple(float(w) for w in triple))
            for a, s, triple in zip(alphas, sigmas, weights, strict=True)
        ]
        for alpha, sigma, _ in levels:
            self.variances(alpha, sigma)
        return _Prepared(self, levels)

    def variances(self, alpha: Number, sigma: Number) -> Tensor:
        """Eigenvalues of alpha^2 S_k + sigma^2 I, a table like `covariances.eigenvalues`; refuses a zero."""
        _check_noise(_value(alpha), _value(sigma))
        variances = alpha**2 * self.covariances.eigenvalues + sigma**2
        if not variances.min() > 0:
            raise TargetError(
                f"no density at alpha = {_value(alpha):g}, sigma = {_value(sigma):g}: a component has zero variance"
                " there; take sigma > 0 (or positive scales and alpha != 0)"
            )
        return variances

    def on(self, like: Tensor) -> tuple[Tensor, Covariances]:
        """Means and covariances where and as `like` is."""
        key = "posterior", like.dtype, like.device
        if key not in self._placed:
            with torch.inference_mode(False):  # kept tables must serve differentiable calls as well
                self._placed[key] = self.means.to(like), self.covariances.to(like.dtype, like.device)
        return self._placed[key]

    def placed(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Means, centred means and centre (None: the origin serves) where and as `like` is."""
        key = "products", like.dtype, like.device
        if key not in self._placed:
            with torch.inference_mode(False):
                means = self.means.to(like)
                centred = (means, None) if self._centre is None else (self.points.to(like), self._centre.to(like))
                self._placed[key] = means, *centred
        return self._placed[key]

    def _flat(self, x: Tensor) -> Tensor:
        """States as (B, d), half precision as float32; refuses what is no state of this target."""
        if not isinstance(x, Tensor):
            raise TargetError(f"states must be a torch tensor (batch, {_listed(self.shape)}), got {type(x).__name__}")
        if tuple(x.shape[1:]) != self.shape or x.ndim != len(self.shape) + 1:
            raise TargetError(f"states must be (batch, {_listed(self.shape)}), got shape {tuple(x.shape)}")
        if not x.is_floating_point():
            raise TargetError(f"states must be floating point, (batch, {_listed(self.shape)}), got {x.dtype}")
        flat = x.reshape(len(x), self.dimension)
        return flat.float() if x.dtype in (torch.float16, torch.bfloat16) else flat

    def _exact(self, x: Tensor) -> bool:
        return x.dtype == torch.float64 and is_small(self)

    def _by_products(self, x: Tensor) -> bool:
        return self.covariances.separable and len(self.means) > 1 and not self._exact(x)

    def _combine(self, x: Tensor, alpha: Number, sigma: Number, weights: tuple[Number, Number, Number]) -> Tensor:
        flat, alpha, sigma = self._flat(x), settled(alpha), settled(sigma)
        if self._by_products(flat):
            result = products.evaluation(self, alpha, sigma, weights, flat)(flat)
        else:
            tables = Tables.build(self, alpha, sigma, flat)
            result = self._by_rows(lambda x: combination(tables, x, weights, self._exact(x)), flat)
        return result.reshape(x.shape).to(x.dtype)

    def _by_rows(self, function: Callable, *states: Tensor) -> Tensor:
        size = (40 if self._exact(states[0]) else 8) * self.means.numel() * states[0].element_size()
        rows = max(1, self.budget // size)
        if len(states[0]) <= rows:
            return function(*states)
        return torch.cat([function(*part) for part in zip(*(s.split(rows) for s in states), strict=True)])


class Gaussian(GaussianMixture):
    """One Gaussian: mean of the state's shape, covariance (d, d) of the flattened state.

    >>> Gaussian(torch.zeros(2), torch.eye(2)).score(torch.ones(1, 2, dtype=torch.float64), 1.0, 1.0)
    tensor([[-0.5000, -0.5000]], dtype=torch.float64)
    """

    def __init__(self, mean: Any, covariance: Any):
        mean = numbers(mean, "mean")
        covariance = numbers(covariance, "covariance")
        if covariance.shape != (mean.numel(), mean.numel()):
            raise TargetError(f"covariance must be ({mean.numel()}, {mean.numel()}), got {tuple(covariance.shape)}")
        super().__init__(mean.reshape(1, -1), covariance.unsqueeze(0), [1.0], shape=mean.shape)


class _Prepared:
    """A mixture bound to noise levels; tables are made once per dtype and device, as long as they fit the budget."""

    def __init__(self, mixture: GaussianMixture, levels: list):
        self.mixture, self.levels = mixture, levels
        self.tables: dict = {}

    def __getstate__(self) -> dict:
        return self.__dict__ | {"tables": {}}

    def __call__(self, k: int, x: Tensor) -> Tensor:
        flat = self.mixture._flat(x)
        key = k, flat.dtype, flat.device
        function = self.tables.get(key)
        if function is None:
            with torch.inference_mode(False):
                function = self._bind(*self.levels[k], flat)
            if self._keep(flat):
                self.tables[key] = function
        result = function(flat).reshape(x.shape)
        return result if result.dtype == x.dtype else result.to(x.dtype)

    def _keep(self, x: Tensor) -> bool:
        shared = self.mixture.covariances.eigenvalues.shape == (1, 1)
        numbers = len(self.mixture.means) * (2 if shared else 4 * self.mixture.dimension)
        return len(self.levels) * numbers * x.element_size() <= self.mixture.budget

    def _bind(self, alpha: float, sigma: float, weights: tuple, like: Tensor) -> Callable[[Tensor], Tensor]:
        mixture = self.mixture
        exact = mixture._exact(like) and self._cancels(alpha, sigma)
        if mixture.covariances.separable and not exact:
            return products.evaluation(mixture, alpha, sigma, weights, like)
        if not exact:
            return Rotated(mixture, alpha, sigma, weights, like)
        tables = Tables.build(mixture, alpha, sigma, like)
        return lambda flat: mixture._by_rows(lambda part: combination(tables, part, weights, exact), flat)

    def _cancels(self, alpha: float, sigma: float) -> bool:
        """Whether log-weights between the modes are so large that their float64 difference is off by 1e-12."""
        reach = alpha * (self.mixture.means - self.mixture.means[:1]).norm(dim=1).max().item()
        return reach**2 / self.mixture.variances(alpha, sigma).min().item() > 1e4


def _read_weights(weights: Any, count: int) -> Tensor:
    weights = numbers(weights, "weights")
    if weights.shape != (count,):
        raise TargetError(f"weights of {count} components must be ({count},), got shape {tuple(weights.shape)}")
    if not (weights > 0).all():
        raise TargetError(f"weights must be positive, entry {int(weights.argmin())} is {weights.min():g}")
    if abs(weights.sum() - 1) > 1e-6:
        raise TargetError(f"weights must sum to 1, they sum to {weights.sum():.8g}; divide by the sum")
    return weights if abs(weights.sum() - 1) < 1e-14 else weights / weights.sum()


def _check_noise(alpha: float, sigma: float) -> None:
    if not (math.isfinite(alpha) and math.isfinite(sigma)) or sigma < 0:
        raise TargetError(
            f"alpha and sigma must be finite and sigma not negative, got alpha = {alpha}, sigma = {sigma}"
        )


def settled(number: Number) -> Number:
    """A float, unless some transform (reverse, forward or functional) is following the number: then the number."""
    if not isinstance(number, Tensor):
        return number
    followed = number.requires_grad or torch._C._functorch.is_functorch_wrapped_tensor(number)
    return number if followed or unpack_dual(number).tangent is not None else number.item()


def _value(number: Number) -> float:
    return number.item() if isinstance(number, Tensor) else float(number)


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
