"""Splittings of a diffusion's own flow as Plans: any composition of the flows of two parts, each taken as told.

x' = F x - G G^T score(x, t)/2 falls apart in two ways:

- "linear-score": A is x' = F x, whose flow is the process's transition, exactly, and carries the time; B is the score
  at frozen time, taken by a Runge-Kutta method;
- "position-momentum": A is x' = v_x with m frozen, B is m' = v_m with x frozen, either by a Runge-Kutta method, each
  on a clock of its own (which makes v(t_A) + v(t_B) autonomous).

Sub-flows of order q in a splitting of order p give order min(p, q): the score depends on all that it moves, so no
flow of B is closed, and none of "position-momentum". Steps beyond order two go back at times, within the step or
beyond it: the process must be defined there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from numbers import Rational
from typing import Any

from odekit.algebra import compositions
from odekit.algebra.runge_kutta import Scheme, scheme
from odekit.algebra.splitting import Splitting
from odekit.exceptions import MethodError, brief, unknown
from odekit.fields.coordinates import Coordinates, Instant, dot
from odekit.fields.matrix import Acting
from odekit.fields.operator_predictions import OperatorPrediction
from odekit.methods.base import Claim, Method
from odekit.methods.phase_splitting import kept, require_phase_space
from odekit.operators import Operator, Scalar

PARTS = {"linear-score": ("linear part", "score"), "position-momentum": ("position", "momentum")}
ROUNDING = 1e-9  # of a step: shares that add up to 0 or 1 within it are the step's own ends


class FlowSplitting(Method):
    """A splitting of two parts applied to a probability flow; a Plan.

    ``scheme``: a name of `odekit.algebra.compositions` or a `Splitting` of A and B (compositions of symmetric methods
    and of adjoint pairs are those of A/2 B A/2 and A B); ``parts``: "linear-score" (any process) or
    "position-momentum" (phase space); ``inner``: the explicit Runge-Kutta method of the sub-flows that are not exact.
    Source: Hairer, Lubich, Wanner 2006, sections II.4, II.5.

    Raises MethodError for schemes of more than two parts, for those of Nystroem's kind (the force depends on the
    momentum here) and for sub-flows that are no explicit Runge-Kutta methods.

    >>> FlowSplitting("triple-jump-4", inner="rk4").order, FlowSplitting("strang", inner="euler").order.formula
    (Claim(formula=4, method=4), 1)
    """

    family = "splitting"
    nystrom = False

    def __init__(self, scheme: Any = "strang", parts: str = "linear-score", inner: Any = "rk4", name: str = ""):
        found = compositions.get(scheme) if isinstance(scheme, str) else scheme
        if parts not in PARTS:
            raise unknown("parts", parts, PARTS)
        if not isinstance(found, Splitting):
            raise MethodError(f"scheme = {scheme!r:.40}: expected a Splitting or the name of one")
        if found.nystrom:
            raise MethodError(
                f"{found.name} is made for forces that depend on position alone; the score depends on the momentum"
            )
        self.scheme, self.steps = found, found.as_flows().flat()
        if {x for x, _ in self.steps} != {"A", "B"}:
            raise MethodError(f"{found.name} has the parts {'+'.join(found.parts)}: expected A and B")
        self.parts, self.inner = parts, _explicit(inner)
        self.name = name or f"{found.name}-{parts}"
        self.source = f"{found.source}; sub-flows by {self.inner.name}"
        order = min(found.order, self.inner.order)
        self.order = Claim(order, order)

    @functools.cached_property
    def exact(self) -> Any:
        """What a proof is made of: the additive Runge-Kutta method this is, or the splitting alone.

        That is enough where A is exact and B as good as the splitting. Where B is not, A is a method of order five in
        it: nothing that is exact differs from it in trees up to there.
        """
        if self.parts == "linear-score" and self.inner.order >= self.scheme.order:
            return self.scheme
        own = self.inner.exact
        taken = {"A": _explicit("dp5").exact if self.parts == "linear-score" else own, "B": own}
        moves = [("AB".index(x), share, taken[x].A, taken[x].b) for x, share in self.steps]
        found = additive(self.name, moves)._replace(parts=PARTS[self.parts])
        if all(isinstance(b, Rational) for line in found.b for b in line):
            return found
        found = scheme(found, exact=False)  # roots in so many stages take minutes
        return found._replace(tolerance=10.0 ** (2 - (self.scheme.digits or 14)))

    @property
    def evaluations(self) -> int:
        taken = "B" if self.parts == "linear-score" else "AB"
        return len(self.inner.b) * sum(x in taken for x, _ in self.steps)

    def coordinates(self, field: Any, oracle: Any = None, **options: Any) -> Coordinates:
        if self.parts == "position-momentum":
            require_phase_space(self.name, field)
        elif field.process is None:
            raise MethodError(
                f"{self.name} splits a diffusion: {brief(field)} is a plain field, give a ProbabilityFlow"
            )
        return super().coordinates(field, oracle, **options)

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        nodes: dict = {}
        clock, x = {"A": 0, "B": 0}, carry["x"]
        for letter, share in self.steps:
            start, end = clock[letter], clock[letter] + f.numbers.number(share)
            clock[letter] = end
            if self.parts == "position-momentum":
                x = self._taken(f, window, nodes, x, (start, end), _row("x" if letter == "A" else "m"))
            elif letter == "A":
                t_end, t = _instant(window, nodes, end), _instant(window, nodes, start)
                x = acting(f.process.transition(t_end.time, t.time)) * x
            else:
                clock["B"] = 0  # no time passes: the score is that of A's clock
                x = self._taken(f, window, nodes, x, (start, end), _score, clock["A"])
        return {"x": x}

    def _taken(
        self, f: Coordinates, window: tuple, nodes: dict, x: Any, span: tuple, of: Callable, frozen: Any = None
    ) -> Any:
        """One step of the Runge-Kutta method on a part of the velocity, over a span of shares of the whole step."""
        c, A, b, _ = self.inner.coefficients(f.numbers)
        start, end = span
        h = (window[0].time - window[1].time) * (end - start)
        k: list = []
        for fraction, row in zip(c, A, strict=True):
            at = _instant(window, nodes, start + fraction * (end - start) if frozen is None else frozen)
            k.append(of(f, x + h * dot(row, k), at))
        return x + h * dot(b, k)

    def key(self) -> dict:
        steps = [[x, str(share)] for x, share in self.steps]
        table = {"c": self.inner.c, "A": self.inner.A, "b": self.inner.b}
        return {"family": self.family, "steps": steps, "parts": self.parts, **table}


def additive(name: str, moves: list) -> Scheme:
    """Runge-Kutta steps with parts of a field in turn, as one additive method.

    A move is (which part, its share of the step, rows of A, weights) of the method that takes it.
    """
    stages = sum(len(weights) for *_, weights in moves)
    colours = 1 + max(part for part, *_ in moves)
    gone = [[0] * stages for _ in range(colours)]
    table: list[list[list]] = [[] for _ in range(colours)]
    first = 0
    for part, share, rows, weights in moves:
        for row in rows:
            for colour, line in enumerate(gone):
                own = {first + j: share * a for j, a in enumerate(row)} if colour == part else {}
                table[colour].append([own.get(j, value) for j, value in enumerate(line)])
        for j, weight in enumerate(weights):
            gone[part][first + j] = share * weight
        first += len(weights)
    return Scheme(name, tuple(table), tuple(gone))


def acting(coefficient: Any) -> Any:
    """A coefficient of a process as what multiplies states and rows: numbers as they are."""
    if isinstance(coefficient, Scalar):
        return coefficient.value
    return Acting(coefficient) if isinstance(coefficient, Operator) else coefficient


def _score(f: Coordinates, x: Any, at: Instant) -> Any:
    """-G G^T score/2: the velocity without its linear part."""
    source = f.source
    if isinstance(source, OperatorPrediction) and source.name != "velocity" and source.skip is None:
        if "forcing" not in at.memo:
            at.memo["forcing"] = Acting(source.semilinear(f.process, at.network)[1])
        return at.memo["forcing"] * f.oracle(x, at.network)
    return f.predict(x, at) - acting(f.process.drift(at.time)) * x


def _row(variable: str) -> Callable:
    return lambda f, x, at: kept(variable, at.time) * f.predict(x, at)


def _instant(window: tuple, nodes: dict, share: Any) -> Instant:
    """The instant a share of the way through the step; its ends are the grid's own nodes."""
    place = round(float(share) / ROUNDING)
    if place not in nodes:
        t_next, t = window[:2]
        ends = {0: t, round(1 / ROUNDING): t_next}
        nodes[place] = ends.get(place) or Instant(t.time + share * (t_next.time - t.time))
    return nodes[place]


def _explicit(inner: Any) -> Any:
    from odekit import methods

    tableau = getattr(methods.get(inner), "tableau", None)
    if tableau is None or tableau.kind != "explicit":
        raise MethodError(f"inner = {getattr(inner, 'name', inner)!r}: expected an explicit Runge-Kutta method")
    return tableau


def splitting(scheme: Any = "strang", parts: str = "linear-score", inner: Any = "rk4") -> Method:
    """Any splitting with sub-flows of chosen order."""
    return FlowSplitting(scheme, parts, inner)


def verlet(inner: Any = "midpoint") -> Method:
    """Velocity Verlet with sub-flows of order two, each on its own clock: what makes it of order two."""
    return FlowSplitting("strang-bab", "position-momentum", inner, name="velocity-verlet")


METHODS: dict[str, Callable[..., Method]] = {"strang-linear-score": splitting, "velocity-verlet": verlet}
