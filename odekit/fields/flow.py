"""The probability-flow ODE of a process and a target (or a model), in any prediction."""

from __future__ import annotations

from collections.abc import Callable

import torch

from odekit.exceptions import PredictionError, brief
from odekit.fields import predictions
from odekit.fields.matrix import MatrixModel, is_isotropic, prediction_on, require_states
from odekit.fields.operator_predictions import (
    OPERATOR_PREDICTIONS,
    OperatorPrediction,
    semilinear,
)
from odekit.fields.preconditioned import Preconditioned
from odekit.fields.predictions import Prediction
from odekit.targets.mixture import settled


class ProbabilityFlow:
    """x' = F x - G^2/2 score(x, t), written as x' = A x + B N with N the chosen prediction.

    ``target_or_model`` is a target (exact scores) or any callable ``model(x, t)`` with x of shape (B, *shape) and t a
    0-d float64 tensor in the process's time, that returns ``prediction``. ``flow.model`` is that model;
    ``flow(x, t)`` is dx/dt.
    On a process whose coefficients are operators (phase space, blurring) the predictions are "r-noise", "l-noise",
    "score", "velocity" and "edm", or a `Preconditioned` for data of another variance, and states are the process's:
    (B, n, *shape), or components in the DCT basis.
    Source: Song et al. 2021 (arXiv 2011.13456), eq. 13.

    >>> import odekit as ok
    >>> flow = ok.ProbabilityFlow(ok.VP(), ok.Gaussian([0.0], [[1.0]]), prediction="noise")
    >>> flow(torch.ones(1, 1), 0.5).abs().max().item() < 1e-15      # N(0, 1) is invariant under VP
    True
    """

    def __init__(self, process, target_or_model, prediction: str | Prediction = "noise"):
        if not (hasattr(process, "logsnr") or hasattr(process, "transition")):
            raise PredictionError(f"a flow needs a process, such as odekit.VP(); got {brief(process)}")
        self.process = process
        self.target = target_or_model if hasattr(target_or_model, "score") else None
        if self.target is None and not callable(target_or_model):
            raise PredictionError(
                f"a flow needs a target with a score or a model(x, t); got {type(target_or_model).__name__}"
            )
        self._given, self._prediction = prediction, prediction_on(process, prediction)
        exact = TargetModel if is_isotropic(process) else MatrixModel
        self.model: Callable = exact(process, self.target, self._prediction) if self.target else target_or_model
        self.shape = getattr(getattr(self.model, "marginals", self.target), "shape", ())

    @property
    def prediction(self) -> str | Prediction:
        """The prediction that ``model`` returns: its name, or the `Prediction` itself if it is the user's."""
        named = (predictions.PREDICTIONS, predictions.FRAMES, OPERATOR_PREDICTIONS)
        known = any(self._prediction == rows.get(self._prediction.name) for rows in named)
        given = self._given if isinstance(self._given, Preconditioned) else self._prediction
        return self._prediction.name if known else given

    def __call__(self, x: torch.Tensor, t: object) -> torch.Tensor:
        """dx/dt at states x (B, *shape) and process time t."""
        require_states(self.process, x)
        if isinstance(self.model, MatrixModel):
            return self.model.velocity(x, t)
        N = self.model(x, torch.as_tensor(t, dtype=torch.float64))
        if isinstance(self._prediction, OperatorPrediction):
            A, B = semilinear(self._prediction, self.process, t)
            return A.apply(x) + B.apply(N)
        A, B = self._prediction.evaluate("semilinear", self.process, t)
        return A * x + B * N

    def __repr__(self) -> str:
        return f"ProbabilityFlow({self.process!r}, {self.target or self.model!r}, prediction={self._prediction.name!r})"


class TargetModel:
    """The exact model of a target under a process: N(x, t) from scores and denoisers known in closed form."""

    def __init__(self, process, target, prediction: Prediction):
        self.process, self.target, self.prediction = process, target, prediction

    def __call__(self, x: torch.Tensor, t: object) -> torch.Tensor:
        """N(x, t) for x of shape (B, *shape); derivatives of any kind pass through t where it is a tensor."""
        t = settled(t)
        t = t if torch.is_tensor(t) else float(t)
        alpha, sigma = self.process.alpha(t), self.process.sigma(t)
        on_x, on_score, on_denoiser = self.prediction.evaluate("weights", self.process, t)
        terms = []
        if not _is_zero(on_x):
            terms.append(on_x * x)
        if not _is_zero(on_score):
            terms.append(on_score * self.target.score(x, alpha, sigma))
        if not _is_zero(on_denoiser):
            terms.append(on_denoiser * self.target.denoiser(x, alpha, sigma))
        return sum(terms[1:], terms[0]) if terms else torch.zeros_like(x)

    def prepare(self, times) -> Callable:
        """Bind the model to a list of times: ``call(k, x)`` does no scalar work. Times are process times."""
        times = torch.as_tensor(times, dtype=torch.float64).detach()
        alphas, sigmas = (f(times).tolist() for f in (self.process.alpha, self.process.sigma))
        weights = self.prediction.evaluate("weights", self.process, times)
        columns = [(w + torch.zeros_like(times)).tolist() for w in map(torch.as_tensor, weights)]
        return self.target.prepare(alphas, sigmas, list(zip(*columns, strict=True)))

    def __repr__(self) -> str:
        return f"{self.prediction.name} of {self.target!r}"


def _is_zero(weight) -> bool:
    return isinstance(weight, int | float) and weight == 0
