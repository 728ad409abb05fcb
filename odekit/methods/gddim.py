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
from odekit.methods.adams import Adams
from odekit.methods.base import Method
from odekit.methods.corrected import Corrected

FRAMES = {"R": "r-noise", "L": "l-noise"}
"""The frames of the noise: the factor that follows the flow, and the Cholesky factor."""

SOURCE = "Zhang, Tao & Chen 2023 (gDDIM, arXiv 2206.05564)"


class GDDIM(Adams):
    """The predictor of degree q: q + 1 model outputs, of rising degree at the start.

    ``factor``: the frame, "R" or, as CLD's authors have it, "L". ``last``: as for `Adams`.
    Source: Zhang, Tao & Chen 2023 (arXiv 2206.05564), eqs. 19 and 20. Raises MethodError for q < 0.

    >>> GDDIM(2).order
    Claim(formula=3, method=2)
    """

    pece = False

    def __init__(self, q: int, factor: str = "R", last: str = "full"):
        if factor not in FRAMES:
            raise unknown("factor", factor, FRAMES)
        least = int(self.pece)
        if not isinstance(q, int) or q < least:
            raise MethodError(f"degree {q!r} of {type(self).__name__}: expected a whole number of at least {least}")
        name = f"gddim-{'pece-' * self.pece}{q}"
        super().__init__(q + 1, FRAMES[factor], "t", last=last, name=name, source=f"{SOURCE}, eqs. 19-20")


class GDDIMPair(GDDIM):
    """Predictor and corrector of degree q, and an evaluation after each: PECE.

    The corrector interpolates through the predicted output and up to q older ones, from the first step on through two;
    the last step is not corrected: 2 n - 1 evaluations for n steps.
    Source: Zhang, Tao & Chen 2023 (arXiv 2206.05564), appendix (Predictor-Corrector), eq. 45 onwards.

    >>> GDDIMPair(2).order
    Claim(formula=3, method=3)
    """

    pece = True

    def __init__(self, q: int, factor: str = "R", last: str = "full"):
        super().__init__(q, factor, last)
        self.source = f"{SOURCE}, appendix C"
        # A first step of order one, corrected through two points, leaves h^3.
        self.order = self.order._replace(method=min(q + 1, 3))

    @property
    def evaluations(self) -> int:
        return 2

    def phases(self, steps: int, noise_free_end: bool = False) -> list:
        kinds = super().phases(steps, noise_free_end)
        return [*((kind, True) for kind in kinds[:-1]), (kinds[-1], False)]

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
    def make(factor: str = "R", last: str = "full") -> Method:
        return GDDIM(q, factor, last)

    return make


def _pair(q: int) -> Callable[..., Method]:
    def make(factor: str = "R", last: str = "full") -> Method:
        return GDDIMPair(q, factor, last)

    return make


def _shared(q: int) -> Callable[..., Method]:
    def make(factor: str = "R", last: str = "full") -> Method:
        return Corrected(GDDIM(q, factor, last), q + 1, "t", name=f"gddim-pec-{q}", source=f"{SOURCE}, appendix C; PEC")

    return make


METHODS: dict[str, Callable[..., Method]] = {
    **{f"gddim-{q}": _predictor(q) for q in range(4)},
    **{f"gddim-pec-{q}": _shared(q) for q in range(1, 4)},
    **{f"gddim-pece-{q}": _pair(q) for q in range(1, 4)},
}
"""PEC corrects out of the evaluation that the next step makes anyway."""
