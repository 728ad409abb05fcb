"""Conjugate integrators: a change of variables with a matrix B_t, and splittings of what it leaves.

With A_t obeying dA/dt = A (B - F), z^ = A z turns the flow into dz^/dt = A B A^-1 z^ - A G G^T C_out N/2. In the frame
A_t = I of the current step, for a step from t to s < t, h = t - s > 0, with

    P = A_s^-1 A_t = exp(h (B - F)),    W = int over the step of A_s^-1 A_r G G^T C_out/2 dr,

explicit Euler on z^ gives z' = P (z - h B z) + W N. B = 0 is the exponential Euler method; any other B is undone by P
to O(h^2), so that it is a perturbation of that size, and the order stays one. W is `odekit.fields.weights`' of a
prediction whose propagator is P.

Two conjugate splittings of z^ are made here. "joint": project both variables at once, then let them move in turn.
"separate": split position and momentum first, and give each the scalar change of variables of its own diagonal entry.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from odekit.exceptions import MethodError, unknown
from odekit.fields.coordinates import Coordinates, Instant
from odekit.fields.matrix import Acting
from odekit.fields.weights import weights
from odekit.methods.base import Claim, Method
from odekit.methods.phase_splitting import PUBLISHED, VARIABLES, kept, require_phase_space
from odekit.operators import Block, Operator
from odekit.processes.entries import block
from odekit.processes.linear import exponentials

SHAPES = {"identity": ((1, 0), (0, 1)), "ones": ((1, 1), (1, 1))}
"""What B is a multiple of: lambda-DDIM-I and II."""
FRAMES = ("l-noise", "r-noise")
CONSTRUCTIONS = ("joint", "separate")
WORDS = {"euler": 1, "cse": 1, "cvv": 2}
"""Steps of z^ and the evaluations they take: both variables at once, symplectic Euler, velocity Verlet."""


class Conjugate(Method):
    """A step of the conjugate variables z^ = A z, by a word of moves; a Plan on processes of phase space.

    ``rate`` and ``shape``: B = rate times the "identity", a matrix of "ones" or any 2x2 rows of numbers;
    ``prediction``: what is frozen over the step, the noise in the frame of the Cholesky factor (as published) or of
    R_t; ``construction``: of the words "cse" and "cvv", see the module. Order one, for every B.
    Raises MethodError on processes without a momentum, and where A is no exponential because F varies in time.

    >>> from odekit.methods import get
    >>> get("lambda-ddim-2", rate=2.0).order, get("cvv").evaluations
    (Claim(formula=1, method=1), 2)
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
        prediction: str = "l-noise",
        construction: str = "joint",
    ):
        for kind, value, known in (
            ("word", word, WORDS),
            ("prediction", prediction, FRAMES),
            ("construction", construction, CONSTRUCTIONS),
        ):
            if value not in known:
                raise unknown(f"{kind} of {name}", value, known)
        self.name, self.source, self.word, self.rate = name, source, word, rate
        self.shape, self.matrix = shape, _matrix(name, shape)
        self.prediction, self.construction = prediction, construction
        self.order = Claim(1, 1)

    @property
    def evaluations(self) -> int:
        return WORDS[self.word]

    def coordinates(self, field: Any, oracle: Any = None, **options: Any) -> Coordinates:
        """Coordinates whose propagator is that of z^."""
        require_phase_space(self.name, field)
        f = super().coordinates(field, oracle, **options)
        closed = self.shape == "identity" and self.construction == "joint"
        if not (closed or _is_constant(f.process)):
            raise MethodError(
                f"{self.name}: the drift of {f.process!r:.60} varies in time, so A is no exponential; lambda-ddim-1"
                " (B a multiple of the identity) runs on any process"
            )
        return f

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        to, at, x = *window[:2], carry["x"]
        N = f.predict(x, at)
        frame = _Frame(self, f)
        if self.word == "euler":
            h = at.time - to.time
            moved = x - h * (Acting(frame.damping(h)) * x)
            return {"x": Acting(frame.propagator(f.process, to.time, at.time)) * moved + frame.forcing(to, at) * N}
        return {"x": (frame.separate if self.construction == "separate" else frame.joint)(to, at, x, N)}

    def key(self) -> dict:
        own = ("word", "rate", "shape", "prediction", "construction")
        return {"family": "conjugate", **{name: getattr(self, name) for name in own}}


