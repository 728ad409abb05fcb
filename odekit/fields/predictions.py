"""Predictions: what a model returns, N = P x + Q s, and the semilinear form x' = A x + B N derived from it.

A prediction is stated by three weights over things every exact target can compute without cancellation,

    N = x_weight * x + score_weight * s(x, t) + denoiser_weight * E[x_0 | x],

as expressions in alpha, sigma and their time derivatives. Everything else (P, Q, A, B, conversions) is derived from
them by SymPy and simplified *before* code is printed, so that forms which are finite at alpha = 0 stay finite there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from odekit.exceptions import PredictionError, brief, unknown
from odekit.expressions import field_of, parse
from odekit.fields.operator_predictions import OperatorPrediction
from odekit.fields.preconditioned import Preconditioned

SYMBOLS = ("alpha", "sigma", "alpha_rate", "sigma_rate")


@functools.cache
def _symbols() -> tuple:
    import sympy

    return (*sympy.symbols("alpha sigma", positive=True), *sympy.symbols("alpha_rate sigma_rate", real=True))


@dataclass(frozen=True)
class Prediction:
    """N = P x + Q s with s the score, P and Q expressions (text) in alpha, sigma, alpha_rate and sigma_rate.

    ``scale`` is the closed integrating factor a(t) with Psi_A(s, t) = a(s) / a(t), where one is known; without it
    Psi_A is found by quadrature. ``denoiser`` is the weight of E[x_0 | x], for predictions that are stated with it.

    >>> half = Prediction("half-noise", Q="-sigma/2")
    >>> half.semilinear
    ('alpha_rate/alpha', '2*(alpha*sigma_rate - alpha_rate*sigma)/alpha')
    """

    name: str
    P: str = "0"
    Q: str = "0"
    denoiser: str = "0"
    scale: str | None = None

    def __post_init__(self) -> None:
        for weight in ("P", "Q", "denoiser"):
            value = getattr(self, weight)
            if not isinstance(value, str):
                raise PredictionError(
                    f"prediction {self.name!r}: {weight} is of type {type(value).__name__}; expected text in"
                    f" {', '.join(SYMBOLS)}, like '-sigma' (an OperatorPrediction has matrices)"
                )

    @functools.cached_property
    def _weights(self) -> tuple:
        return tuple(parse(text, _symbols()) for text in (self.P, self.Q, self.denoiser))

    @functools.cached_property
    def affine(self) -> tuple:
        """(P, Q) as SymPy expressions, the denoiser written as (x + sigma^2 s) / alpha (Tweedie)."""
        x, score, denoiser = self._weights
        alpha, sigma = _symbols()[:2]
        P, Q = _simplified(x + denoiser / alpha), _simplified(score + denoiser * sigma**2 / alpha)
        if Q == 0:
            raise PredictionError(f"prediction {self.name!r} does not contain the score (Q = 0): it determines no flow")
        return P, Q

    @functools.cached_property
    def _semilinear(self) -> tuple:
        alpha, sigma, alpha_rate, sigma_rate = _symbols()
        P, Q = self.affine
        drift = alpha_rate / alpha
        half_g2 = sigma * sigma_rate - drift * sigma**2
        return _simplified(drift + half_g2 * P / Q), _simplified(-half_g2 / Q)

    @property
    def semilinear(self) -> tuple[str, str]:
        """A and B of x' = A x + B N as text: A = F + G^2 P / (2 Q), B = -G^2 / (2 Q)."""
        return tuple(str(e) for e in self._semilinear)

    def evaluate(self, what: str, process, t) -> tuple:
        """Numbers at time t (any number kind): ``what`` is "weights", "semilinear" or "scale"."""
        return _compiled(self, what)(*(getattr(process, s)(t) for s in SYMBOLS))

    @property
    def is_named(self) -> bool:
        """Whether it is the one that its name stands for."""
        return (PREDICTIONS | FRAMES).get(self.name) == self

    def latex(self) -> str:
        """N and its flow, as a paper would print them."""
        import sympy

        symbols = dict(zip(_symbols(), (r"\alpha_t", r"\sigma_t", r"\dot\alpha_t", r"\dot\sigma_t"), strict=True))
        A, B = (sympy.latex(e, symbol_names=symbols) for e in self._semilinear)
        P, Q = (sympy.latex(e, symbol_names=symbols) for e in self.affine)
        return rf"N = \left({P}\right) x + \left({Q}\right) s,\qquad \dot x = \left({A}\right) x + \left({B}\right) N"


