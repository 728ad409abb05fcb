"""The reverse SDEs of a process: all with the marginals of its probability flow, which is the one without noise.

For a forward process dx = F x dt + G dw and every eta, run down in time,

    dx = [F x - (1 + eta^2)/2 G G^T score(x, t)] dt + eta G dw.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from odekit.exceptions import PredictionError
from odekit.fields.flow import ProbabilityFlow
from odekit.fields.matrix import Acting, is_isotropic
from odekit.fields.predictions import Prediction
from odekit.fields.weights import converged, gauss
from odekit.operators import Block, Operator, Scalar
from odekit.processes.entries import block
from odekit.processes.linear import exponentials

POINTS = 8


class ReverseSDE:
    """dx = [F x - (1 + eta^2)/2 G G^T score] dt + eta G dw, down in time: the same marginals for every ``eta``.

    ``target_or_model``, ``prediction`` and states as in `ProbabilityFlow`; ``eta`` = 1 is the time reversal of the
    process, ``eta`` = 0 the probability flow itself, which is `flow`. ``sde.drift(x, t)`` is dx/dt without the noise,
    ``sde.noise(t)`` is eta G, an operator. Raises PredictionError for an eta that is negative or not finite.
    Source: Song et al. 2021 (arXiv 2011.13456), eq. 6; the family: Zhang & Chen 2023 (arXiv 2204.13902), eq. 4.

    >>> import odekit as ok
    >>> sde = ok.ReverseSDE(ok.VP(), ok.Gaussian([0.0], [[1.0]]))
    >>> x = torch.ones(1, 1).double()
    >>> torch.allclose(sde.drift(x, 0.5), -ok.VP().drift(0.5) * x)      # N(0, 1) is invariant under VP
    True
    """

    def __init__(self, process, target_or_model, eta: float = 1.0, prediction: str | Prediction = "noise"):
        if not (isinstance(eta, int | float) and 0 <= eta < math.inf):
            raise PredictionError(f"eta = {eta!r}: expected a number, 0 (probability flow) or more (1: time reversal)")
        self.flow = ProbabilityFlow(process, target_or_model, prediction)
        self.eta = float(eta)
        self.process, self.target, self.shape = process, self.flow.target, self.flow.shape
        self.model: Callable = self.flow.model

    @property
    def prediction(self) -> str | Prediction:
        """The prediction that ``model`` returns."""
        return self.flow.prediction

    def drift(self, x: torch.Tensor, t: object) -> torch.Tensor:
        """F x - (1 + eta^2)/2 G G^T score at states x (B, *shape) and process time t."""
        square = self.eta**2
        return (1 + square) * self.flow(x, t) - square * linear(self.process, t).apply(x)

    def noise(self, t: object) -> Operator:
        """eta G_t, lower triangular where it is a matrix."""
        return self.eta * noise(self.process, t)

    def __repr__(self) -> str:
        of = self.target or self.model
        return f"ReverseSDE({self.process!r}, {of!r}, eta={self.eta:g}, prediction={self.flow._prediction.name!r})"


def linear(process: Any, t: Any) -> Operator:
    """F_t of dx = F x dt + G dw, on any process."""
    F = process.drift(t)
    return Scalar(F) if is_isotropic(process) else F


def noise(process: Any, t: Any) -> Operator:
    """G_t of dx = F x dt + G dw, on any process: the lower factor of G G^T."""
    return (Scalar(process.diffusion_squared(t)) if is_isotropic(process) else process.diffusion(t)).factor()


def coefficient(operator: Operator) -> Any:
    """An operator in front of states and rows: a number where it is one."""
    return operator.value if isinstance(operator, Scalar) else Acting(operator)


# ------------------------------------------------------------ phase space: F = damping + coupling


def damping(drift: Block) -> Block:
    """The diagonal of F, by which position and momentum each lose what the noise brings in."""
    values = drift.value
    return block(lambda words, a, d: ((a, 0 * a), (0 * d, d)), values[..., 0, 0], values[..., 1, 1])


def relaxation(f: Any, at: Any, to: Any, eta: float, coupled: bool = False) -> tuple[Acting, Acting]:
    """(E, K) of the exact step x' = E x + K z from time ``at`` down to ``to`` of an Ornstein-Uhlenbeck part, in phase
    space; z is standard normal.

    The part is dx = eta^2 damping x + eta G dw in the reverse clock; ``coupled`` adds the coupling of x and m, which
    time reversal turns round: its sign is changed. Exact for F_t = beta(t) F and G_t^2 = beta(t) D.
    Source: Dockhorn, Vahdat & Kreis 2022 (arXiv 2112.07068), appendix D (coupled); the diagonal one is a textbook's.
    """
    drift, spread = _accumulated(f, at, to)
    decay = damping(drift)
    rate = eta**2 * decay
    if coupled:
        rate = rate - (drift - decay)
    entries = [rate.value[..., i, j] for i in range(2) for j in range(2)]

    def values(count: int) -> list:
        nodes, masses = gauss(f, count, at.time)
        E = block(_exponential, *(nodes * entry for entry in entries))
        return [((eta**2 * masses)[..., None, None] * (E @ spread @ E.transpose()).value).sum(0)]

    (covariance,) = converged(f, values, POINTS)
    return Acting(block(_exponential, *entries)), Acting(Block(covariance).factor())


def _accumulated(f: Any, at: Any, to: Any) -> tuple[Block, Block]:
    """The integrals of F and of G G^T over the times between two instants."""
    length = at.time - to.time

    def values(count: int) -> list:
        nodes, masses = gauss(f, count, length)
        times, masses = to.time + nodes * length, (masses * length)[..., None, None]
        return [(masses * part(times).value).sum(0) for part in (f.process.drift, f.process.diffusion)]

    drift, spread = converged(f, values, POINTS)
    return Block(drift), Block(spread)


def _exponential(words: Any, a: Any, b: Any, c: Any, d: Any) -> tuple:
    half = (a - d) / 2
    even, odd = exponentials(words, (a + d) / 2, half * half + b * c)
    return (even + odd * half, odd * b), (odd * c, even - odd * half)
