"""Predictions on processes whose coefficients are operators (phase space, blurring): score = C_skip x + C_out N.

Their semilinear form x' = A x + B N follows from x' = F x - G G^T score / 2:

    A = F - G G^T C_skip / 2,    B = -G G^T C_out / 2.

With C_skip = 0 and C_out = -K^-T, K K^T = Sigma, N is the noise in the frame of K: the Cholesky factor L ("l-noise")
or the factor R that moves with the flow, R' = F R + G G^T R^-T / 2 ("r-noise"), for which B = (d/dt - F) R, so that

    int_t^s Psi(s, r) B_r dr = R_s - Psi(s, t) R_t.

Source: Zhang, Tao & Chen 2023 (gDDIM, arXiv 2206.05564), eqs. 6, 16 and 17; Karras et al. 2022 (arXiv 2206.00364),
eq. 7, for C_skip.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from odekit.exceptions import OperatorError, PredictionError, brief
from odekit.fields.preconditioned import Coefficients, Preconditioned
from odekit.operators import Operator, Scalar, identity


@dataclass(frozen=True)
class OperatorPrediction:
    """N with score = C_skip(t) x + C_out(t) N, from functions (process, t) -> `Operator`.

    ``into``: C_out^-1 where it is known closed. ``propagator``: Psi_A(process, to, at) where it is known closed, by
    default the process's own transition, which is right without C_skip. ``primitive``: M(process, t) with
    int Psi_A(s, r) B_r dr = M_s - Psi_A(s, t) M_t, on the processes that ``has_primitive`` tells, by default all.

    >>> half = OperatorPrediction("half", out=lambda process, t: Scalar(-0.5))
    >>> half.inverse(None, 0.3).value
    -2.0
    """

    name: str
    out: Callable[[Any, Any], Operator]
    into: Callable[[Any, Any], Operator] | None = None
    skip: Callable[[Any, Any], Operator] | None = None
    propagator: Callable[[Any, Any, Any], Operator] | None = None
    primitive: Callable[[Any, Any], Operator] | None = None
    has_primitive: Callable[[Any], bool] | None = None

    def primitive_on(self, process: Any) -> Callable[[Any, Any], Operator] | None:
        """`primitive` if there is one on this process."""
        return self.primitive if self.has_primitive is None or self.has_primitive(process) else None

    def inverse(self, process: Any, t: Any) -> Operator:
        """C_out^-1."""
        return self.into(process, t) if self.into else self.out(process, t).inverse()

    def semilinear(self, process: Any, t: Any) -> tuple[Operator, Operator]:
        """(A, B) of x' = A x + B N at times t."""
        drift = process.drift(t)
        if self.skip is not None:
            drift = drift - 0.5 * process.diffusion(t) @ self.skip(process, t)
        return drift, self.forcing(process, t)

    def forcing(self, process: Any, t: Any) -> Operator:
        """B of x' = A x + B N at times t."""
        return -(0.5 * process.diffusion(t) @ self.out(process, t))

    def __reduce__(self) -> tuple:
        """Pickled by its name or its data's variance, so that a copy is the same; one of your own by its functions."""
        if OPERATOR_PREDICTIONS.get(self.name) is self:
            return _named, (self.name,)
        owner = getattr(self.out, "__self__", None)
        if isinstance(owner, Coefficients):
            return _preconditioned, (Preconditioned(owner.data_variance),)
        return type(self), tuple(getattr(self, field.name) for field in fields(self))


def _noise(name: str, kind: str) -> OperatorPrediction:
    def factor(process: Any, t: Any) -> Operator:
        return process.factor(t, kind=kind)

    def out(process: Any, t: Any) -> Operator:
        K = factor(process, t)
        try:
            return -K.inverse().transpose()
        except OperatorError:
            raise OperatorError(
                f"{type(process).__name__}: {name} is -K^T score with K K^T = Sigma_t, and Sigma_t is singular at"
                f" t = {_first(t):g}; expected times t > 0 and noise or an initial variance that reaches every channel"
            ) from None

    return OperatorPrediction(
        name,
        out=out,
        into=lambda process, t: -factor(process, t).transpose(),
        primitive=factor,
        has_primitive=None if kind == "R" else _moves_with_the_flow,
    )


