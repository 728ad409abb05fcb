"""UniC: a corrector behind any predictor, out of the evaluation that the next step makes anyway; noise-free SA-Solver.

    x^C_i = Psi_A(t_i, t_{i-1}) x^C_{i-1} + sum_j w_j N_{i-j},    j = 0, 1, ...,    N_i = N(x^P_i, t_i)

is implicit in nothing: N_i is the model's answer at the predicted state, which the next step needs as its first one.
That step starts from x^C and takes N_i for its first evaluation (PEC): a corrector costs no evaluation.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from odekit.exceptions import MethodError, unknown
from odekit.fields.coordinates import Coordinates, Instant, dot
from odekit.fields.weights import CLOCKS, ratio, weights
from odekit.methods.adams import Adams
from odekit.methods.base import Claim, Method
from odekit.methods.ends import capped

UNIPC = "Zhao et al. 2023 (arXiv 2302.04867)"
SA = "Xue et al. 2023 (arXiv 2309.05019)"


class Corrected(Method):
    """A predictor whose states are corrected once the model has been asked there; the last one is not.

    The corrector interpolates the outputs at ``points`` nodes, the predicted one among them, in ``clock``; without
    ``points`` one more than the predictor's order, which gains an order. Where the predictor's orders rise, the
    corrector's do; where it starts with a one-step method, the corrector waits until it has its points.
    Source: Zhao et al. 2023 (arXiv 2302.04867), Algorithm 1 (UniC). Raises MethodError for a predictor that is
    corrected already, or evaluates the model at the step's end itself.

    >>> from odekit.methods import get
    >>> Corrected(get("dpmpp-2m")).order
    Claim(formula=3, method=3)
    """

    corrects = True

    def __init__(self, predictor: Method, points: int | None = None, clock: str = "", name: str = "", source: str = ""):
        ordinary = getattr(getattr(predictor, "tableau", None), "fsal", False) or getattr(predictor, "corrector", False)
        if getattr(predictor, "corrects", False) or ordinary:
            raise MethodError(
                f"{predictor.name} evaluates the model at the step's end itself: nothing is free to correct"
            )
        if not predictor.is_plannable:
            raise MethodError(f"{predictor.name} runs eagerly; a corrector wants a predictor that is a Plan")
        gained = predictor.order.formula + 1
        self.points = gained if points is None else points
        if not 1 <= self.points <= 12:
            raise MethodError(f"a corrector of {self.points} points: expected 1 to 12")
        self.predictor, self.prediction, self.family = predictor, predictor.prediction, "exponential-multistep"
        self.clock = clock or ("t" if self.prediction == "velocity" else "logsnr")
        if self.clock not in CLOCKS:
            raise unknown("clock", self.clock, CLOCKS)
        self.name = name or f"{predictor.name}-unic"
        self.source = source or f"{UNIPC}, UniC-{self.points - 1} behind {predictor.name}"
        self.history = max(predictor.history, self.points - 1)
        self.rises = getattr(predictor, "start", None) == "rising"
        reached = min(self.points, gained)
        # Two points correct a first step of order one: h^3 is left of it. Uncorrected steps keep the predictor's error.
        opened = 3 if self.rises else predictor.order.method + 1
        self._started = Claim(reached, min(reached, opened, predictor.order.method + 1))

    @property
    def order(self) -> Claim:
        """With its start, and with a last step of order one where that is the rule."""
        return capped(self._started, self.last)

    @property
    def last(self) -> str:
        """The predictor's rule for the last step."""
        return getattr(self.predictor, "last", "full")

    @last.setter
    def last(self, rule: str) -> None:
        self.predictor = copy.copy(self.predictor)
        self.predictor.last = rule

    @property
    def evaluations(self) -> int:
        return self.predictor.evaluations

    def phases(self, steps: int, noise_free_end: bool = False) -> list:
        known = [min(self.points, i + 1) for i in range(steps)]
        used = [n if i and (self.rises or n == self.points) else 0 for i, n in enumerate(known)]
        return list(zip(used, self.predictor.phases(steps, noise_free_end), strict=True))

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        points, predicting = phase
        own = {key: rows for key, rows in carry.items() if key not in ("base", "seen")}
        outputs = (f.predict(carry["x"], window[1]), *carry.get("seen", ()))
        x = carry["x"]
        if points:
            w = weights(f, window[1], window[2], window[1 : 1 + points], self.clock)
            x = ratio(f, window[1], window[2]) * carry["base"] + dot(w, outputs)
        moved = self.predictor.step(answered(f, window[1], outputs[0]), window, {**own, "x": x}, predicting)
        seen = outputs[: self.points - 1]
        return {**moved, "base": x, "seen": seen} if seen else {**moved, "base": x}

    def carry_from(self, f: Coordinates, instants: list, states: list) -> dict:
        own = self.predictor.carry_from(f, instants, states)
        seen = tuple(f.predict(x, at) for x, at in zip(states[1:], instants[1:], strict=True))[: self.points - 1]
        carry = {**own, "base": states[min(1, len(states) - 1)]}
        return {**carry, "seen": seen} if seen else carry

    def key(self) -> dict:
        return {"family": "corrected", "points": self.points, "clock": self.clock, "predictor": self.predictor.key()}


def answered(f: Coordinates, at: Instant, *answer: Any) -> Coordinates:
    """Coordinates in which the model is asked at an instant once at most; never, where the ``answer`` is given."""
    known, given = copy.copy(f), list(answer)

    def predict(x: Any, where: Instant) -> Any:
        if where is not at:
            return f.predict(x, where)
        if not given:
            given.append(f.predict(x, where))
        return given[0]

    known.predict = predict
    return known


def unic(predictor: str) -> Callable[..., Corrected]:
    """The factory of a predictor of the catalogue with UniC behind it; ``options`` of the predictor are its own."""

    def make(points: int | None = None, **options: Any) -> Corrected:
        from odekit.methods import get

        return Corrected(get(predictor, **options), points)

    return make


def sa_solver(predictor: int = 3, corrector: int = 4, last: str = "full") -> Method:
    """SA-Solver at tau = 0: ``predictor`` points on the data, corrected with ``corrector`` points (0: not at all)."""
    source = f"{SA}, Algorithm 1 at tau = 0 (its coefficients without the change for few steps)"
    plain = Adams(predictor, "data", "logsnr", last=last, name="sa-solver", source=source)
    return Corrected(plain, corrector, name="sa-solver", source=source) if corrector else plain


METHODS: dict[str, Callable[..., Method]] = {
    **{f"{name}-unic": unic(name) for name in ("dpmpp-2m", "deis-tab-2")},
    "sa-solver": sa_solver,
}
