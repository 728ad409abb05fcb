"""Antiderivatives tabulated once: piecewise Chebyshev series on panels that are halved until they converge."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import torch

POINTS = 24
TOLERANCE = 1e-13  # of the last coefficients, relative to the panel's largest
STALLED = 1e-11  # below: what halving does not improve is rounding
NARROWEST = 2.0**-12  # of the interval; narrower panels are kept as they are: their tail is rounding


class Antiderivative:
    """x -> int_high^x f, for x in [low, high]: zero at the upper end; vectorised, and with autograd in x.

    `f` maps a float64 tensor (n,) to one. Sums run from `high` down, each panel's integral exact for its series
    (Press et al. 2007, section 5.9).

    >>> table = Antiderivative(torch.exp, -3.0, 0.0)
    >>> abs(table(torch.tensor([-1.0], dtype=torch.float64)).item() - (math.exp(-1) - 1)) < 1e-15
    True
    """

    def __init__(self, f: Callable[[torch.Tensor], torch.Tensor], low: float, high: float):
        edges = torch.linspace(low, high, 17, dtype=torch.float64)
        pending = torch.stack([edges[:-1], edges[1:]], 1)
        starts, series = [], []
        nodes, transform = _rule()
        while len(pending):
            middle, half = pending.mean(1, keepdim=True), (pending[:, 1:] - pending[:, :1]) / 2
            values = f((middle + half * nodes).flatten()).reshape(len(pending), -1)
            coefficients = values @ transform.T
            tail = coefficients[:, -3:].abs().amax(1)
            done = tail <= TOLERANCE * coefficients.abs().amax(1)
            done |= half[:, 0] < NARROWEST * (high - low)
            starts.append(pending[done])
            series.append(half[done] * coefficients[done])
            middle, pending = middle[~done], pending[~done]
            pending = torch.cat([torch.cat([pending[:, :1], middle], 1), torch.cat([middle, pending[:, 1:]], 1)])
        panels = torch.cat(starts)
        order = panels[:, 0].argsort()
        integrated = np.polynomial.chebyshev.chebint(torch.cat(series)[order].numpy(), lbnd=1, axis=1)
        self.edges = torch.cat([panels[order][:, 0], panels[order][-1:, 1]])
        self.series = torch.from_numpy(integrated)
        whole = _clenshaw(self.series, torch.tensor(-1.0, dtype=torch.float64))
        above = whole.flip(0).cumsum(0).flip(0) - whole
        self.series[:, 0] += above

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        panel = (torch.searchsorted(self.edges, x.detach().contiguous(), right=True) - 1).clamp(0, len(self.series) - 1)
        left, right = self.edges[panel], self.edges[panel + 1]
        return _clenshaw(self.series[panel], (2 * x - left - right) / (right - left))


class Interpolant:
    """A vector-valued function tabulated on [low, high]: panels of one width, halved until all of them converge.

    A component has converged when its last coefficients are rounding beside its largest, or beside what ``units`` makes
    of the largest ones of all (panels, k); or when halving no longer helps, for `f` has rounding of that size. `f` maps
    increasing times (n,), a float64 tensor, to values (n, k): it sees them at once, so that it may march.

    >>> table = Interpolant(lambda x: torch.stack([x.sin(), x.cos()], 1), 0.0, 3.0)
    >>> table(torch.tensor([0.0, 1.5])).shape
    torch.Size([2, 2])
    """

    def __init__(
        self,
        f: Callable[[torch.Tensor], torch.Tensor],
        low: float,
        high: float,
        units: Callable[[torch.Tensor], torch.Tensor] = lambda sizes: sizes,
    ):
        nodes, transform = _rule()
        before = math.inf
        for count in (32, 64, 128, 256, 512):
            edges = torch.linspace(low, high, count + 1, dtype=torch.float64)
            middle, half = (edges[1:] + edges[:-1]) / 2, (high - low) / (2 * count)
            values = f((middle.unsqueeze(1) + half * nodes.flip(0)).flatten()).reshape(count, POINTS, -1).flip(1)
            self.series = torch.einsum("cj,pjk->pkc", transform, values)
            tails, sizes = self.series[..., -3:].abs().amax(2), self.series.abs().amax(2)
            tail = (tails / units(sizes).clamp(min=1e-300)).max().item()
            if tail <= TOLERANCE or before / 4 < tail < STALLED:
                break
            before = tail
        self.low, self.width = low, 2 * half

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        panel = ((x.detach() - self.low) / self.width).floor().clamp(0, len(self.series) - 1)
        left = self.low + self.width * panel
        return _clenshaw(self.series[panel.long()], (2 * (x - left) / self.width - 1).unsqueeze(-1))


def together(sizes: torch.Tensor) -> torch.Tensor:
    """The unit of components that make one matrix: the largest of all."""
    return sizes.amax(-1, keepdim=True).expand_as(sizes)


@functools.cache
def _rule() -> tuple[torch.Tensor, torch.Tensor]:
    """Chebyshev's nodes of the first kind, and the matrix that takes values there to coefficients."""
    angles = math.pi * (torch.arange(POINTS, dtype=torch.float64) + 0.5) / POINTS
    transform = torch.cos(torch.arange(POINTS, dtype=torch.float64).unsqueeze(1) * angles) * (2 / POINTS)
    transform[0] /= 2
    return torch.cos(angles), transform


def _clenshaw(coefficients: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    later, last = torch.zeros_like(x), torch.zeros_like(x)
    for k in range(coefficients.shape[-1] - 1, 0, -1):
        last, later = 2 * x * last - later + coefficients[..., k], last
    return x * last - later + coefficients[..., 0]
