"""Exponentials of matrices that keep the digits of small entries, for float64 tensors and for mpmath numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

DEGREE = 15  # of the Taylor polynomial: 0.5^16/16! is 7e-19


def exponential(B: Any) -> Any:
    """exp(B) of matrices (..., n, n): a float64 tensor (with autograd), or an object array (n, n) of mpmath numbers.

    exp(tr B/n) times the exponential of what has no trace, of which a multiple eigenvalue leaves a nilpotent matrix: a
    polynomial. Scaling and squaring of a Taylor polynomial, four powers at a time (Higham 2008, Functions of matrices,
    sections 4.2 and 10.3), so that entries of the order of a power of B are sums of such powers alone.

    >>> exponential(torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64) * 1e-3)[0, 2]
    tensor(5.0000e-07, dtype=torch.float64)
    """
    if not isinstance(B, torch.Tensor):
        from mpmath import mp

        return np.array(mp.expm(mp.matrix(B.tolist())).tolist(), object)
    n = B.shape[-1]
    eye = torch.eye(n, dtype=torch.float64)
    mean = B.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None] / n
    rest = B - mean * eye
    size = rest.detach().abs().sum(-2).max().item() if rest.numel() else 0.0
    squarings = max(0, math.ceil(math.log2(2 * size))) if size > 0 else 0
    first = rest * 2.0**-squarings
    second = first @ first
    third, fourth, total = second @ first, second @ second, None
    for k in range(DEGREE - 3, -1, -4):
        part = torch.add(eye / math.factorial(k), first, alpha=1 / math.factorial(k + 1))
        part = torch.add(part, second, alpha=1 / math.factorial(k + 2))
        part = torch.add(part, third, alpha=1 / math.factorial(k + 3))
        total = part if total is None else total @ fourth + part
    for _ in range(squarings):
        total = total @ total
    return torch.exp(mean) * total
