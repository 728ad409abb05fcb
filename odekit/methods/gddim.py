"""gDDIM: exponential Adams methods on the noise, in the frame of a factor of the covariance, on any linear process.

    x_s = Psi(s, t) x_t + sum_j C_j N_j,    C_j = int_t^s Psi(s, r) G G^T K_r^-T l_j(r)/2 dr,    K_r K_r^T = Sigma_r

with the polynomials l_j in t. In the frame of R, R' = F R + G G^T R^-T/2, the noise along a solution is constant where
the data is a point, so that a single step of any length is exact there, and for q = 0 it reads

    x_s = Psi(s, t) x_t + (R_s - Psi(s, t) R_t) N_t.

On isotropic processes R = sigma, and the methods are DEIS's in t; for q = 0 they are DDIM.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from odekit.exceptions import MethodError, unknown
from odekit.fields.coordinates import Coordinates, dot
from odekit.fields.weights import ratio
from odekit.methods.adams import MOST, Adams, start_of
from odekit.methods.base import Method
from odekit.methods.corrected import Corrected
from odekit.methods.ends import capped
from odekit.methods.exponential_catalogue import one_step

FRAMES = {"R": "r-noise", "L": "l-noise"}
"""The frames of the noise: the factor that follows the flow, and the Cholesky factor."""

SOURCE = "Zhang, Tao & Chen 2023 (gDDIM, arXiv 2206.05564)"


class GDDIM(Adams):
    """The predictor of degree q: q + 1 model outputs, of rising degree at the start.

    ``factor``: the frame, "R" or, as CLD's authors have it, "L". ``start``: "rising" as published, or the explicit
    tableau that takes the first q steps on the noise in the frame of the linear flow; None: one of order q, with which
    nothing is lost. ``last``: as for `Adams`.
    Source: Zhang, Tao & Chen 2023 (arXiv 2206.05564), eqs. 19 and 20. Raises MethodError for q outside 0 to 11.

    >>> GDDIM(2).order, GDDIM(2, start=None).order
    (Claim(formula=3, method=2), Claim(formula=3, method=3))
    """

    pece = False

    def __init__(self, q: int, factor: str = "R", last: str = "full", start: str | None = "rising"):
        if factor not in FRAMES:
            raise unknown("factor", factor, FRAMES)
        family, least = ("gddim-pece", 1) if self.pece else ("gddim", 0)
        if not (isinstance(q, int) and least <= q < MOST):
            raise MethodError(f"degree {q!r} of {family}: expected a whole number from {least} to {MOST - 1}")
        name, start = f"{family}-{q}", start_of(q + 1, start)
        starter = None if start == "rising" else one_step(start, FRAMES[factor], "lawson")
        super().__init__(
            q + 1, FRAMES[factor], "t", start=start, last=last, name=name, source=f"{SOURCE}, eqs. 19-20",
            starter=starter,
        )  # fmt: skip


class GDDIMPair(GDDIM):
    """Predictor and corrector of degree q, and an evaluation after each: PECE.

    The corrector interpolates through the predicted output and up to q older ones, from the first step on through two;
    the last step is not corrected: 2 n - 1 evaluations for n steps. Steps that a one-step method takes at the start
    are not corrected either.
    Source: Zhang, Tao & Chen 2023 (arXiv 2206.05564), appendix (Predictor-Corrector), eq. 45 onwards.

    >>> GDDIMPair(2).order
    Claim(formula=3, method=3)
    """

    pece = True

    def __init__(self, q: int, factor: str = "R", last: str = "full", start: str | None = "rising"):
        super().__init__(q, factor, last, start)
        self.source = f"{SOURCE}, appendix C"
        if not self.starter:  # a first step of order one, corrected through two points, leaves h^3
            self.order = capped(self.order._replace(method=min(q + 1, 3)), last)

    @property
    def evaluations(self) -> int:
        return 2

    def phases(self, steps: int, noise_free_end: bool = False) -> list:
        kinds = super().phases(steps, noise_free_end)
        return [*((kind, kind != "start") for kind in kinds[:-1]), (kinds[-1], False)]

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        kind, corrects = phase
        moved = super().step(f, window, carry, kind)
        if not corrects:
            return moved
        t_next, t = window[:2]
        outputs = (f.predict(moved["x"], t_next), *moved["N"])
        w = self.weights(f, t_next, t, (t_next, *window[1 : len(outputs)]))
        return {**moved, "x": ratio(f, t_next, t) * carry["x"] + dot(w, outputs)}

    def key(self) -> dict:
        return {**super().key(), "corrector": "pece"}


def _predictor(q: int) -> Callable[..., Method]:
    def make(factor: str = "R", last: str = "full", start: str | None = "rising") -> Method:
        return GDDIM(q, factor, last, start)

    return make


def _pair(q: int) -> Callable[..., Method]:
    def make(factor: str = "R", last: str = "full", start: str | None = "rising") -> Method:
        return GDDIMPair(q, factor, last, start)

    return make


def _shared(q: int) -> Callable[..., Method]:
    def make(factor: str = "R", last: str = "full", start: str | None = "rising") -> Method:
        if q < 1:
            raise MethodError(f"degree {q} of gddim-pec: expected at least 1, a corrector of two points")
        predictor = GDDIM(q, factor, last, start)
        return Corrected(predictor, q + 1, "t", name=f"gddim-pec-{q}", source=f"{SOURCE}, appendix C; PEC")

    return make


NUMBERED: dict[str, Callable[[int], Callable[..., Method]]] = {
    "gddim": _predictor,
    "gddim-pec": _shared,
    "gddim-pece": _pair,
}
"""By degree; PEC corrects out of the evaluation that the next step makes anyway."""
