"""Conjugate integrators: a change of variables with a matrix B_t, and splittings of what it leaves.

The flow is u' = A u + G N, N the prediction: A = F - G G^T C_skip/2. With T_t obeying dT/dt = T (B - A), u^ = T u turns
it into du^/dt = T B T^-1 u^ + T G N. In the frame T_t = I of the current step, from t to s < t, h = t - s > 0, with

    P = T_s^-1 T_t = Psi_{A-B}(s, t),    W = int_t^s Psi_{A-B}(s, r) G_r dr,

explicit Euler on u^ gives u' = P (u - h B_t u) + W N. B = 0 is the exponential Euler method; any other B is undone by P
to O(h^2), so that it is a perturbation of that size, and the order stays one. C_skip is none: it moves what N is.

`frame_of` finds P and W. B = b I commutes with everything: P = exp(int b) Psi_A on every carrier, and W is the one of
B = 0 and what b adds. Where F and B are constant and nothing is skipped, P = exp(h (B - F)). Else P is *not* the
exponential of an integral, because B - A does not commute with itself at different times, and the equation is solved.

Two conjugate splittings of u^ are made here. "joint": project both variables at once, then let them move in turn.
"separate": split position and momentum first, and give each the scalar change of variables of its own diagonal entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from odekit.exceptions import MethodError, brief, unknown
from odekit.fields.coordinates import Coordinates, Instant
from odekit.fields.matrix import Acting
from odekit.fields.operator_predictions import OPERATOR_PREDICTIONS
from odekit.fields.predictions import prediction as resolve
from odekit.methods.base import Claim, Method
from odekit.methods.conjugate_frames import Frame, frame_of
from odekit.methods.damping import Damping
from odekit.methods.phase_splitting import (
    PHASE_SPACE,
    PUBLISHED,
    VARIABLES,
    has_two_channels,
    kept,
    require_phase_space,
)
from odekit.operators import Operator

CONSTRUCTIONS = ("joint", "separate")
WORDS = {"euler": 1, "cse": 1, "cvv": 2}
"""Steps of u^ and the evaluations they take: both variables at once, symplectic Euler, velocity Verlet."""


class Conjugate(Method):
    """A step of the conjugate variables u^ = T u, by a word of moves; a Plan on every process that has its B.

    ``rate`` and ``shape``: B = rate times "identity" or an expression in t (any process), or times "ones", 2x2 rows of
    numbers and expressions, or a SymPy matrix in one symbol (two channels); see `odekit.methods.damping.Damping`.
    ``prediction``: what is frozen over the step, by default the noise in the frame of the Cholesky factor, as
    published; "r-noise", "edm" or `Preconditioned` scores, and on isotropic processes any. ``construction``: of the
    words "cse" and "cvv", see the module. Order one, for every B.
    Raises MethodError where a process has no two channels for a matrix B or a word that moves them in turn.

    >>> from odekit.methods import get
    >>> get("lambda-ddim-2", rate=2.0).order, get("cvv").evaluations
    (Claim(formula=1, method=1), 2)
    >>> get("lambda-ddim-1", shape=[["1", "t"], ["-t", "1"]], prediction="r-noise").damping.is_constant
    False
    """

    family = "splitting"
    nystrom = False

    def __init__(
        self,
        name: str,
        source: str,
        word: str = "euler",
        rate: float = 0.0,
        shape: Any = "identity",
        prediction: Any = "l-noise",
        construction: str = "joint",
    ):
        for kind, value, known in (("word", word, WORDS), ("construction", construction, CONSTRUCTIONS)):
            if value not in known:
                raise unknown(f"{kind} of {name}", value, known)
        self.name, self.source, self.word, self.rate, self.shape = name, source, word, rate, shape
        self.damping = Damping(name, rate, shape)
        resolve(prediction)
        if self.of_channels and isinstance(prediction, str) and prediction not in OPERATOR_PREDICTIONS:
            raise unknown(f"prediction of {name}", prediction, OPERATOR_PREDICTIONS)
        self.prediction, self.construction = prediction, construction
        self.order = Claim(1, 1)

    @property
    def of_channels(self) -> bool:
        """Whether it runs on position and momentum only."""
        return self.word != "euler" or self.damping.of_channels

    @property
    def evaluations(self) -> int:
        return WORDS[self.word]

    def coordinates(self, field: Any, oracle: Any = None, **options: Any) -> Coordinates:
        if self.word != "euler":
            require_phase_space(self.name, field)
        elif self.damping.of_channels and not has_two_channels(field):
            shown = brief(field if field.process is None else field.process)
            raise MethodError(
                f"{self.name}: B = rate times {self.damping.shape!s:.40} is a 2x2 matrix, on states (B, 2, *shape), and"
                f" {shown} has no two channels: give shape='identity', a number or a text in t, or {PHASE_SPACE}"
            )
        return super().coordinates(field, oracle, **options)

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        to, at, x = *window[:2], carry["x"]
        N = f.predict(x, at)
        frame = frame_of(self.damping, f, separate=self.construction == "separate")
        if self.word == "euler":
            h = at.time - to.time
            P, W = frame.factors(to, at)
            return {"x": P * (x - h * (frame.damping(at) * x)) + W * N}
        move = _separate if self.construction == "separate" else _joint
        return {"x": move(self.word, frame, f, to, at, x, N)}

    def projection(self, field: Any, to: Instant, at: Instant) -> Operator:
        """P of the step from ``at`` to ``to`` on a field of phase space: the back projection from u^ to u."""
        require_phase_space(self.name, field)
        frame = frame_of(self.damping, self.coordinates(field), separate=self.construction == "separate")
        return frame.factors(to, at)[0].operator

    def key(self) -> dict:
        own = {"word": self.word, "prediction": str(self.prediction), "construction": self.construction}
        return {"family": "conjugate", **own, **self.damping.key()}


def _joint(word: str, frame: Frame, f: Coordinates, to: Instant, at: Instant, x: Any, N: Any) -> Any:
    """The variables in turn, in the frame of the step's beginning."""
    h = at.time - to.time
    P, W = (factor.operator for factor in frame.factors(to, at))
    back, B = P.inverse(), Acting(frame.B.at(at.time))
    force = Acting(back @ W)

    def moved(y: Any, variable: str, share: Any, damping: Acting, pushed: Any) -> Any:
        return y + kept(variable, h) * (pushed - share * h * (damping * y))

    if word == "cse":
        y = moved(x, "m", 1, B, force * N)
        return Acting(P) * moved(y, "x", 1, B, force * N)
    middle, half = f.between(at, to, f.numbers.number("1/2"), "t"), f.numbers.number("1/2")
    first_P, first_W = (factor.operator for factor in frame.factors(middle, at))
    y = moved(x, "m", half, B, Acting(first_P.inverse() @ first_W) * N)
    y = moved(y, "x", 1, B, force * N)
    again = Acting(back @ frame.factors(to, middle)[1].operator) * f.predict(Acting(P) * y, to)
    return Acting(P) * moved(y, "m", half, Acting(back @ frame.B.at(to.time) @ P), again)