class _Frame:
    """The operators of one step."""

    def __init__(self, method: Conjugate, f: Coordinates):
        self.method, self.f, self.propagator = method, f, method_propagator(method)
        self.weighing = copy.copy(f)
        self.weighing.prediction = replace(f.prediction, propagator=self.propagator, primitive=None)

    def damping(self, like: Any) -> Operator:
        """B."""
        return block(lambda words, t: _filled(words, self.method, t), like)

    def forcing(self, to: Instant, at: Instant) -> Acting:
        """W of the step."""
        return weights(self.weighing, to, at, (at,), "t")[0]

    def joint(self, to: Instant, at: Instant, x: Any, N: Any) -> Any:
        """The variables in turn, in the frame of the step's beginning."""
        h, process = at.time - to.time, self.f.process
        whole = self.propagator(process, to.time, at.time)
        back, B = whole.inverse(), self.damping(h)
        force = Acting(back @ self.forcing(to, at).operator)

        def moved(y: Any, variable: str, share: Any, damping: Operator, pushed: Any) -> Any:
            return y + kept(variable, h) * (pushed - share * h * (Acting(damping) * y))

        if self.method.word == "cse":
            y = moved(x, "m", 1, B, force * N)
            return Acting(whole) * moved(y, "x", 1, B, force * N)
        middle, half = self.f.between(at, to, self.f.numbers.number("1/2"), "t"), self.f.numbers.number("1/2")
        first = self.propagator(process, middle.time, at.time).inverse() @ self.forcing(middle, at).operator
        y = moved(x, "m", half, B, Acting(first) * N)
        y = moved(y, "x", 1, B, force * N)
        again = Acting(back @ self.forcing(to, middle).operator) * self.f.predict(Acting(whole) * y, to)
        return Acting(whole) * moved(y, "m", half, back @ B @ whole, again)

    def separate(self, to: Instant, at: Instant, x: Any, N: Any) -> Any:
        """The variables in turn, each by the scalar change of variables of its own part."""

        def moved(y: Any, variable: str, to: Instant, at: Instant, N: Any) -> Any:
            h = at.time - to.time
            linear = self._scalar_step(to, at, h)
            return kept(_other(variable), h) * y + kept(variable, h) * (Acting(linear) * y + self.forcing(to, at) * N)

        if self.method.word == "cse":
            return moved(moved(x, "m", to, at, N), "x", to, at, N)
        middle = self.f.between(at, to, self.f.numbers.number("1/2"), "t")
        y = moved(moved(x, "m", middle, at, N), "x", to, at, N)
        return moved(y, "m", to, middle, self.f.predict(y, to))

    def _scalar_step(self, to: Instant, at: Instant, h: Any) -> Operator:
        """(1 - h rate) e^(k h) on the diagonal, -F_ij int_0^h e^(k u) du beside it, k = rate - F_ii."""
        rate = self.method.rate

        def formula(words: Any, h: Any, a: Any, b: Any, c: Any, d: Any) -> tuple:
            own = words.constant(rate)

            def pair(diagonal: Any) -> tuple:
                k = own - diagonal
                z = words.where(k * h == 0, 1 + 0 * k * h, k * h)
                mean = words.where(k * h == 0, 1 + 0 * z, words.expm1(z) / z)
                return (1 - h * own) * words.exp(k * h), h * mean

            (x, gained), (m, lost) = pair(a), pair(d)
            return (x, -b * gained), (-c * lost, m)

        return block(formula, h, *_entries(self.f.process.drift(at.time)))


