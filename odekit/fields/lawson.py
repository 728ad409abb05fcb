"""Lawson's coordinates: the local frame of the linear flow, anchored where a step begins.

    y = Psi_A(anchor, t) x,    dy/dt = Psi_A(anchor, t) B_t N(x, t)

of x' = A x + B N. The linear part is solved exactly; a method that runs on dy/dt sees the forcing alone, in the clock
t. They need no scale a(t) and no inverse of Psi_A, so that phase space and blurring have them in every prediction.
Source: Lawson, SIAM J. Numer. Anal. 4, 372-380 (1967); Hochbruck & Ostermann 2010, section 2.6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from odekit.fields.coordinates import Coordinates, Instant
from odekit.fields.matrix import Acting, is_isotropic
from odekit.fields.operator_predictions import semilinear
from odekit.fields.weights import ratio


class Lawson:
    """Lawson's coordinates over other ones, for the step that begins at ``anchor``.

    >>> import odekit as ok
    >>> flow = ok.ProbabilityFlow(ok.VP(), ok.targets.bimodal())
    >>> f = Lawson(Coordinates(flow, "noise"), Instant(0.5))
    >>> f.leave(1.0, Instant(0.2)) == ok.VP().alpha(0.2) / ok.VP().alpha(0.5)
    True
    """

    def __init__(self, under: Coordinates, anchor: Instant):
        self.under, self.anchor, self.numbers = under, anchor, under.numbers
        self.predict: Callable[[Any, Instant], Any] = under.predict

    def clock(self, at: Instant) -> Any:
        """Time."""
        return at.time

    def between(self, at: Instant, to: Instant, c: Any) -> Instant:
        """The instant a fraction c of the way in time; c = 0 and c = 1 are the grid's own nodes."""
        return self.under.between(at, to, c, "t")

    def enter(self, x: Any, at: Instant) -> Any:
        """y = Psi_A(anchor, t) x."""
        return x if at is self.anchor else ratio(self.under, self.anchor, at) * x

    def leave(self, y: Any, at: Instant) -> Any:
        """x = Psi_A(t, anchor) y."""
        return y if at is self.anchor else ratio(self.under, at, self.anchor) * y

    def slope(self, N: Any, at: Instant) -> Any:
        """dy/dt from a model output."""
        return self.enter(self._forcing(at) * N, at)

    def __call__(self, y: Any, at: Instant) -> Any:
        """dy/dt at y."""
        return self.slope(self.predict(self.leave(y, at), at), at)

    def _forcing(self, at: Instant) -> Any:
        """B of x' = A x + B N."""
        prediction, process = self.under.prediction, self.under.process
        if prediction.name == "velocity":
            return 1
        if is_isotropic(process):
            return prediction.evaluate("semilinear", process, at.time)[1]
        return Acting(semilinear(prediction, process, at.time)[1])


def straight(under: Coordinates, anchor: Instant) -> Coordinates:
    """The coordinates as they are, wherever a step begins."""
    return under


COORDINATES: dict[str, Callable[[Coordinates, Instant], Any]] = {"straight": straight, "lawson": Lawson}
"""What a step may run in: the straight coordinates of its prediction (time itself for the velocity), or Lawson's."""
