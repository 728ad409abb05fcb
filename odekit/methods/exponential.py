"""Exponential Runge-Kutta methods on the probability flow, in log-SNR."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from odekit.algebra.exponential import ExponentialTableau
from odekit.exceptions import MethodError, unknown
from odekit.fields.coordinates import Coordinates, Instant, dot
from odekit.fields.weights import ratio, weights
from odekit.methods.base import Claim, Method
from odekit.methods.ends import capped
from odekit.methods.entries import compiled
from odekit.methods.tableau import key_of

FORMS = {"noise": ("sigma", 1), "data": ("alpha", -1)}
"""The two semilinear forms of the flow in log-SNR: what x is divided by, and A. The forcing is -A N."""

LAST = ("full", "lower")


class ExponentialRungeKutta(Method):
    """An explicit exponential tableau on x/sigma (``prediction="noise"``) or x/alpha ("data"), in the log-SNR.

    A tableau in h > 0 brings its own prediction; one in z = hA runs on either, on the data unless told otherwise.
    ``last``: "full", or "lower", which takes the last step with order one; a step to sigma = 0 always does so, because
    the log-SNR is infinite there.
    Source: Hochbruck & Ostermann 2005, (2.2); Lu et al. 2022 (arXiv 2206.00927), section 3; (arXiv 2211.01095) for
    the data. Raises MethodError for a tableau that is implicit or has free parameters, and for other predictions.

    >>> from odekit.algebra import exponential_methods
    >>> ExponentialRungeKutta(exponential_methods.get("krogstad4"), "noise")
    <krogstad4: order 4, exponential-runge-kutta>
    """

    family = "exponential-runge-kutta"

    def __init__(self, tableau: ExponentialTableau, prediction: Any = None, last: str = "full"):
        if last not in LAST:
            raise unknown("last", last, LAST)
        self.prediction = form_of(tableau, prediction)
        if tableau.parameters:
            raise MethodError(f"{tableau.name} has the free parameters {', '.join(tableau.parameters)}: give each one")
        c, A, _, _ = tableau.expressions
        if c[0] != 0 or any(a != 0 for i, row in enumerate(A) for a in row[i:]):
            raise MethodError(f"{tableau.name} is implicit or has c1 other than 0; an explicit tableau was expected")
        self.tableau, self.last = tableau, last
        self.name, self.source = tableau.name, tableau.source
        self.order = capped(Claim(tableau.order, tableau.order), last)

    @property
    def evaluations(self) -> int:
        return self.tableau.stages

    def phases(self, steps: int, noise_free_end: bool = False) -> list:
        lower = noise_free_end or self.last == "lower"
        return ["full"] * (steps - 1) + ["lower" if lower else "full"]

    def slopes(self, f: Coordinates, window: tuple, carry: dict) -> tuple:
        """(h, [N_1, ..., N_s], b, b_embedded) of one step; N_1 is N at the step's beginning."""
        t_next, t = window[:2]
        h = logsnr_step(f, t_next, t)
        c, A, b, embedded = _program(self.tableau)(f.numbers, FORMS[self.prediction][1] * h)
        x = carry["x"]
        k = [carry["slope"] if "slope" in carry else f.predict(x, t)]
        for node, row in zip(c[1:], A[1:], strict=True):
            at = f.between(t, t_next, node, "logsnr")
            k.append(f.predict(moved(f, at, t, h, row, x, k), at))
        return h, k, b, embedded

    def advance(self, f: Coordinates, window: tuple, x: Any) -> tuple:
        """(x at the step's end, N at its beginning)."""
        h, k, b, _ = self.slopes(f, window, {"x": x})
        return moved(f, window[0], window[1], h, b, x, k), k[0]

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        x = carry["x"]
        if phase == "full":
            return {"x": self.advance(f, window, x)[0]}
        (whole,) = weights(f, window[0], window[1], (window[1],), "logsnr")
        return {"x": ratio(f, window[0], window[1]) * x + whole * f.predict(x, window[1])}

    def estimate(self, f: Coordinates, window: tuple, carry: dict) -> tuple[dict, Any]:
        """One step and its embedded error estimate, x - x_embedded (for adaptive control)."""
        h, k, b, embedded = self.slopes(f, window, carry)
        gap = dot([u - v for u, v in zip(b, embedded, strict=True)], k)
        return {"x": moved(f, window[0], window[1], h, b, carry["x"], k)}, forcing(f, window[0], h) * gap

    def key(self) -> dict:
        return {
            "family": self.family,
            **key_of(self.tableau),
            "prediction": self.prediction,
            "variable": "z" if self.tableau.prediction is None else "h",
            "last": self.last,
        }


