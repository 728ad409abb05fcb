"""Samplers of reverse SDEs: Euler-Maruyama on every process, splittings of phase space with exact noise.

With F = damping + coupling, the diagonal of F and the rest, the reverse SDE in its own clock is the sum of

    O:  eta^2 damping u + noise, an Ornstein-Uhlenbeck process, exact;   L: the same with -coupling u, exact;
    A:  -coupling u + (1 + eta^2)(G G^T score/2 - damping u), the position's row, with the momentum frozen;
    B:  the momentum's row, with the position frozen;                    S: both rows, without the coupling.

A, B and S are Euler steps, or explicit midpoint steps at a frozen time. *Naive* words ask for the score in every move,
*reduced* ones use it again. With eta = 0 nothing is drawn that counts, and words of O, A, B are those of
`odekit.methods.phase_splitting`. Euler steps hold every word at weak order one, symmetric or not.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from odekit.exceptions import MethodError, unknown
from odekit.fields.coordinates import Coordinates, Instant
from odekit.fields.matrix import Acting
from odekit.fields.reverse import coefficient, damping, linear, noise, relaxation
from odekit.methods.base import Claim, Method
from odekit.methods.phase_splitting import kept, require_phase_space

PUBLISHED = "Pandey, Rudolph & Mandt 2023 (arXiv 2310.07894)"
MOVES = {"A": "x", "B": "m", "S": None}
"""Moves by the score and which variable they change (None: both)."""
NOISE = {"O": False, "L": True}
"""Moves with noise, and whether position and momentum are coupled in them."""
INNER = ("euler", "midpoint")
HALF = Fraction(1, 2)


class Stochastic(Method):
    """A method that draws noise: `draws` of them a step, on a field with an eta; its orders are weak ones."""

    family = "stochastic"
    draws = 1

    def coordinates(self, field: Any, oracle: Any = None, **options: Any) -> Coordinates:
        f = super().coordinates(field, oracle, **options)
        f.eta = field.eta
        return f


class EulerMaruyama(Stochastic):
    """x' = x + h drift(x, t) + eta sqrt(|h|) G_t z, on every process.

    Source: Maruyama 1955; Kloeden & Platen 1992, section 10.2.

    >>> EulerMaruyama().evaluations, EulerMaruyama().order
    (1, Claim(formula=1, method=1))
    """

    name = "euler-maruyama"
    source = "Maruyama 1955; Kloeden & Platen 1992, section 10.2"
    order = Claim(1, 1)
    evaluations = 1

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        (t_next, t), x, square = window[:2], carry["x"], f.eta**2
        h = t_next.time - t.time
        drift = (1 + square) * f.predict(x, t) + coefficient(-square * linear(f.process, t.time)) * x
        root = f.eta * (-h) ** 0.5
        return {"x": x + h * drift + coefficient(root * noise(f.process, t.time)) * draw(f, t, t_next)}

    def key(self) -> dict:
        return {"family": self.family, "name": self.name}


def draw(f: Coordinates, start: Instant, end: Instant) -> Any:
    """A standard normal draw of the state's shape, for what acts between two instants."""
    return f.oracle.draw(start.time, end.time)


class StochasticSplitting(Stochastic):
    """A word of the moves O, L, A, B, S in order of application, each letter's shares of the step equal; a Plan.

    ``asked``: for each of A, B, S in turn, where on the step the score is asked for it, 0 at its beginning, 1 at its
    end, or None for the last output again. ``inner``: "euler" or "midpoint", how these move.
    Raises MethodError on processes without a momentum, UnknownNameError for other letters.

    >>> from odekit.methods import get
    >>> get("robab").moves
    (('O', Fraction(1, 1), None), ('B', Fraction(1, 2), 0), ('A', Fraction(1, 1), None), ('B', Fraction(1, 2), 1))
    """

    def __init__(self, name: str, word: str, asked: tuple, source: str, order: int = 1, inner: str = "euler"):
        for letter in word:
            if letter not in MOVES and letter not in NOISE:
                raise unknown("move", letter, (*MOVES, *NOISE))
        if inner not in INNER:
            raise unknown("inner", inner, INNER)
        scores = [letter for letter in word if letter in MOVES]
        if len(asked) != len(scores) or asked[:1] == (None,):
            raise MethodError(
                f"{word}: expected when the score is asked for {''.join(scores)}, the first time asked anew"
            )
        self.name, self.word, self.asked, self.source, self.inner = name, word, tuple(asked), source, inner
        self.order = Claim(order, order)
        whens = iter(asked)
        self.moves = tuple(
            (letter, Fraction(1, word.count(letter)), next(whens) if letter in MOVES else None) for letter in word
        )

    @property
    def evaluations(self) -> int:
        return sum(when is not None for when in self.asked) + self.inner.count("midpoint") * len(self.asked)

    @property
    def draws(self) -> int:
        """Noise draws a step."""
        return sum(letter in NOISE for letter in self.word)

    def coordinates(self, field: Any, oracle: Any = None, **options: Any) -> Coordinates:
        require_phase_space(self.name, field)
        return super().coordinates(field, oracle, **options)

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        (t_next, t), u, passed = window[:2], carry["x"], dict.fromkeys(NOISE, Fraction(0))
        h, at, force = t_next.time - t.time, t, None
        for letter, share, when in self.moves:
            if letter in NOISE:
                start, passed[letter] = passed[letter], passed[letter] + share
                ends = (between(f, t, t_next, c) for c in (start, passed[letter]))
                u = relaxed(f, u, *ends, coupled=NOISE[letter])
                continue
            if when is not None:
                at = between(f, t, t_next, when)
                force = pull(f, u, at)
            length = h * f.numbers.number(share)
            if self.inner == "midpoint":
                middle = u + length * f.numbers.number(HALF) * self._velocity(f, letter, force, u, at)
                force = pull(f, middle, at)
                u = u + length * self._velocity(f, letter, force, middle, at)
            else:
                u = u + length * self._velocity(f, letter, force, u, at)
        return {"x": u}

    def _velocity(self, f: Coordinates, letter: str, force: Any, u: Any, at: Instant) -> Any:
        """What a move adds per time: a known force and the linear part at u."""
        F = f.process.drift(at.time)
        own = damping(F)
        part = (1 + f.eta**2) * own if MOVES[letter] is None else F + f.eta**2 * own
        velocity = force + Acting(part) * u
        return velocity if MOVES[letter] is None else kept(MOVES[letter], at.time) * velocity

    def key(self) -> dict:
        return {"family": self.family, "word": self.word, "asked": list(map(str, self.asked)), "inner": self.inner}


