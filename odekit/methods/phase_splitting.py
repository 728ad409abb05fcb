"""Splitting integrators in phase space: position and momentum in turn, symplectic Euler and velocity Verlet.

With u = (x, m) the flow u' = v(u, t) = F u - G G^T score(u, t)/2 falls into x' = v_x with m frozen and m' = v_m with x
frozen. Each is taken by one explicit Euler step, and *reduced* methods use the model's output again:

    x' = x + h [v(u_0) + F (u - u_0)]_x,    u_0 where the model was asked,

which is v_x with the score of u_0 and the linear part of u. Whatever the word, Euler steps within a part are of order
one, and so is the method; compositions of better sub-flows are in `odekit.methods.phase_flows`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from odekit.algebra.runge_kutta import Scheme
from odekit.exceptions import MethodError, brief, unknown
from odekit.fields.coordinates import Coordinates
from odekit.fields.matrix import Acting
from odekit.methods.base import Claim, Method
from odekit.processes.entries import block

PUBLISHED = "Pandey, Rudolph & Mandt 2023 (arXiv 2310.07894)"
PHASE_SPACE = "a ProbabilityFlow on CLD, PSLD or a LinearSDE of two channels"
VARIABLES = {"x": 0, "m": 1}

Move = tuple[str, Fraction, int | None]
"""Which variable moves, by which share of the step, and where on the step the model is asked for it: at its beginning
(0), at its end (1), or not at all (None), when the last output is used again."""


def kept(variable: str, like: Any) -> Acting:
    """The projection on one variable, "x" or "m", in the number kind of a time."""
    first = int(variable == "x")
    return Acting(block(lambda words, t: ((first + 0 * t, 0 * t), (0 * t, 1 - first + 0 * t)), like))


def require_phase_space(name: str, field: Any) -> None:
    """Raises MethodError for a field whose states have no momentum."""
    if not has_two_channels(field):
        shown = brief(field if field.process is None else field.process)
        raise MethodError(
            f"{name} moves position and momentum in turn, 2x2 blocks on states (B, 2, *shape); {shown} has no such"
            f" pair: give {PHASE_SPACE}"
        )


def has_two_channels(field: Any) -> bool:
    """Whether the states of a field are (B, 2, *shape)."""
    process = field.process
    return getattr(process, "carrier", None) == "block" and getattr(process, "channels", 2) == 2


class PhaseSplitting(Method):
    """A word of moves of position and momentum, each an Euler step; a Plan on every process of phase space.

    Order one, whatever the word (the moves are of order one, and the flows of both parts depend on what they move).
    Raises MethodError on processes without a momentum.

    >>> from odekit.methods import get
    >>> get("rvv").moves
    (('m', Fraction(1, 2), 0), ('x', Fraction(1, 1), None), ('m', Fraction(1, 2), 1))
    """

    family = "splitting"
    nystrom = False

    def __init__(self, name: str, moves: tuple[Move, ...], source: str):
        self.name, self.moves, self.source = name, moves, source
        self.order = Claim(1, 1)

    @functools.cached_property
    def exact(self) -> Scheme:
        """The additive Runge-Kutta method this is, for an autonomous field: score and linear part of x, then of m.

        Its stages are the states before each move; a used output stays with the stage it was asked at.
        """
        count = len(self.moves)
        gone = [[Fraction(0)] * count for _ in range(4)]
        rows: list[list[list]] = [[] for _ in gone]
        asked = 0
        for stage, (variable, share, when) in enumerate(self.moves):
            for part, line in zip(rows, gone, strict=True):
                part.append(list(line))
            asked = asked if when is None else stage
            score = 2 * VARIABLES[variable]
            gone[score][asked] += share
            gone[score + 1][stage] += share
        parts = tuple(f"{part} of {variable}" for variable in VARIABLES for part in ("score", "linear part"))
        return Scheme(self.name, tuple(rows), tuple(gone), parts=parts)

    @property
    def evaluations(self) -> int:
        return sum(when is not None for _, _, when in self.moves)

    def coordinates(self, field: Any, oracle: Any = None, **options: Any) -> Coordinates:
        require_phase_space(self.name, field)
        return super().coordinates(field, oracle, **options)

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        t_next, t = window[:2]
        h, u = t_next.time - t.time, carry["x"]
        asked = slope = drift = None
        for variable, share, when in self.moves:
            if when is not None:
                at = (t, t_next)[when]
                asked, slope, drift = u, f.predict(u, at), Acting(f.process.drift(at.time))
            velocity = slope if u is asked else slope + drift * (u - asked)
            u = u + h * f.numbers.number(share) * (kept(variable, h) * velocity)
        return {"x": u}

    def key(self) -> dict:
        return {"family": self.family, "moves": [[x, str(share), when] for x, share, when in self.moves]}


ONE, HALF = Fraction(1), Fraction(1, 2)
EULER: dict[str, tuple[Move, ...]] = {
    "m": (("m", ONE, 0), ("x", ONE, 0)),
    "x": (("x", ONE, 0), ("m", ONE, 0)),
}


def nse(first: str = "m") -> Method:
    """Naive symplectic Euler: the model is asked for each variable; ``first`` moves first."""
    if first not in VARIABLES:
        raise unknown("first", first, VARIABLES)
    return PhaseSplitting("nse", EULER[first], f"{PUBLISHED}, naive symplectic Euler")


def rse() -> Method:
    """Reduced symplectic Euler: one evaluation a step."""
    return PhaseSplitting("rse", (("m", ONE, 0), ("x", ONE, None)), f"{PUBLISHED}, reduced symplectic Euler")


def _verlet(name: str, again: int | None, corrected: bool, source: str) -> Method:
    moves = (("m", HALF, 0), ("x", ONE, again), ("m", HALF, int(corrected)))
    return PhaseSplitting(name, moves, source)


def nvv(corrected: bool = False) -> Method:
    """Naive velocity Verlet; ``corrected`` asks for the last half step at the step's end, this toolkit's variant."""
    variant = " with the time correction of RVV (this toolkit's variant)" if corrected else ""
    return _verlet("nvv", 0, corrected, f"{PUBLISHED}, naive velocity Verlet{variant}")


def rvv(corrected: bool = True) -> Method:
    """Reduced velocity Verlet: x moves by the first output again; ``corrected`` times the second at the step's end."""
    source = f"{PUBLISHED}, reduced velocity Verlet"
    return _verlet("rvv", None, corrected, source if corrected else f"{source} without the time correction")


METHODS: dict[str, Callable[..., Method]] = {"nse": nse, "rse": rse, "nvv": nvv, "rvv": rvv}