def _separate(word: str, frame: Frame, f: Coordinates, to: Instant, at: Instant, x: Any, N: Any) -> Any:
    """The variables in turn, each by the scalar change of variables of its own part."""

    def moved(y: Any, variable: str, to: Instant, at: Instant, N: Any) -> Any:
        h = at.time - to.time
        P, W = frame.factors(to, at)
        other = next(name for name in VARIABLES if name != variable)
        alone = P * (y - h * (frame.damping(at) * y)) + frame.coupling(to, at) * y + W * N
        return kept(other, h) * y + kept(variable, h) * alone

    if word == "cse":
        return moved(moved(x, "m", to, at, N), "x", to, at, N)
    middle = f.between(at, to, f.numbers.number("1/2"), "t")
    y = moved(moved(x, "m", middle, at, N), "x", to, at, N)
    return moved(y, "m", to, middle, f.predict(y, to))


def lambda_ddim(kind: int) -> Callable[..., Method]:
    """The factory of lambda-DDIM-I (B = rate I) or II (B = rate times a matrix of ones)."""
    published = ("identity", "ones")[kind - 1]

    def make(rate: float = 0.5, prediction: Any = "l-noise", shape: Any = published) -> Method:
        variants = [f"the prediction {prediction}"] * (prediction != "l-noise") + ["its own B"] * (shape != published)
        source = f"{PUBLISHED}, lambda-DDIM-{'I' * kind}"
        if variants:
            source += f" with {' and '.join(variants)} (this toolkit's variant)"
        return Conjugate(f"lambda-ddim-{kind}", source, "euler", rate, shape, prediction)

    return make


def conjugate_splitting(word: str) -> Callable[..., Method]:
    """The factory of a conjugate splitting, "cse" or "cvv"; their definition is this toolkit's."""
    title = {"cse": "symplectic Euler", "cvv": "velocity Verlet"}[word]

    def make(
        rate: float = 0.5, shape: Any = "ones", prediction: Any = "l-noise", construction: str = "joint"
    ) -> Method:
        source = f"conjugate {title}, this toolkit's definition ({construction}); the name after {PUBLISHED}"
        return Conjugate(word, source, word, rate, shape, prediction, construction)

    return make


METHODS: dict[str, Callable[..., Method]] = {
    **{f"lambda-ddim-{kind}": lambda_ddim(kind) for kind in (1, 2)},
    **{word: conjugate_splitting(word) for word in ("cse", "cvv")},
}