class MixedOrders(Method):
    """One-step methods of several orders in one prediction, the highest everywhere but at the end.

    ``last`` names the orders of the last steps, "2-1" for two of them; "full" for none. A step to sigma = 0 is of
    order one.
    Source: Lu et al. 2022 (arXiv 2206.00927), section 3.4, DPM-Solver-fast.
    """

    family = "exponential-runge-kutta"

    def __init__(self, name: str, source: str, methods: dict[int, ExponentialRungeKutta], last: str):
        endings = {"full": (), **{"-".join(map(str, ending)): ending for ending in ((2,), (1,), (2, 1))}}
        if last not in endings:
            raise unknown("last", last, endings)
        self.name, self.source, self.methods, self.last, self.ending = name, source, methods, last, endings[last]
        highest = max(methods)
        self.prediction = methods[highest].prediction
        # A single step of order q leaves an error of h^(q+1).
        self.order = Claim(highest, min([highest, *(q + 1 for q in self.ending)]))

    @property
    def evaluations(self) -> int:
        return self.methods[max(self.methods)].evaluations

    def phases(self, steps: int, noise_free_end: bool = False) -> list:
        ending = self.ending if self.last != "full" else ()
        orders = [max(self.methods)] * max(0, steps - len(ending)) + [*ending][-steps:]
        return [*orders[:-1], 1] if noise_free_end else orders

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        return self.methods[phase].step(f, window, carry, "lower" if phase == 1 else "full")

    def key(self) -> dict:
        return {"last": self.last, **{str(order): method.key() for order, method in self.methods.items()}}


def form_of(data: Any, prediction: str | None) -> str:
    """The prediction that exact data run on: their own, or the one asked for ("data" unless told otherwise)."""
    chosen = prediction or data.prediction or "data"
    if chosen not in FORMS:
        raise unknown(f"prediction of {data.name}", chosen, FORMS)
    if data.prediction not in (None, chosen):
        raise MethodError(f"{data.name} is stated for the {data.prediction}, its coefficients are wrong for {chosen!r}")
    return chosen


def logsnr_step(f: Coordinates, to: Instant, at: Instant) -> Any:
    """h, the step in log-SNR."""
    return f.clock(to, "logsnr") - f.clock(at, "logsnr")


def forcing(f: Coordinates, to: Instant, h: Any) -> Any:
    """What a weight w_j(z) is multiplied by to weigh the model output N_j in x at ``to``."""
    own, A = FORMS[f.prediction.name]
    return -A * h * getattr(f.process, own)(to.time)


def moved(f: Coordinates, to: Instant, at: Instant, h: Any, row: list, x: Any, outputs: list) -> Any:
    """x at ``to``: the exact linear flow from ``at``, and the outputs weighed by a row of coefficients of step h."""
    return ratio(f, to, at) * x + forcing(f, to, h) * dot(row, outputs)


@lru_cache(maxsize=256)
def _program(tableau: ExponentialTableau) -> Callable[..., list]:
    c, A, b, embedded = tableau.expressions
    return compiled([c, A, b, embedded or []], ("z",))
