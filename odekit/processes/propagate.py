"""The flow of a linear equation Y' = A(t) Y by Gauss-Legendre collocation, halved until two results agree."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..exceptions import OdekitError
from ..operators import Operator

STAGES = 10  # order 20
TOLERANCE = 4e-15
MOST = 1024


def halved(result: Callable[[int], Any], gap: Callable[[Any, Any], float], what: str) -> Any:
    """`result(pieces)` for 1, 2, 4, ... pieces, until two agree to a few roundings, or as well as rounding lets them.

    `gap` measures the difference of two results. Raises `OdekitError`, naming `what`, where they do not settle.

    >>> halved(lambda pieces: 1 + 16.0**-pieces, lambda a, b: abs(a - b), "the sum")
    1.0
    """
    before, last, pieces = None, float("inf"), 1
    while pieces <= MOST:
        now = result(pieces)
        if before is not None:
            new = gap(now, before)
            if new <= TOLERANCE or (last < 1e-12 and new >= last / 4):
                return now
            last = new
        before, pieces = now, 2 * pieces
    raise OdekitError(
        f"{what} does not settle ({MOST} pieces differ by {last:.1e}); expected coefficients that are smooth between"
        " the ends"
    )


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
    if not to.numel():
        return to.new_zeros(*to.shape, *A(to).shape[-2:])

    def gap(now: torch.Tensor, before: torch.Tensor) -> float:
        size = now.detach().abs().amax((-2, -1), keepdim=True).clamp(min=1e-300)
        return ((now - before).detach().abs() / size).max().item()

    return halved(lambda pieces: _product(_steps(A, to, at, pieces)), gap, _named("the flow of Y' = A(t) Y", to, at))


def propagated(A: Callable[[torch.Tensor], Operator], to: torch.Tensor, at: torch.Tensor) -> Operator:
    """Psi_A(to, at) of operators: `A` maps a vector of times to an operator over them, a `Block` or a `Diagonal`.

    Times are float64 tensors of any shapes that fit each other, or floats; the result is an operator over them. What
    commutes is the exponential of an integral, by the same rule.

    >>> from odekit.processes import PSLD
    >>> process = PSLD()
    >>> gap = propagated(process.drift, 0.2, 0.9) - process.transition(0.2, 0.9)
    >>> gap.value.abs().max().item() < 1e-11
    True
    """
    if not all(isinstance(t, (float, int, torch.Tensor)) for t in (to, at)):
        raise OdekitError(f"collocation runs in float64: expected floats or tensors, not {type(to).__name__}")
    to, at = torch.broadcast_tensors(*(torch.as_tensor(t, dtype=torch.float64) for t in (to, at)))
    carrier = type(A(at.flatten()[:1]))
    if carrier.own_axes == 2:
        return carrier(propagate(lambda t: A(t.flatten()).value.unflatten(0, t.shape), to, at))

    def integral(pieces: int) -> torch.Tensor:
        nodes, h = _nodes(to, at, pieces)
        rates = A(nodes.flatten()).value
        masses = (h[..., None] * _gauss()[1]).reshape(*nodes.shape, *(1,) * (rates.ndim - 1))
        return (masses * rates.reshape(*nodes.shape, *rates.shape[1:])).sum((to.ndim, to.ndim + 1))

    def gap(now: torch.Tensor, before: torch.Tensor) -> float:
        return (now - before).detach().abs().max().item()

    return carrier(torch.exp(halved(integral, gap, _named("the integral of A(t)", to, at))))


def _named(what: str, to: torch.Tensor, at: torch.Tensor) -> str:
    return f"{what} from t = {at.min().item():g} to {to.max().item():g}"


def _nodes(to: torch.Tensor, at: torch.Tensor, pieces: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The nodes of each piece (..., pieces, s), and its signed length (..., pieces)."""
    share = torch.linspace(0, 1, pieces + 1, dtype=torch.float64)
    start, end = at.unsqueeze(-1), to.unsqueeze(-1)
    if bool((start > 0).all() and (end > 0).all()):
        edges = start * (end / start) ** share
    else:
        edges = start + (end - start) * share
    h = edges.diff(dim=-1)
    return edges[..., :-1, None] + h[..., None] * _gauss()[0], h


def _steps(A: Callable, to: torch.Tensor, at: torch.Tensor, pieces: int) -> torch.Tensor:
    """The collocation step over each piece, (..., pieces, n, n), first piece first."""
    nodes, h = _nodes(to, at, pieces)
    _, weights, matrix = _gauss()
    values, h = A(nodes), h[..., None, None]  # (..., pieces, s, n, n)
    n = values.shape[-1]
    # K_i = A_i (I + h sum_j a_ij K_j), all stages at once
    mixed = -h[..., None, None] * matrix[:, None, :, None] * values.unsqueeze(-2)
    size = STAGES * n
    system = torch.eye(size, dtype=torch.float64) + mixed.reshape(*values.shape[:-3], size, size)
    stages = torch.linalg.solve(system, values.reshape(*values.shape[:-3], size, n)).reshape(values.shape)
    return torch.eye(n, dtype=torch.float64) + h * (weights[:, None, None] * stages).sum(-3)


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
