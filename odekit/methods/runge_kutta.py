"""Explicit Runge-Kutta methods in straight coordinates of any prediction, or in the frame of its linear flow."""

from __future__ import annotations

from typing import Any

from odekit.exceptions import MethodError, unknown
from odekit.fields.coordinates import ZERO, Coordinates, dot
from odekit.fields.lawson import COORDINATES
from odekit.fields.predictions import prediction as resolve
from odekit.methods.base import Claim, Method
from odekit.methods.tableau import Tableau, is_zero, key_of


class RungeKutta(Method):
    """An explicit tableau applied to dy/dtau = N(a y, t); in raw coordinates (velocity) the textbook's method.

    ``final="euler"`` replaces the step that reaches sigma = 0 by one Euler step, for models that cannot be asked
    there (Karras et al. 2022, Algorithm 1). ``coordinates="lawson"`` applies it to dy/dt in the frame of the linear
    flow at the step's start instead, for any prediction on any process, those with operators among them.
    Source: Butcher 2016, section 23; Zhang & Chen 2023 (arXiv 2204.13902), rho-RK, for the noise; Lawson 1967.
    """

    family = "runge-kutta"

    def __init__(
        self,
        tableau: Tableau,
        prediction: Any = "velocity",
        final: str = "full",
        name: str = "",
        coordinates: str = "straight",
    ):
        if tableau.kind != "explicit":
            raise MethodError(f"{tableau.name} is {tableau.kind}; an explicit tableau was expected here")
        if final not in ("full", "euler"):
            raise MethodError(f"final={final!r}: expected 'full' or 'euler'")
        if coordinates not in COORDINATES:
            raise unknown("coordinates", coordinates, COORDINATES)
        resolve(prediction)  # an unknown name is refused here, not in the middle of a solve
        self.tableau, self.prediction, self.final, self.space = tableau, prediction, final, coordinates
        self.name, self.source = name or tableau.name, tableau.source
        self.order = Claim(tableau.order, tableau.order)

        self.needed = _stages_reaching(tableau)

    @property
    def evaluations(self) -> int:
        return len(self.needed)

    def phases(self, steps: int, noise_free_end: bool = False) -> list:
        kinds = ["inner"] * (steps - 1) + ["last"]
        if noise_free_end and self.final == "euler":
            kinds[-1] = "euler"
        return kinds

    def slopes(self, f: Any, window: tuple, carry: dict, stages: range | frozenset) -> tuple:
        """(y, h, [k_1, ..., k_s], (N_first, N_last)) of one step in the coordinates f.

        N are the model outputs at the first and the last stage. Only the given ``stages`` are evaluated; the slopes of
        the others are ZERO.
        """
        t_next, t = window[:2]
        c, A, _, _ = self.tableau.coefficients(f.numbers)
        y, h = f.enter(carry["x"], t), f.clock(t_next) - f.clock(t)
        first = N = carry["slope"] if "slope" in carry else f.predict(f.leave(y, t), t)
        k = [f.slope(N, t)]
        for i in range(1, len(c)):
            if i not in stages:
                k.append(ZERO)
                continue
            at = f.between(t, t_next, c[i])
            N = f.predict(f.leave(y + h * dot(A[i], k), at), at)
            k.append(f.slope(N, at))
        return y, h, k, (first, N)

    def advance(self, f: Coordinates, window: tuple, x: Any) -> tuple:
        """(x at the step's end, N at its beginning): what a multistep method starts with."""
        _, _, b, _ = self.tableau.coefficients(f.numbers)
        f = self.local(f, window[1])
        y, h, k, (now, _) = self.slopes(f, window, {"x": x}, self.needed)
        return f.leave(y + h * dot(b, k), window[0]), now

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        _, _, b, _ = self.tableau.coefficients(f.numbers)
        # The last stage of a first-same-as-last method is the next step's first; the last step does not need it.
        reuse = self.tableau.fsal and phase == "inner"
        stages = range(len(b)) if reuse else self.needed
        if phase == "euler":
            b, stages = (1,), range(1)
        f = self.local(f, window[1])
        y, h, k, (_, last) = self.slopes(f, window, carry, stages)
        out = {"x": f.leave(y + h * dot(b, k), window[0])}
        if reuse:
            out["slope"] = last
        return out

    def estimate(self, f: Coordinates, window: tuple, carry: dict) -> tuple[dict, Any]:
        """One step and its embedded error estimate, x - x_embedded (for adaptive control)."""
        _, _, b, embedded = self.tableau.coefficients(f.numbers)
        if embedded is None:
            raise MethodError(f"{self.name} has no embedded pair; adaptive steps need one (dp5, tsit5, bs3, ...)")
        f = self.local(f, window[1])
        y, h, k, (_, last) = self.slopes(f, window, carry, range(len(b)))
        gap = dot([u - v for u, v in zip(b, embedded, strict=True)], k)
        out = {"x": f.leave(y + h * dot(b, k), window[0])}
        if self.tableau.fsal:
            out["slope"] = last
        return out, f.leave(h * gap, window[0])

    def key(self) -> dict:
        return {
            "family": self.family,
            **key_of(self.tableau),
            "prediction": str(self.prediction),
            "coordinates": self.space,
            "final": self.final,
        }


def _stages_reaching(tableau: Tableau) -> frozenset[int]:
    """The stages on which the weights b depend, directly or through other stages."""
    needed = {i for i, weight in enumerate(tableau.exact.b) if not is_zero(weight)} | {0}
    for i in reversed(range(tableau.stages)):
        if i in needed:
            needed |= {j for j, entry in enumerate(tableau.exact.A[i]) if not is_zero(entry)}
    return frozenset(needed)
