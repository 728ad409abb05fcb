"""Pairs of floats: sums and products of float64 tensors carried with their rounding errors.

On a ridge between two modes the log-weights are two numbers of size |x - m|^2 / sigma^2 whose difference decides
everything; float64 alone loses that many digits of it. Here they are evaluated as unevaluated sums (high, low), about
32 digits, at three times the cost of the plain evaluation: worth it for small mixtures, which serve as ground truth.

Source: Dekker (1971), A floating-point technique for extending the available precision, sections 4 and 5; Ogita, Rump
and Oishi (2005), Accurate sum and dot product, algorithms 3.1 to 3.5.
"""

from __future__ import annotations

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]

_SPLITTER = 2.0**27 + 1.0


def two_sum(a: Tensor, b: Tensor) -> Pair:
    """a + b as (rounded sum, its exact error); float64 tensors of broadcastable shapes."""
    total = a + b
    kept = total - a
    return total, (a - (total - kept)) + (b - kept)


def _halves(a: Tensor) -> Pair:
    scaled = _SPLITTER * a
    high = scaled - (scaled - a)
    return high, a - high


def two_product(a: Tensor, b: Tensor) -> Pair:
    """a * b as (rounded product, its exact error), for |a|, |b| below 1e300 and products above 1e-290."""
    product = a * b
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    return product, ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2


def add(a: Pair, b: Pair) -> Pair:
    """Sum of two pairs, normalised."""
    high, low = two_sum(a[0], b[0])
    return two_sum(high, low + (a[1] + b[1]))


def scale(a: Pair, factor: Tensor) -> Pair:
    """Product of a pair with a float."""
    high, low = two_product(a[0], factor)
    return two_sum(high, low + a[1] * factor)


def square(value: float) -> Pair:
    """The square of a python float as a pair of 0-d tensors."""
    tensor = torch.tensor(value, dtype=torch.float64)
    return two_product(tensor, tensor)


def total(a: Pair) -> Pair:
    """Sum over the last axis of a pair."""
    result = a[0][..., 0], a[1][..., 0]
    for i in range(1, a[0].shape[-1]):
        result = add(result, (a[0][..., i], a[1][..., i]))
    return result


def gram(factors: Tensor, scale_: Tensor) -> Pair:
    """`F F^T + s^2 I` as a pair, for factors (K, d, r) and s (K,)."""
    high, low = two_product(factors.unsqueeze(2), factors.unsqueeze(1))
    eye = torch.eye(factors.shape[1], dtype=torch.float64)
    diagonal = tuple(part.view(-1, 1, 1) * eye for part in two_product(scale_, scale_))
    return add(total((high, low)), diagonal) if factors.shape[2] else diagonal


def noised(exact: Pair, alpha: float, sigma: float) -> Pair:
    """`alpha^2 S + sigma^2 I` as a pair: S given as tables of eigenvalues (K, n) or as matrices (K, d, d)."""
    (a1, a2), (s1, s2) = square(alpha), square(sigma)
    product = scale(exact, a1)
    unit = (
        torch.eye(exact[0].shape[-1], dtype=torch.float64) if exact[0].ndim == 3 else torch.ones(1, dtype=torch.float64)
    )
    return add(two_sum(product[0], product[1] + exact[0] * a2), (s1 * unit, s2 * unit))


def residual(y: Pair, covariance: Pair, u: Tensor) -> Pair:
    """`y - C u` as a pair (B, K, d), for C as in `noised`."""
    high, low = covariance
    if high.ndim == 2:
        return add(y, scale((-high, -low), u))
    result = y
    for j in range(high.shape[-1]):
        result = add(result, scale((-high[:, :, j], -low[:, :, j]), u[..., j : j + 1]))
    return result


def quadratic(y: Pair, rest: Pair, u: Tensor) -> Pair:
    """`y^T C^-1 y` as a pair (B, K), from u ~ C^-1 y and its residual `rest = y - C u`.

    The form u . (y + rest) is stationary at u = C^-1 y: its relative error is the square of u's.
    """
    sides = add(y, rest)
    return total(scale(sides, u))