def method_propagator(method: Conjugate) -> Callable[[Any, Any, Any], Operator]:
    """(process, s, r) -> A_s^-1 A_r of the method, r the later time."""
    rate = method.rate

    def grown(process: Any, s: Any, r: Any) -> Operator:
        growth = block(lambda words, t: _diagonal(words.exp(words.constant(rate) * t)), r - s)
        return growth @ process.transition(s, r)

    def mixed(process: Any, s: Any, r: Any) -> Operator:
        """exp((r - s) (B - F))."""

        def formula(words: Any, t: Any, a: Any, b: Any, c: Any, d: Any) -> tuple:
            (p, q), (u, v) = _filled(words, method, t)
            a, b, c, d = t * (p - a), t * (q - b), t * (u - c), t * (v - d)
            half = (a - d) / 2
            even, odd = exponentials(words, (a + d) / 2, half * half + b * c)
            return (even + odd * half, odd * b), (odd * c, even - odd * half)

        return block(formula, r - s, *_entries(process.drift(r)))

    def separate(process: Any, s: Any, r: Any) -> Operator:
        def formula(words: Any, t: Any, a: Any, d: Any) -> tuple:
            own = words.constant(rate)
            return _diagonal(words.exp(t * (own - a)), words.exp(t * (own - d)))

        a, _, _, d = _entries(process.drift(r))
        return block(formula, r - s, a, d)

    if method.construction == "separate":
        return separate
    return grown if method.shape == "identity" else mixed


def _filled(words: Any, method: Conjugate, t: Any) -> tuple:
    """The entries of B."""
    rate, matrix = words.constant(method.rate), [[words.constant(entry) for entry in row] for row in method.matrix]
    return tuple(tuple(rate * entry + 0 * t for entry in row) for row in matrix)


def _diagonal(first: Any, second: Any = None) -> tuple:
    second = first if second is None else second
    return (first, 0 * first), (0 * first, second)


def _matrix(name: str, shape: Any) -> tuple:
    """The rows of numbers that B is a multiple of."""
    if isinstance(shape, str):
        if shape not in SHAPES:
            raise unknown(f"shape of {name}", shape, SHAPES)
        return SHAPES[shape]
    rows = tuple(map(tuple, shape)) if isinstance(shape, list | tuple) else ()
    if [len(row) for row in rows] != [2, 2] or not all(isinstance(x, int | float) for row in rows for x in row):
        raise MethodError(f"{name}: shape = {shape!r:.60} is neither {' nor '.join(SHAPES)} nor 2x2 rows of numbers")
    return rows


def _entries(matrix: Block) -> tuple:
    return tuple(matrix.value[..., i, j] for i in (0, 1) for j in (0, 1))


def _other(variable: str) -> str:
    return next(other for other in VARIABLES if other != variable)


def _is_constant(process: Any) -> bool:
    low, high = process.t_min, process.t_max
    drifts = [process.drift(low + share * (high - low)).value for share in (0.0, 0.37, 1.0)]
    return all(bool((drift == drifts[0]).all()) for drift in drifts)


def lambda_ddim(kind: int) -> Callable[..., Method]:
    """The factory of lambda-DDIM-I (B = rate I) or II (B = rate times a matrix of ones)."""
    shape = ("identity", "ones")[kind - 1]

    def make(rate: float = 0.5, prediction: str = "l-noise") -> Method:
        source = f"{PUBLISHED}, lambda-DDIM-{'I' * kind}"
        if prediction != "l-noise":
            source += f" with {prediction} (this toolkit's variant)"
        return Conjugate(f"lambda-ddim-{kind}", source, "euler", rate, shape, prediction)

    return make


def conjugate_splitting(word: str) -> Callable[..., Method]:
    """The factory of a conjugate splitting, "cse" or "cvv"; their definition is this toolkit's."""
    title = {"cse": "symplectic Euler", "cvv": "velocity Verlet"}[word]

    def make(
        rate: float = 0.5, shape: Any = "ones", prediction: str = "l-noise", construction: str = "joint"
    ) -> Method:
        source = f"conjugate {title}, this toolkit's definition ({construction}); the name after {PUBLISHED}"
        return Conjugate(word, source, word, rate, shape, prediction, construction)

    return make


METHODS: dict[str, Callable[..., Method]] = {
    **{f"lambda-ddim-{kind}": lambda_ddim(kind) for kind in (1, 2)},
    **{word: conjugate_splitting(word) for word in ("cse", "cvv")},
}