def _first(t: Any) -> float:
    """The least of one or several times."""
    return float(t.min() if hasattr(t, "min") else t)


def _is_diagonal(process: Any) -> bool:
    return process.carrier == "diagonal"


def _moves_with_the_flow(process: Any) -> bool:
    """Whether L is R: where components, or the only channel, have a standard deviation each."""
    return _is_diagonal(process) or process.channels == 1


@functools.cache  # predictions are the same where their functions are
def _preconditioned(prediction: Preconditioned) -> OperatorPrediction:
    found = Coefficients(prediction.data_variance)
    return OperatorPrediction(
        prediction.name, found.out, found.into, found.skip, found.propagator, found.primitive, _is_diagonal
    )


VELOCITY = OperatorPrediction("velocity", out=lambda process, t: -2 * process.diffusion(t).inverse())
"""N = x': all of the flow, so that A = 0 and B = 1; where G G^T is singular, as in phase space, no score follows."""

OPERATOR_PREDICTIONS = {
    "velocity": VELOCITY,
    "score": OperatorPrediction("score", out=lambda process, t: identity, into=lambda process, t: identity),
    "r-noise": _noise("r-noise", "R"),
    "l-noise": _noise("l-noise", "L"),
    "edm": _preconditioned(Preconditioned()),
}


def _named(name: str) -> OperatorPrediction:
    return OPERATOR_PREDICTIONS[name]


def operator_prediction(prediction: Any, process: Any) -> OperatorPrediction:
    """What a prediction, by its name, is on a process whose coefficients are operators."""
    if isinstance(prediction, OperatorPrediction):
        return prediction
    if isinstance(prediction, Preconditioned):
        Coefficients(prediction.data_variance).check(process)
        return _preconditioned(prediction)
    if prediction.name not in OPERATOR_PREDICTIONS:
        known = ", ".join(OPERATOR_PREDICTIONS)
        raise PredictionError(f"{process!r} has no prediction {prediction.name!r}; its predictions: {known}")
    if not prediction.is_named:
        raise PredictionError(
            f"the prediction {prediction.name!r} of your own is stated in alpha and sigma, the coefficients of"
            f" {brief(process)} are operators: expected a name, an OperatorPrediction or Preconditioned(data_variance)"
        )
    found = OPERATOR_PREDICTIONS[prediction.name]
    return operator_prediction(Preconditioned(), process) if found.name == Preconditioned.name else found


def semilinear(prediction: OperatorPrediction, process: Any, t: Any) -> tuple[Operator, Operator]:
    """(A, B) at times t, also of the velocity."""
    return (Scalar(0), identity) if prediction.name == "velocity" else prediction.semilinear(process, t)


def conversion(source: OperatorPrediction, into: OperatorPrediction, process: Any, t: Any) -> tuple[Operator, Operator]:
    """(C, D) with N_into = C N_source + D x at times t."""
    if source == into:
        return identity, Scalar(0)
    if into.name == "velocity":
        A, B = source.semilinear(process, t)
        return B, A
    try:
        back = into.inverse(process, t)
        if source.name == "velocity":
            out = source.out(process, t)
            skip = -(out @ process.drift(t))
        else:
            out, skip = source.out(process, t), source.skip(process, t) if source.skip else Scalar(0)
    except OperatorError as error:
        raise PredictionError(
            f"on {process!r} the prediction {source.name!r} does not determine {into.name!r}: {error}"
        ) from None
    kept = into.skip(process, t) if into.skip else Scalar(0)
    return back @ out, back @ (skip - kept)