def between(f: Coordinates, t: Instant, t_next: Instant, share: Any) -> Instant:
    """The instant a share of the step in; its ends are the grid's own."""
    return f.between(t, t_next, share if share in (0, 1) else f.numbers.number(share), "t")


def pull(f: Coordinates, u: Any, at: Instant) -> Any:
    """-(1 + eta^2)/2 G G^T score at (u, t), from the velocity v: (1 + eta^2)(v - F u)."""
    return (1 + f.eta**2) * (f.predict(u, at) - Acting(f.process.drift(at.time)) * u)


def relaxed(f: Coordinates, u: Any, at: Instant, to: Instant, coupled: bool) -> Any:
    """u after the exact flow of O or L with noise."""
    decay, spread = relaxation(f, at, to, f.eta, coupled)
    return decay * u + spread * draw(f, at, to)


WORDS: dict[str, tuple[str, tuple, bool, str]] = {
    "noba": ("OBA", (0, 1), False, "naive OBA"),
    "roba": ("OBA", (1, None), False, "reduced OBA (SPS-S without its factor on the noise)"),
    "nbao": ("BAO", (0, 1), False, "naive BAO"),
    "rbao": ("BAO", (1, None), False, "reduced BAO"),
    "nobab": ("OBAB", (0, 0, 1), False, "naive OBAB"),
    "robab": ("OBAB", (0, None, 1), True, "reduced OBAB"),
    "robabo": ("OBABO", (0, None, 1), True, "reduced OBABO"),
}
"""Words, when each move asks for the score if the last evaluation is timed at the step's end, whether it is, and what
they are."""


def _word(name: str) -> Callable[..., Method]:
    word, timed, late, what = WORDS[name]

    def make(corrected: bool = late) -> Method:
        """``corrected``: the last evaluation is asked at the step's end, not at its beginning."""
        asked = timed if corrected else tuple(when and 0 for when in timed)
        return StochasticSplitting(name, word, asked, f"{PUBLISHED}, {what}")

    return make


def baoab(naive: bool = False, corrected: bool | None = None) -> Method:
    """BAOAB of the reverse SDE: the score asked twice (by default, the second time at the step's end), or ``naive``."""
    late = int(not naive if corrected is None else corrected)
    asked = (0, 0, late, late) if naive else (0, None, late, None)
    kind = "naive" if naive else "reduced"
    return StochasticSplitting("baoab", "BAOAB", asked, f"{PUBLISHED}, {kind} BAOAB; Leimkuhler & Matthews 2013")


DOCKHORN = "Dockhorn, Vahdat & Kreis 2022 (arXiv 2112.07068), section 4"


def sscs(centred: bool = False) -> Method:
    """Symmetric splitting CLD sampler: the score asked at the step's beginning, or (``centred``) at its middle."""
    when = HALF if centred else 0
    return StochasticSplitting("sscs", "LSL", (when,), f"{DOCKHORN}, SSCS" + ", score at the middle" * centred)


def sscs_midpoint() -> Method:
    """SSCS whose score part is an explicit midpoint step at the middle of the step: of weak order two."""
    source = f"{DOCKHORN}, SSCS; this toolkit's midpoint step for the score"
    return StochasticSplitting("sscs-midpoint", "LSL", (HALF,), source, order=2, inner="midpoint")


METHODS: dict[str, Callable[..., Method]] = {
    **{name: _word(name) for name in WORDS},
    "baoab": baoab,
    "sscs": sscs,
    "sscs-midpoint": sscs_midpoint,
    "euler-maruyama": EulerMaruyama,
}