def conversion(source: Prediction, into: Prediction, process, t) -> tuple:
    """(c, d) with N_into = c N_source + d x at time t, simplified so that common poles cancel."""
    return _compiled((source, into), "conversion")(*(getattr(process, s)(t) for s in SYMBOLS))


def _simplified(expression):
    import sympy

    return sympy.factor_terms(sympy.cancel(sympy.together(sympy.simplify(expression))))


@functools.cache
def _compiled(prediction, what: str) -> Callable:
    """A function of (alpha, sigma, alpha', sigma') that returns a tuple of numbers of the same kind."""
    import sympy

    if what == "weights":
        expressions = prediction._weights
    elif what == "semilinear":
        expressions = prediction._semilinear
    elif what == "scale":
        expressions = (parse(prediction.scale, _symbols()),)
    else:
        (P1, Q1), (P2, Q2) = prediction[0].affine, prediction[1].affine
        ratio = _simplified(Q2 / Q1)
        expressions = (ratio, _simplified(P2 - ratio * P1))
    # Only + - * / and powers occur, so one printed function serves every kind of number, provided that constants
    # which binary floats cannot hold (1/3) arrive as arguments, in the caller's own number field.
    inexact = sorted({n for e in expressions for n in e.atoms(sympy.Rational) if n.q & (n.q - 1)}, key=float)
    names = sympy.symbols(f"constant:{len(inexact)}")
    bodies = [e.xreplace(dict(zip(inexact, names, strict=True))) for e in expressions]
    function = sympy.lambdify([*_symbols(), *names], bodies, modules=[{"sqrt": _sqrt}])
    if not inexact:
        return function
    return lambda *numbers: function(*numbers, *(field_of(numbers[0]).number(c) for c in inexact))


def _sqrt(number):
    return number**0.5


def edm(sigma_data: str = "1/2") -> Prediction:
    """EDM's preconditioned network F, with D = c_skip x/alpha + c_out F, for data of standard deviation sigma_data.

    Source: Karras et al. 2022 (arXiv 2206.00364), Table 1; sigma_data is exact text.
    """
    root = f"(sigma**2 + ({sigma_data})**2*alpha**2)"
    return Prediction(
        "edm",
        P=f"-alpha*({sigma_data})/(sigma*sqrt{root})",
        denoiser=f"sqrt{root}/(sigma*({sigma_data}))",
        scale=f"sqrt{root}",
    )


PREDICTIONS = {
    "noise": Prediction("noise", Q="-sigma", scale="alpha"),
    "data": Prediction("data", denoiser="1", scale="sigma"),
    "velocity": Prediction("velocity", Q="-sigma*sigma_rate", denoiser="alpha_rate", scale="1"),
    "score": Prediction("score", Q="1", scale="alpha"),
    "edm": edm(),
    # Salimans & Ho 2022, v = alpha eps - sigma x_0; for alpha^2 + sigma^2 = 1 it is -F of EDM with sigma_data = 1.
    "v": Prediction("v", Q="-alpha*sigma", denoiser="-sigma", scale="sqrt(alpha**2 + sigma**2)"),
}


FRAMES = {name: Prediction(name, Q="-sigma", scale="alpha") for name in ("r-noise", "l-noise")}
"""The noise in the frame of a factor of the covariance; where coefficients are numbers each of them is the noise."""


def prediction(name: Any) -> Prediction | OperatorPrediction | Preconditioned:
    """The prediction called ``name``; a `Prediction` passes through, of numbers, of operators or of either."""
    if isinstance(name, Prediction | OperatorPrediction | Preconditioned):
        return name
    known = PREDICTIONS | FRAMES
    if name not in known:
        raise unknown("prediction", name, known)
    return known[name]


def scalar_prediction(name: Any, process: Any) -> Prediction:
    """The prediction called ``name`` on a process whose coefficients are numbers; one of operators is refused."""
    found = prediction(name)
    if isinstance(found, Preconditioned):
        return edm(found.deviation)
    if isinstance(found, OperatorPrediction):
        raise PredictionError(
            f"the prediction {found.name!r} has operators for coefficients, those of {brief(process)} are numbers:"
            " expected a name or a Prediction(name, P, Q)"
        )
    return found
