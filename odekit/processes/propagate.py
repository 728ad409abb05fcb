"""The flow of a linear equation Y' = A(t) Y by Gauss-Legendre collocation, halved until two results agree."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch

from ..exceptions import OdekitError

STAGES = 10  # order 20
TOLERANCE = 2e-15
MOST = 1024


def propagate(A: Callable[[torch.Tensor], torch.Tensor], to: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """Psi_A(to, at), (..., n, n), for times of one shape (...), in either direction of time.

    `A` maps times (...) to matrices (..., n, n), smooth between the ends; a pole of A at t = 0 is no obstacle where
    both ends are positive, for pieces are then uniform in log t. Pieces are halved until two results agree to a few
    roundings of the largest entry, or to the best that rounding leaves. Raises `OdekitError` where they do not settle.
    Source: Hairer, Lubich and Wanner (2006), Geometric numerical integration, section II.1.3.

    >>> turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    >>> t = torch.tensor(2.0, dtype=torch.float64)
    >>> propagate(lambda t: t[..., None, None] * turn, t, 0 * t)      # a rotation by t^2/2 = 2
    tensor([[-0.4161, -0.9093],
            [ 0.9093, -0.4161]], dtype=torch.float64)
    """
    before, gap, pieces = None, float("inf"), 1
    while pieces <= MOST:
        now = _product(_steps(A, to, at, pieces))
        if before is not None:
            size = now.detach().abs().amax((-2, -1), keepdim=True).clamp(min=1e-300)
            new = ((now - before).detach().abs() / size).max().item() if now.numel() else 0.0
            if new <= TOLERANCE or (gap < 1e-12 and new >= gap / 4):
                return now if new <= gap else before
            gap = new
        before, pieces = now, 2 * pieces
    raise OdekitError(
        f"the flow of Y' = A(t) Y from t = {at.min().item():g} to {to.max().item():g} does not settle"
        f" ({MOST} pieces differ by {gap:.1e}); expected coefficients that are smooth between the ends"
    )


def _steps(A: Callable, to: torch.Tensor, at: torch.Tensor, pieces: int) -> torch.Tensor:
    """The collocation step over each piece, (..., pieces, n, n), first piece first."""
    share = torch.linspace(0, 1, pieces + 1, dtype=torch.float64)
    start, end = at.unsqueeze(-1), to.unsqueeze(-1)
    if bool((start > 0).all() and (end > 0).all()):
        edges = start * (end / start) ** share
    else:
        edges = start + (end - start) * share
    nodes, weights, matrix = _gauss()
    h = edges.diff(dim=-1)[..., None]
    values = A(edges[..., :-1, None] + h * nodes)  # (..., pieces, s, n, n)
    n = values.shape[-1]
    # K_i = A_i (I + h sum_j a_ij K_j), all stages at once
    mixed = -h[..., None, None, None] * matrix[:, None, :, None] * values.unsqueeze(-2)
    size = STAGES * n
    system = torch.eye(size, dtype=torch.float64) + mixed.reshape(*values.shape[:-3], size, size)
    stages = torch.linalg.solve(system, values.reshape(*values.shape[:-3], size, n)).reshape(values.shape)
    return torch.eye(n, dtype=torch.float64) + h[..., None] * (weights[:, None, None] * stages).sum(-3)


def _product(steps: torch.Tensor) -> torch.Tensor:
    """The steps composed, pairwise: later ones stand to the left."""
    while steps.shape[-3] > 1:
        steps = steps[..., 1::2, :, :] @ steps[..., ::2, :, :]
    return steps[..., 0, :, :]


@functools.cache
def _gauss() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Nodes, weights and matrix of Gauss collocation on [0, 1], through Legendre polynomials."""
    legendre = np.polynomial.legendre
    x, w = legendre.leggauss(STAGES)
    values = legendre.legvander(x, STAGES - 1)
    integrals = legendre.legval(x, legendre.legint(np.eye(STAGES), lbnd=-1, axis=0)).T
    matrix = np.linalg.solve(values.T, integrals.T).T / 2
    return torch.from_numpy((1 + x) / 2), torch.from_numpy(w / 2), torch.from_numpy(matrix)
