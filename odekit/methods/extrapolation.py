"""Richardson extrapolation: a method with steps h and h/2 in one program, combined so that its leading error is gone.

    x = (2^p x_{h/2} - x_h) / (2^p - 1)

Every step of a one-step method is extrapolated, and the next starts from there. A method with a history runs twice from
beginning to end, side by side, and the two results are combined: the leading error of its start goes, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from odekit.exceptions import MethodError
from odekit.fields.coordinates import Coordinates, Instant, dot
from odekit.methods.base import Claim, Method
from odekit.methods.corrected import answered

SOURCE = "Richardson 1911; Hairer, Norsett & Wanner 1993, section II.9"


class Richardson(Method):
    """A method extrapolated from steps h and h/2, halved in time; ``order`` is that of the error to remove.

    Without ``order`` it is the method's own, its start and last step included. One order is gained; the first model
    output of a step serves both runs. A method with a history has none of its own afterwards: it starts as it does.
    Source: Hairer, Norsett & Wanner 1993, section II.9. Raises MethodError for a method that ends with a special step.

    >>> from odekit.methods import get
    >>> Richardson(get("rk4")), Richardson(get("rk4")).evaluations
    (<richardson-rk4: order 5, runge-kutta>, 11)
    """

    def __init__(self, base: Method, order: int | None = None, name: str = ""):
        if getattr(base, "last", "full") != "full":
            raise MethodError(f"{base.name} ends with a step of another order, which no extrapolation removes")
        self.base, self.removed = base, order or base.order.method
        self.prediction, self.family, self.is_plannable = base.prediction, base.family, base.is_plannable
        if not base.is_plannable:
            self.plannable_variant = getattr(base, "plannable_variant", "its base does")
        self.name = name or f"richardson-{base.name}"
        self.source = f"{SOURCE}, on {base.name}"
        self.history = base.history
        # Removing h^q from a method of order p gives order p + 1 where q = p, and changes nothing of the order else.
        self.order = Claim(*(own + (own == self.removed) for own in base.order))

    @property
    def evaluations(self) -> int:
        return 3 * self.base.evaluations - (0 if self.history else 1)

    def phases(self, steps: int, noise_free_end: bool = False) -> list:
        fine = self.base.phases(2 * steps, noise_free_end)
        coarse = self.base.phases(steps, noise_free_end)
        if self.history:
            last = [False] * (steps - 1) + [True]
        else:  # each step is a run of its own
            whole, half = self.base.phases(1, False)[0], self.base.phases(2, False)
            coarse = [whole] * (steps - 1) + self.base.phases(1, noise_free_end)
            fine = half * (steps - 1) + self.base.phases(2, noise_free_end)
            last = [True] * steps
        return list(zip(coarse, fine[::2], fine[1::2], last, strict=True))

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        coarse, first, second, combine = phase
        halved = self._halved(f, window)
        if not self.history:
            once = answered(f, window[1])
            long = self.base.step(once, window, carry, coarse)["x"]
            short = self._twice(once, f, halved, carry, first, second)["x"]
            return {"x": self._combined(f, long, short)}
        apart = {side: _part(carry, side) or {"x": carry["x"]} for side in ("coarse", "fine")}
        long = self.base.step(f, window[: self.history + 2], apart["coarse"], coarse)
        short = self._twice(f, f, halved, apart["fine"], first, second)
        if combine:
            return {"x": self._combined(f, long["x"], short["x"])}
        return {"x": short["x"], **_named(long, "coarse"), **_named(short, "fine")}

    def _twice(self, begin: Coordinates, f: Coordinates, nodes: tuple, carry: dict, first: Any, second: Any) -> dict:
        """Two steps of half the length; ``nodes`` are the half steps' own, newest first."""
        middle = self.base.step(begin, nodes[1 : self.history + 3], carry, first)
        return self.base.step(f, nodes[: self.history + 2], middle, second)

    def _halved(self, f: Coordinates, window: tuple) -> tuple:
        """The window with the middle of every step, in time, between its ends."""
        nodes = [window[0]]
        for to, at in zip(window, window[1:], strict=False):
            half = f.numbers.number(1) / 2
            index = None if at.index is None else at.index + half * (to.index - at.index)
            nodes += [Instant(at.time + half * (to.time - at.time), index=index), at]
        return tuple(nodes)

    def _combined(self, f: Coordinates, long: Any, short: Any) -> Any:
        power = 2**self.removed
        part = f.numbers.number(1) / (power - 1)
        return dot((power * part, -part), (short, long))

    def carry_from(self, f: Coordinates, instants: list, states: list) -> dict:
        if self.history:
            raise MethodError(f"{self.name} runs from its own start only: exact states between the nodes are not given")
        return {"x": states[0]}

    def key(self) -> dict:
        return {"family": "richardson", "removed": self.removed, "base": self.base.key()}


def _named(carry: dict, side: str) -> dict:
    return {f"{side}-{key}": rows for key, rows in carry.items()}


def _part(carry: dict, side: str) -> dict:
    return {key.removeprefix(f"{side}-"): rows for key, rows in carry.items() if key.startswith(f"{side}-")}


def richardson(method: Any, order: int | None = None, **options: Any) -> Richardson:
    """A method of the catalogue (a name, a Method, a tableau, a file) extrapolated; ``options`` are its own."""
    from odekit.methods import get

    return Richardson(get(method, **options), order)


def _of(name: str) -> Callable[..., Richardson]:
    def make(order: int | None = None) -> Richardson:
        return richardson(name, order)

    return make


METHODS: dict[str, Callable[..., Method]] = {
    f"richardson-{name}": _of(name) for name in ("ddim", "heun-edm", "dpmpp-2s")
}
