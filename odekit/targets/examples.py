"""Named targets: planar mixtures with measured references, and the digits of scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..exceptions import TargetError, unknown
from .covariances import LowRank
from .empirical import Empirical
from .mixture import GaussianMixture


def ring6() -> GaussianMixture:
    """Six isotropic Gaussians on the circle of radius 2, standard deviation 0.15; planar.

    >>> ring6().shape
    (2,)
    """
    angles = [math.pi / 3 * k for k in range(6)]
    means = [[2 * math.cos(a), 2 * math.sin(a)] for a in angles]
    return GaussianMixture(means, [0.15] * 6, [0.25, 0.20, 0.15, 0.15, 0.15, 0.10])


def aniso3() -> GaussianMixture:
    """Three elongated Gaussians, covariances R(phi) diag(a^2, b^2) R(phi)^T; planar.

    >>> aniso3().weights.tolist()
    [0.5, 0.3, 0.2]
    """
    covariances = []
    for phi, a, b in ((0.5, 0.5, 0.08), (-0.7, 0.3, 0.1), (1.2, 0.4, 0.05)):
        c, s = math.cos(phi), math.sin(phi)
        off = c * s * (a * a - b * b)
        covariances.append([[c * c * a * a + s * s * b * b, off], [off, s * s * a * a + c * c * b * b]])
    return GaussianMixture([[-1.2, 0.0], [1.0, 0.8], [0.4, -1.1]], covariances, [0.5, 0.3, 0.2])


def bimodal() -> GaussianMixture:
    """Two Gaussians on a line: weights .3, .7, means -1, .8, standard deviations .3, .2.

    >>> round(bimodal().mean.item(), 6)
    0.26
    """
    return GaussianMixture([[-1.0], [0.8]], [0.3, 0.2], [0.3, 0.7])


def _digit_points() -> Tensor:
    from sklearn.datasets import load_digits

    return torch.as_tensor(load_digits().data, dtype=torch.float64) / 8 - 1


def digits(bandwidth: float = 0.0, shape: tuple[int, ...] = (64,)) -> Empirical:
    """The 1,797 digits of scikit-learn, 8 x 8 pixels in [-1, 1], as their own mixture; shape (64,) or (1, 8, 8).

    Source: Alpaydin and Kaynak (1998), Optical recognition of handwritten digits, UCI repository.
    """
    if math.prod(shape) != 64:
        raise TargetError(f"digits have 64 pixels: shape must be (64,) or (1, 8, 8), got {tuple(shape)}")
    return Empirical(_digit_points().reshape(-1, *shape), bandwidth)


def scattered(seed: int = 0, components: int = 4, dimension: int = 2) -> GaussianMixture:
    """A random mixture of isotropic Gaussians, (dimension,): one of a family to learn from or to test on.

    Means are normal with standard deviation 1.2, deviations uniform in [0.1, 0.5], weights uniform in [0.2, 1.2] up to
    their sum.

    >>> scattered(3).means.shape
    torch.Size([4, 2])
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(kind: Callable, *shape: int) -> Tensor:
        return kind(*shape, generator=generator, dtype=torch.float64)

    means = 1.2 * draw(torch.randn, components, dimension)
    scales = 0.1 + 0.4 * draw(torch.rand, components)
    weights = 0.2 + draw(torch.rand, components)
    return GaussianMixture(means, scales, weights / weights.sum())


def trio(size: float = 1.0) -> GaussianMixture:
    """Three overlapping anisotropic components in the plane, (2,): smooth enough that methods of order 8 show it.

    `size` scales the components; the smaller they are, the finer the grids on which errors still stand above rounding.
    """
    means = [[-1.0, 0.3], [1.0, 0.5], [0.1, -1.1]]
    scales = torch.tensor([[0.84, 0.6], [0.6, 0.72], [0.72, 0.54]], dtype=torch.float64)
    return GaussianMixture(means, size * scales, [0.4, 0.35, 0.25])


def digits_mixture(components: int = 10, seed: int = 0, rank: int = 12, floor: float = 0.1) -> GaussianMixture:
    """A mixture of probabilistic principal components fitted to the digits, (64,).

    Points are grouped by k-means; each group keeps `rank` principal directions, and the mean variance of the others as
    its isotropic part, not below `floor`^2 (pixels at the border never vary).

    Source: Tipping and Bishop (1999), Mixtures of probabilistic principal component analyzers, equations 7 and 8.
    """
    from sklearn.cluster import KMeans

    points = _digit_points()
    labels = torch.as_tensor(KMeans(components, n_init=1, random_state=seed).fit_predict(points.numpy()))
    groups = [points[labels == k] for k in range(components)]
    factors, scales = [], []
    for group in groups:
        values, vectors = torch.linalg.eigh(torch.cov(group.T, correction=0))
        rest = values[:-rank].mean().clamp_min(floor**2)
        factors.append(vectors[:, -rank:] * (values[-rank:] - rest).clamp_min(0).sqrt())
        scales.append(rest.sqrt())
    weights = torch.tensor([len(group) / len(points) for group in groups], dtype=torch.float64)
    means = torch.stack([group.mean(0) for group in groups])
    return GaussianMixture(means, LowRank(torch.stack(factors), torch.stack(scales)), weights)


_REGISTRY: dict[str, Callable[..., GaussianMixture]] = {
    "ring6": ring6,
    "aniso3": aniso3,
    "trio": trio,
    "trio-sharp": lambda: trio(0.5),
    "bimodal": bimodal,
    "digits": digits,
    "digits-mixture": digits_mixture,
    "scattered": scattered,
}


def names() -> list[str]:
    """Names that `get` knows.

    >>> "ring6" in names()
    True
    """
    return sorted(_REGISTRY)


def get(name: str, **parameters) -> GaussianMixture:
    """The named target; errors: `UnknownNameError` with the nearest known names.

    >>> get("bimodal").shape
    (1,)
    """
    if name not in _REGISTRY:
        raise unknown("target", name, _REGISTRY)
    return _REGISTRY[name](**parameters)
