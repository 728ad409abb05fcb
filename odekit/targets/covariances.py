"""Covariances of mixture components, each kept in its own eigenbasis.

Every covariance that a forward process can produce from S is `alpha^2 S + sigma^2 I`: a function of S. In the
eigenbasis of S it is diagonal for all alpha and sigma at once, so nothing is factorised after construction. The
three carriers share these verbs, with `values` a table shaped like `eigenvalues` (one number an eigenspace):

    split(y)               coordinates of y (B, K, d) in the eigenspaces
    quadratic(values, p)   sum of values * |coordinates|^2, (B, K)
    join(values, p)        f(S_k) y_k, (B, K, d), where f has the given values

`exact` holds S as the user gave it, as a pair (high, low): tables like `eigenvalues`, or matrices (K, d, d).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..exceptions import TargetError
from . import compensated
from .compensated import Pair

EXACT_DIMENSION = 8


@dataclass(frozen=True)
class LowRank:
    """Covariances `F_k F_k^T + s_k^2 I`: factors (K, d, r) with r < d, and scale (K,), a standard deviation.

    Source: probabilistic principal components, Tipping and Bishop (1999), equation 2.

    >>> from odekit.targets import GaussianMixture
    >>> target = GaussianMixture(torch.zeros(1, 3), LowRank(torch.ones(1, 3, 1), torch.ones(1)), [1.0])
    >>> round(target.covariance.trace().item(), 12)
    6.0
    """

    factors: Any
    scale: Any


@dataclass(frozen=True)
class Isotropic:
    """S_k = l_k I, eigenvalues (K, 1), or (1, 1) where all components share one."""

    eigenvalues: Tensor
    dimension: int
    exact: Pair
    separable = True  # one coordinate of x meets one eigenvalue: matrix products apply

    @property
    def multiplicity(self) -> Tensor:
        return torch.tensor([float(self.dimension)], dtype=torch.float64)

    def split(self, y: Tensor) -> Tensor:
        return y

    def quadratic(self, values: Tensor, parts: Tensor) -> Tensor:
        return (values * (parts * parts)).sum(-1)

    def join(self, values: Tensor, parts: Tensor) -> Tensor:
        return values * parts

    def noised(self, alpha: float, sigma: float) -> Isotropic:
        """The carrier of `alpha^2 S + sigma^2 I`."""
        exact = compensated.noised(self.exact, alpha, sigma)
        return type(self)(exact[0], self.dimension, exact)

    def to(self, dtype: torch.dtype, device: torch.device) -> Isotropic:
        return self  # holds nothing that meets a state

    def average(self, weights: Tensor) -> Tensor:
        """`sum_k w_k S_k`, (d, d)."""
        values = (weights.unsqueeze(1) * self.eigenvalues).sum(0)
        return torch.diag(values.expand(self.dimension))

    def condition(self, variances: Tensor) -> Tensor:
        """By how much the rounding of S is magnified in `quadratic`: not at all where coordinates do not mix, (1,)."""
        return torch.ones(1, dtype=torch.float64)

    def colour(self, component: Tensor, z: Tensor) -> Tensor:
        """Turn white noise z (n, d) into noise of covariance S_component."""
        roots = self.eigenvalues.sqrt()
        return z * (roots if len(roots) == 1 else roots[component])


@dataclass(frozen=True)
class Diagonal(Isotropic):
    """S_k = diag(l_k), eigenvalues (K, d)."""

    @property
    def multiplicity(self) -> Tensor:
        return torch.ones(self.dimension, dtype=torch.float64)


@dataclass(frozen=True)
class Eigenbasis:
    """S_k = U_k diag(l_k) U_k^T with U (K, d, r); for r < d the last eigenvalue belongs to the complement of U_k."""

    eigenvalues: Tensor
    basis: Tensor
    exact: Pair | None  # kept up to `EXACT_DIMENSION`, above which it is not used
    separable = False

    @property
    def dimension(self) -> int:
        return self.basis.shape[1]

    @property
    def rank(self) -> int:
        return self.basis.shape[2]

    @property
    def multiplicity(self) -> Tensor:
        counts = [1.0] * self.rank + ([float(self.dimension - self.rank)] if self.rank < self.dimension else [])
        return torch.tensor(counts, dtype=torch.float64)

    def split(self, y: Tensor) -> tuple[Tensor, Tensor | None]:
        inside = torch.einsum("bkd,kdr->bkr", y, self.basis)
        # the complement is formed as a residual: expanding |y|^2 - |inside|^2 would cancel
        outside = y - torch.einsum("bkr,kdr->bkd", inside, self.basis) if self.rank < self.dimension else None
        return inside, outside

    def quadratic(self, values: Tensor, parts: tuple[Tensor, Tensor | None]) -> Tensor:
        inside, outside = parts
        total = (values[:, : self.rank] * inside * inside).sum(-1)
        return total if outside is None else total + values[:, -1] * (outside * outside).sum(-1)

    def join(self, values: Tensor, parts: tuple[Tensor, Tensor | None]) -> Tensor:
        inside, outside = parts
        total = torch.einsum("bkr,kdr->bkd", values[:, : self.rank] * inside, self.basis)
        return total if outside is None else total + values[:, -1:] * outside

    def noised(self, alpha: float, sigma: float) -> Eigenbasis:
        eigenvalues = alpha**2 * self.eigenvalues + sigma**2
        return Eigenbasis(eigenvalues, self.basis, self.exact and compensated.noised(self.exact, alpha, sigma))

    def to(self, dtype: torch.dtype, device: torch.device) -> Eigenbasis:
        return Eigenbasis(self.eigenvalues, self.basis.to(device, dtype), self.exact)

    def average(self, weights: Tensor) -> Tensor:
        rest = self.eigenvalues[:, self.rank :].sum(1)  # zero where U is complete
        lifted = weights.unsqueeze(1) * (self.eigenvalues[:, : self.rank] - rest.unsqueeze(1))
        inside = torch.einsum("kdr,kr,ker->de", self.basis, lifted, self.basis)
        return inside + (weights @ rest) * torch.eye(self.dimension, dtype=torch.float64)

    def condition(self, variances: Tensor) -> Tensor:
        return variances.amax(1) / variances.amin(1)

    def colour(self, component: Tensor, z: Tensor) -> Tensor:
        roots, coloured = self.eigenvalues.sqrt(), torch.empty_like(z)
        for k in component.unique().tolist():  # by component: gathering U for every draw would need n d r numbers
            rows = component == k
            inside = z[rows] @ self.basis[k]
            total = (inside * roots[k, : self.rank]) @ self.basis[k].T
            if self.rank < self.dimension:
                total = total + (z[rows] - inside @ self.basis[k].T) * roots[k, -1]
            coloured[rows] = total
        return coloured


Covariances = Isotropic | Diagonal | Eigenbasis


def numbers(value: Any, name: str) -> Tensor:
    """A float64 CPU tensor of finite numbers, or a `TargetError` that says what is wrong with it."""
    try:
        tensor = torch.as_tensor(value, dtype=torch.float64, device="cpu").detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TargetError(f"{name} must be an array of numbers, got {type(value).__name__}: {error}") from None
    if not torch.isfinite(tensor).all():
        index = (~torch.isfinite(tensor)).nonzero()[0].tolist()
        raise TargetError(f"{name} must be finite, entry {index} is {tensor[tuple(index)].item()}")
    return tensor.clone()


def read_covariances(scales: Any, count: int, dimension: int) -> Covariances:
    """Carrier for `scales`: standard deviations (K,) or (K, d), covariances (K, d, d), or `LowRank`."""
    if isinstance(scales, LowRank):
        return _low_rank(scales, count, dimension)
    values = numbers(scales, "scales")
    if values.shape in {(count,), (count, dimension)}:
        if (values < 0).any():
            index = (values < 0).nonzero()[0].tolist()
            raise TargetError(f"standard deviations must not be negative, scales{index} is {values[tuple(index)]:g}")
        if values.ndim == 2:
            exact = compensated.two_product(values, values)
            return Diagonal(exact[0], dimension, exact)
        shared = bool((values == values[0]).all())
        values = (values[:1] if shared else values).unsqueeze(1)
        exact = compensated.two_product(values, values)
        return Isotropic(exact[0], dimension, exact)
    if values.shape == (count, dimension, dimension):
        return _full(values)
    raise TargetError(
        f"scales of {count} components in {dimension} dimensions must be ({count},) or ({count}, {dimension}) standard"
        f" deviations, or ({count}, {dimension}, {dimension}) covariances, got shape {tuple(values.shape)}"
    )


def _full(values: Tensor) -> Eigenbasis:
    size = values.abs().amax((1, 2))
    skew = (values - values.mT).abs().amax((1, 2))
    if (skew > 1e-12 * size).any():
        k = int((skew - 1e-12 * size).argmax())
        raise TargetError(f"covariance {k} is not symmetric: it differs from its transpose by {skew[k]:.3g}")
    eigenvalues, basis = torch.linalg.eigh((values + values.mT) / 2)
    floor = -1e-13 * values.shape[1] * size  # rounding of a singular covariance, not a negative direction
    if (eigenvalues[:, 0] < floor).any():
        k = int((eigenvalues[:, 0] - floor).argmin())
        raise TargetError(f"covariance {k} is not positive: its smallest eigenvalue is {eigenvalues[k, 0]:.3g}")
    exact = (values, torch.zeros_like(values)) if values.shape[1] <= EXACT_DIMENSION else None
    return Eigenbasis(eigenvalues.clamp_min(0.0), basis, exact)


def _low_rank(scales: LowRank, count: int, dimension: int) -> Covariances:
    factors, scale = numbers(scales.factors, "LowRank factors"), numbers(scales.scale, "LowRank scale")
    if factors.ndim != 3 or factors.shape[:2] != (count, dimension) or scale.shape != (count,):
        raise TargetError(
            f"LowRank of {count} components in {dimension} dimensions needs factors ({count}, {dimension}, r) and scale"
            f" ({count},), got {tuple(factors.shape)} and {tuple(scale.shape)}"
        )
    if (scale < 0).any():
        raise TargetError(f"LowRank scale must not be negative, entry {int(scale.argmin())} is {scale.min():g}")
    if factors.shape[2] >= dimension:
        return _full(factors @ factors.mT + torch.diag_embed((scale**2).unsqueeze(1).expand(count, dimension)))
    basis, singular, _ = torch.linalg.svd(factors, full_matrices=False)
    exact = compensated.gram(factors, scale) if dimension <= EXACT_DIMENSION else None
    floor = scale.unsqueeze(1) ** 2
    return Eigenbasis(torch.cat([singular**2 + floor, floor], 1), basis, exact)
