"""Q_t of R_t = L_t Q_t, the factor of a covariance that follows the flow: an angle, or a matrix of SO(n), tabulated.

R' = (F + 1/2 G G^T Sigma^-1) R with R = L Q and Sigma = L L^T gives

    L^-1 L' + Q' Q^T = X,    X = L^-1 F L + 1/2 L^-1 G G^T L^-T.

L^-1 L' is lower triangular and Q' Q^T skew, so the entries above the diagonal determine the rotation: Q' = Omega Q with
Omega_ij = X_ij for i < j. With two channels Q is a rotation by the angle theta, theta' = -X_xm.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from .chebyshev import Interpolant, together
from .propagate import propagate


class Turning:
    """t -> Q_t in SO(n) with dQ/dlog t = Omega Q, Q = I at `high`, tabulated in log t on [low, high].

    ``rates`` maps log t (m,) to Omega (m, n, n), which is tabulated first. Gauss collocation keeps Q orthogonal to
    rounding, and so does a Newton step after interpolation (Higham 2008, Functions of matrices, section 8.3).

    >>> turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    >>> table = Turning(lambda log_t: turn.expand(len(log_t), 3, 3), 0.1, 1.0)
    >>> round(table(torch.tensor([math.exp(-1)], dtype=torch.float64))[0, 0, 1].item(), 12) == round(math.sin(1), 12)
    True
    """

    def __init__(self, rates: Callable[[torch.Tensor], torch.Tensor], low: float, high: float):
        self.low, (low, high) = low, (math.log(low), math.log(high))

        def march(log_t: torch.Tensor) -> torch.Tensor:
            nodes = torch.cat([log_t, log_t.new_tensor([high])]) - high
            steps = propagate(lambda u: _square(known(u + high)), nodes[:-1], nodes[1:])
            found = [torch.eye(steps.shape[-1], dtype=torch.float64)]
            for step in steps.flip(0):
                found.append(step @ found[-1])
            return torch.stack(found[:0:-1]).flatten(1)

        with torch.no_grad():
            known = Interpolant(lambda log_t: rates(log_t).flatten(1), low, high, together)
            self.table = Interpolant(march, low, high, together)

    def __call__(self, t: torch.Tensor) -> torch.Tensor:
        Q = _square(self.table(torch.log(t.clamp(min=self.low))))
        return 1.5 * Q - 0.5 * Q @ Q.mT @ Q


def _square(flat: torch.Tensor) -> torch.Tensor:
    return flat.unflatten(-1, 2 * (math.isqrt(flat.shape[-1]),))
