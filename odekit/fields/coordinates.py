"""Straight coordinates: y = x / a(t) and a clock tau(t) in which x' = A x + B N becomes dy/dtau = N.

Every prediction has them. Those of the velocity are the raw ones (a = 1, tau = t), those of the noise are
(alpha, sigma/alpha), those of the data (sigma, alpha/sigma): a Runge-Kutta method is written once and runs in any of
them. The same object serves tensors, formal rows, fifty-digit numbers and vectors over steps: it only multiplies and
adds what it is given, and asks its ``oracle`` for model outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from odekit.exceptions import PredictionError
from odekit.expressions import FLOAT64, Field
from odekit.fields.predictions import Prediction, conversion, prediction, scalar_prediction


@dataclass(eq=False)
class Instant:
    """A point of the grid (or between its nodes): its time, the time the network is told, its index on the grid.

    Each is a number of any kind, or a vector of them over the steps of a segment.
    """

    time: Any
    network: Any = None
    index: Any = None
    memo: dict = field(default_factory=dict)

    def __post_init__(self):
        if self.network is None:
            self.network = self.time


CLOSED = {"velocity": None, "noise": "kappa", "r-noise": "kappa", "l-noise": "kappa", "data": "alpha_over_sigma"}
"""Predictions whose straight clock is closed, with the process's function for it (None: time itself)."""


class Coordinates:
    """Straight coordinates of ``into`` for a field whose model returns the field's own prediction.

    ``oracle(x, time)`` answers raw model outputs; ``numbers`` is the number field in use.
    """

    def __init__(self, flow, into: str | Prediction, oracle: Callable | None = None, numbers: Field = FLOAT64):
        self.process = flow.process
        self.oracle = oracle or flow.model
        self.numbers = numbers
        self.source = prediction(flow.prediction)
        self.prediction = scalar_prediction(into, self.process)
        if self.process is None and self.prediction.name != "velocity":
            raise PredictionError(
                f"{flow!r} is a plain field: it has no {self.prediction.name} prediction; use a ProbabilityFlow, "
                "or a method formulated for the velocity"
            )

    # -- time -----------------------------------------------------------------------------------------------------

    def clock(self, at: Instant, name: str | None = None):
        """The value of a clock at an instant: "t", "logsnr", "kappa", "index"; None is the straight clock tau."""
        if name is None:
            if self.prediction.name not in CLOSED:
                raise PredictionError(
                    f"prediction {self.prediction.name!r} has no closed straight clock; use one of {', '.join(CLOSED)}"
                )
            name = CLOSED[self.prediction.name] or "t"
        if name == "t":
            return at.time
        if name == "index":
            return at.index
        if name not in at.memo:
            at.memo[name] = getattr(self.process, name)(at.time)
        return at.memo[name]

    def between(self, at: Instant, to: Instant, c, clock: str | None = None) -> Instant:
        """The instant a fraction c of the way in tau, or in another clock; c = 0 and c = 1 are the grid's own nodes."""
        if c == 0 or c == 1:
            return to if c else at
        start = self.clock(at, clock)
        value = start + c * (self.clock(to, clock) - start)
        name = clock or CLOSED[self.prediction.name]
        return Instant(value) if name in (None, "t") else Instant(getattr(self.process, f"time_at_{name}")(value))

    # -- space ----------------------------------------------------------------------------------------------------

    def scale(self, at: Instant):
        """a(t), the integrating factor of A."""
        if self.prediction.name == "velocity":
            return 1
        if self.prediction not in at.memo:
            (at.memo[self.prediction],) = self.prediction.evaluate("scale", self.process, at.time)
        return at.memo[self.prediction]

    def enter(self, x, at: Instant):
        """y = x / a(t)."""
        return x if self.prediction.name == "velocity" else x * (1 / self.scale(at))

    def leave(self, y, at: Instant):
        """x = a(t) y."""
        return y if self.prediction.name == "velocity" else y * self.scale(at)

    # -- the field ------------------------------------------------------------------------------------------------

    def predict(self, x, at: Instant):
        """This prediction at (x, t), from one raw model output; its time is the one the network is told."""
        raw = self.oracle(x, at.network)
        if self.source == self.prediction:
            return raw
        if self.process is None:
            return raw
        pair = (self.source, self.prediction)
        if pair not in at.memo:  # implicit methods ask at the same instant again and again
            at.memo[pair] = conversion(*pair, self.process, at.network)
        c, d = at.memo[pair]
        return c * raw + d * x

    def slope(self, N, at: Instant):
        """dy/dtau from this prediction: itself."""
        return N

    def __call__(self, y, at: Instant):
        """dy/dtau at straight coordinates y."""
        return self.slope(self.predict(self.leave(y, at), at), at)


def dot(coefficients, vectors):
    """sum_j c_j v_j without the terms whose coefficient is exactly zero; the sum of nothing is the absorbing ZERO."""
    total = ZERO
    for c, v in zip(coefficients, vectors, strict=False):
        if not (isinstance(c, int) and c == 0):
            total = total + c * v
    return total


class _Zero:
    """Nothing: neutral in sums, absorbing in products, whatever stands on the other side."""

    __array_ufunc__ = None

    def __add__(self, other):
        return other

    __radd__ = __add__

    def __sub__(self, other):
        return -1 * other

    def __rsub__(self, other):
        return other

    def __mul__(self, other):
        return self

    __rmul__ = __mul__
    __neg__ = __pos__ = lambda self: self


ZERO = _Zero()


def as_time(t) -> torch.Tensor:
    """A time as the 0-d float64 CPU tensor that models are given."""
    return t if torch.is_tensor(t) else torch.tensor(float(t), dtype=torch.float64)
