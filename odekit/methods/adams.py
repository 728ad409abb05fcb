"""Adams methods of any order, on any grid, in any clock and any prediction: exponential ones and, for the velocity in
time, the classical ones."""

from __future__ import annotations

from typing import Any

from odekit.exceptions import MethodError, unknown
from odekit.fields.coordinates import Coordinates, Instant, dot
from odekit.fields.predictions import prediction as resolve
from odekit.fields.weights import CLOCKS, RULES, ratio, weights
from odekit.methods.base import Claim, Method
from odekit.methods.ends import capped

STARTERS = {1: "euler", 2: "midpoint", 3: "kutta3", 4: "rk4", 5: "dp5", 6: "verner6", 7: "dop853", 8: "dop853"}
"""The tableau that starts a multistep method of order k + 1: one of order k loses nothing."""

MOST = 12
"""The most points: weights of more are large and of both signs."""


def start_of(order: int, start: str | None, corrector: bool = False) -> str:
    """What an Adams method starts with: "rising", or a one-step method's name; of enough order where it is None."""
    if start is not None:
        return start
    if order - int(corrector) <= 1:
        return "rising"
    if max(STARTERS) < order - 1 < MOST:
        raise MethodError(f"no one-step method of order {order - 1} is at hand to start with: give start='rising'")
    return STARTERS.get(order - 1, "rising")


class Adams(Method):
    """Adams-Bashforth, and with ``corrector`` its predict-evaluate-correct-evaluate pair with Adams-Moulton.

    x_s = Psi_A(s, t) x_t + sum_j w_j N_j with N in ``prediction``, interpolated in ``clock``.
    ``start``: "rising" (orders 1, 2, ..., k) or the name of the one-step method that ``starter`` is, which runs in
    the same prediction.
    ``last``: "full", or "lower", which takes the last step with order one; a step to sigma = 0 always does so where
    the clock is infinite there.
    Source: Hairer, Norsett & Wanner 1993, section III.1; Hochbruck & Ostermann 2010, section 2.5;
    Zhang & Chen 2023 (arXiv 2204.13902) for the noise; Lu et al. 2022 (arXiv 2211.01095) for the data.
    """

    def __init__(
        self,
        order: int,
        prediction: Any = "velocity",
        clock: str = "t",
        rule: str = "interpolating",
        start: str = "rising",
        last: str = "full",
        corrector: bool = False,
        formula: int | None = None,
        name: str = "",
        source: str = "",
        starter: Any = None,
    ):
        if not 1 <= order <= MOST:
            raise MethodError(f"order {order} of an Adams method: expected 1 to {MOST}")
        for what, value, known in (("clock", clock, CLOCKS), ("rule", rule, RULES), ("last", last, ("full", "lower"))):
            if value not in known:
                raise unknown(what, value, known)
        resolve(prediction)  # an unknown name is refused here, not in the middle of a solve
        self.k, self.prediction, self.clock, self.rule = order, prediction, clock, rule
        self.start, self.last, self.corrector = start, last, corrector
        self.name = name or f"adams-{order}"
        self.family = "multistep" if prediction == "velocity" and clock == "t" else "exponential-multistep"
        self.source = source or "Hochbruck & Ostermann 2010, section 2.5"
        # A k-point corrector needs k - 1 old outputs, a k-point predictor as many beside the current one.
        self.history = order - 2 if corrector and order > 1 else order - 1
        self.starter = starter
        # Rising order: the first step has a local error h^2 (h^3 with a corrector), which is global order 2 (3);
        # a few steps of a one-step method of order p are global order p + 1.
        claimed = formula or order
        opened = starter.order.method + 1 if starter else 3 if corrector else 2
        self.order = capped(Claim(claimed, min(claimed, opened) if self.history else claimed), last)

    @property
    def evaluations(self) -> int:
        return 1 + int(self.corrector)

    def phases(self, steps: int, noise_free_end: bool = False) -> list:
        kinds: list = [self._opening(i) for i in range(min(steps, self.history))]
        kinds += ["full"] * (steps - len(kinds))
        if self.last == "lower" or (noise_free_end and self._blows_up):
            kinds[-1] = 1
        return kinds

    def _opening(self, i: int) -> Any:
        """Step i of the start: the order in use, or "start" for a step of the one-step method."""
        return "start" if self.starter else (i + 2 if self.corrector else i + 1)

    @property
    def _blows_up(self) -> bool:
        """Whether clock or scale are infinite where sigma = 0."""
        return self.clock in ("logsnr", "alpha_over_sigma") or self.prediction == "data"

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        t_next, t = window[:2]
        x, old = carry["x"], carry.get("N", ())
        if phase == "start":
            moved, now = self.starter.advance(f, window, x)
            return {"x": moved, "N": (now, *old)[: self.history]}
        order = self.k if phase == "full" else phase
        now = f.predict(x, t)
        outputs = (now, *old)
        keep = outputs[: self.history]
        w = self.weights(f, t_next, t, window[1 : 1 + min(order, len(outputs))])
        moved = ratio(f, t_next, t) * x + dot(w, outputs)
        if self.corrector and phase != 1:
            ahead = f.predict(moved, t_next)
            w = self.weights(f, t_next, t, (t_next, *window[1:order]))
            moved = ratio(f, t_next, t) * x + dot(w, (ahead, *outputs))
        return {"x": moved, "N": keep} if keep else {"x": moved}

    def weights(self, f: Coordinates, to: Instant, at: Instant, nodes: tuple) -> list:
        """The weights of N at ``nodes``, newest first, for the step from ``at`` to ``to``."""
        return weights(f, to, at, nodes, self.clock, self.rule)

    def carry_from(self, f: Coordinates, instants: list, states: list) -> dict:
        old = tuple(f.predict(x, at) for x, at in zip(states[1:], instants[1:], strict=True))[: self.history]
        return {"x": states[0], "N": old} if self.history else {"x": states[0]}

    def key(self) -> dict:
        return {
            "family": self.family,
            "order": [self.k, *self.order],
            "prediction": str(self.prediction),
            "clock": self.clock,
            "rule": self.rule,
            "start": self.starter.key() if self.starter else self.start,
            "last": self.last,
            "corrector": self.corrector,
        }
