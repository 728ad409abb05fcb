"""The probability flow and its coordinates where coefficients are operators: phase space, blurring.

The same step code runs there: a coefficient is an `Acting`, and its product with a state or a row applies the operator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from odekit.exceptions import PredictionError
from odekit.expressions import FLOAT64, Field
from odekit.fields.coordinates import Coordinates, Instant
from odekit.fields.operator_predictions import OperatorPrediction, conversion, operator_prediction
from odekit.fields.predictions import Prediction, scalar_prediction
from odekit.fields.predictions import prediction as resolve
from odekit.operators import Operator


def is_isotropic(process: Any) -> bool:
    """Whether coefficients of a process (None: a plain field) are numbers."""
    return getattr(process, "carrier", "scalar") == "scalar"


def prediction_on(process: Any, name: Any) -> Prediction | OperatorPrediction:
    """The prediction called ``name`` on a process: of numbers, or of operators where its coefficients are."""
    return scalar_prediction(name, process) if is_isotropic(process) else operator_prediction(resolve(name), process)


def require_states(process: Any, x: Any) -> None:
    """Raises OperatorError unless x is a state of a process that has a form for them: (B, n, *shape), (B, *shape).

    A model of one's own may take any shape, and the velocity's coefficients are numbers: nothing else would notice.
    """
    if not is_isotropic(process):
        process.check_states(x)


class Acting:
    """An operator in front of states (B, *shape) and rows: a product applies it.

    >>> from odekit.operators import Block
    >>> (Acting(Block([[0.0, 1.0], [-1.0, 0.0]])) * torch.tensor([[1.0, 2.0]])).tolist()
    [[2.0, -1.0]]
    """

    __slots__ = ("operator",)

    def __init__(self, operator: Operator):
        self.operator = operator

    def __mul__(self, x: Any) -> Any:
        return self.operator.apply(x) if torch.is_tensor(x) else x * self.operator


class MatrixCoordinates(Coordinates):
    """`Coordinates` of a flow whose coefficients are operators: raw ones, for every prediction.

    The clocks are "t" and "index"; integrating factors enter through `odekit.fields.weights` as operators.
    """

    def __init__(self, flow, into: Any, oracle: Callable | None = None, numbers: Field = FLOAT64):
        self.process = flow.process
        self.oracle = oracle or flow.model
        self.numbers = numbers
        self.source = operator_prediction(resolve(flow.prediction), self.process)
        self.prediction = operator_prediction(resolve(into), self.process)

    def clock(self, at: Instant, name: str | None = None):
        if name in (None, "t") and (name or self.prediction.name == "velocity"):
            return at.time
        if name == "index":
            return at.index
        if name is None:
            raise self._not_straight()
        raise PredictionError(
            f"{self.process!r} has no clock {name!r} for {self.prediction.name!r}; its clocks: t, index"
        )

    def scale(self, at: Instant):
        if self.prediction.name == "velocity":
            return 1
        raise self._not_straight()

    def _not_straight(self) -> PredictionError:
        return PredictionError(
            f"prediction {self.prediction.name!r} on {self.process!r} has no straight coordinates: a Runge-Kutta method"
            " runs there with coordinates='lawson', any that needs them in the velocity"
        )

    def predict(self, x, at: Instant):
        raw = self.oracle(x, at.network)
        if self.source == self.prediction:
            return raw
        pair = (self.source, self.prediction)
        if pair not in at.memo:
            at.memo[pair] = tuple(Acting(c) for c in conversion(*pair, self.process, at.network))
        c, d = at.memo[pair]
        return c * raw + d * x


class MatrixModel:
    """The exact model of a target under a process with operators: N(x, t) from the score of its marginals."""

    def __init__(self, process, target, prediction: OperatorPrediction):
        from odekit import targets

        self.process, self.target, self.prediction = process, target, prediction
        self.marginals = targets.under(process, target)

    def __call__(self, x: torch.Tensor, t: object) -> torch.Tensor:
        """N(x, t) for states x of the process's own shape."""
        c, d = self._weights(t)
        score = self.marginals.score(x, t)
        return c.apply(score) if d is None else c.apply(score) + d.apply(x)

    def _weights(self, t: Any) -> tuple[Operator, Operator | None]:
        """(C, D) with N = C score + D x."""
        if self.prediction.name == "velocity":
            return -0.5 * self.process.diffusion(t), self.process.drift(t)
        back = self.prediction.inverse(self.process, t)
        return back, None if self.prediction.skip is None else -(back @ self.prediction.skip(self.process, t))

    def velocity(self, x: torch.Tensor, t: object) -> torch.Tensor:
        """dx/dt = F x - G G^T score / 2, which asks for no prediction."""
        return self.process.drift(t).apply(x) - (0.5 * self.process.diffusion(t)).apply(self.marginals.score(x, t))

    def prepare(self, times) -> Callable:
        """Bind the model to a list of times: ``call(k, x)`` finds laws and operators ready."""
        times = torch.as_tensor(times, dtype=torch.float64).detach()
        c, d = self._weights(times)
        laws = self.marginals.laws(times)
        weights = [tuple(one if one is None else _at_step(one, k) for one in (c, d)) for k in range(len(laws))]

        def call(k: int, x: torch.Tensor) -> torch.Tensor:
            c, d = weights[k]
            image = c.apply(laws[k].score(x))
            return image if d is None else image + d.apply(x)

        return call

    def __repr__(self) -> str:
        return f"{self.prediction.name} of {self.target!r}"


def _at_step(operator: Operator, k: int) -> Operator:
    """The operator of step k, of one that may be the same at all of them."""
    return operator[k] if getattr(operator.value, "ndim", 0) > operator.own_axes else operator
