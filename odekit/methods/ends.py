"""Ends and starts: what a first or last step of another order does to a method.

One step of order q leaves h^(q+1), whatever the others do, so a start or an end of order one caps a method at two.
Where the last step reaches sigma = 0 its h is sigma/alpha of the node before: the cap is then a matter of the grid.
"""

from __future__ import annotations

import copy
import math
from typing import Any

from odekit.exceptions import MethodError, unknown
from odekit.fields.coordinates import Coordinates
from odekit.fields.predictions import conversion, prediction
from odekit.fields.weights import ratio, total
from odekit.methods.base import Claim, Method

RULES = {
    "full": "as the others; of order one where it ends at sigma = 0 and the clock is infinite there",
    "lower": "of order one: it leaves h^2, and the order is two at most",
    "denoise": "as the others, then one evaluation more: the data predicted there, a step of order one to sigma = 0",
}
"""The rules for the last step that every method can be given, and what they do."""


def capped(claim: Claim, last: str) -> Claim:
    """A claim with a last step of order one.

    >>> capped(Claim(3, 3), "lower"), capped(Claim(3, 3), "full")
    (Claim(formula=3, method=2), Claim(formula=3, method=3))
    """
    return Claim(claim.formula, min(claim.method, 2)) if last == "lower" else claim


class Ended(Method):
    """A method with a last step by another rule: "lower" (DDIM's in its own prediction) or "denoise".

    Source: Lu et al. 2022 (arXiv 2211.01095), appendix (lower_order_final, denoise_to_zero).

    >>> from odekit.methods import get
    >>> Ended(get("rk4"), "lower").order
    Claim(formula=4, method=2)
    """

    def __init__(self, base: Method, last: str):
        if last not in RULES:
            raise unknown("last", last, RULES)
        if base.family == "splitting" or (last == "lower" and base.history and hasattr(base, "removed")):
            raise MethodError(f"{base.name} cannot end with a step by the rule {last!r}")
        self.base, self.last = base, last
        for name in ("name", "family", "source", "prediction", "history", "is_plannable"):
            setattr(self, name, getattr(base, name))
        if not base.is_plannable:
            self.plannable_variant = getattr(base, "plannable_variant", "its base does")
        self.order, self.draws = capped(base.order, last), getattr(base, "draws", 0)

    @property
    def evaluations(self) -> int:
        return self.base.evaluations

    def phases(self, steps: int, noise_free_end: bool = False) -> list:
        kinds = [("full", kind) for kind in self.base.phases(steps, noise_free_end)]
        return [*kinds[:-1], (self.last, kinds[-1][1])]

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        rule, kind = phase
        if rule == "lower":
            slope = carry.get("slope")  # of a first-same-as-last method, in straight coordinates: N itself
            now = f.predict(carry["x"], window[1]) if slope is None else slope
            return {"x": ratio(f, *window[:2]) * carry["x"] + total(f, *window[:2]) * now}
        moved = self.base.step(f, window, carry, kind)
        if rule == "full":
            return moved
        raw = f.oracle(moved["x"], window[0].network)
        c, d = conversion(f.source, prediction("data"), f.process, window[0].network)
        return {"x": c * raw + d * moved["x"]}

    def carry_from(self, f: Coordinates, instants: list, states: list) -> dict:
        return self.base.carry_from(f, instants, states)

    def coordinates(self, field: Any, oracle: Any = None, **options: Any) -> Coordinates:
        if self.last == "denoise" and field.process is None:
            raise MethodError(f"{self.name}: a plain field has no noise to remove: last='denoise' needs a process")
        return self.base.coordinates(field, oracle, **options)

    def key(self) -> dict:
        return {**self.base.key(), "last": self.last}


def ended(base: Method, last: str) -> Method:
    """A method with its last step by a rule: its own option where it has one."""
    if last != "denoise" and hasattr(base, "last"):
        found = copy.copy(base)
        found.last = last
        if "order" in vars(found):
            found.order = capped(base.order, last)
        return found
    return base if last == "full" else Ended(base, last)


def cap_at_zero(process: Any) -> float:
    """The order that a step of order one to sigma = 0 leaves to any method on grids of equal steps in time.

    It leaves a multiple of (sigma/alpha)^2 of the node before, which is t^(2a) there: the order is 2a.

    >>> from odekit import processes
    >>> [cap_at_zero(p) for p in (processes.VP(), processes.RectifiedFlow())]
    [1.0, 2.0]
    """
    a, b = (math.log(float(process.kappa(t))) / math.log(2) for t in (2.0**-40, 2.0**-41))
    return round(2 * (a - b), 6)


def effects(method: Any) -> list[tuple[str, str]]:
    """(label, text) of what a method's start and last step do to its order, as certificates show it."""
    rows = []
    formula, whole = method.order
    if getattr(method, "history", 0):
        starter = getattr(method, "starter", None)
        if getattr(method, "start", None) == "rising" and starter is None:
            first = "a corrected step" if getattr(method, "corrector", False) else "a step of order one"
            rows.append(("start", f"orders rise from {first}: order {whole} with it, {formula} from exact history"))
        elif starter is not None:
            rows.append(("start", f"{starter.name}, of order {starter.order.method}: order {whole} with it"))
    last = getattr(method, "last", "full")
    if last in RULES:
        rows.append(("last step", RULES[last]))
    return rows
