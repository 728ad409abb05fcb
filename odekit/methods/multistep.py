"""Linear multistep methods from their coefficients, on any grid: explicit ones are Plans, implicit ones run eagerly.

    y_next = -sum_(j>=1) alpha_j y_j + h sum_j beta_j N_j,    h = t_next - t, divided by alpha_0

with alpha and beta taken at the ratios of the grid's own steps. A formula whose coefficients are plain numbers runs as
it is written, with the h of the step under way: on unequal steps it is of lower order, and its certificate says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any

from odekit.algebra import multistep as families
from odekit.algebra.multistep import Multistep, is_null
from odekit.algebra.multistep_stability import strongly_stable
from odekit.exceptions import MethodError
from odekit.fields.coordinates import Coordinates, dot
from odekit.fields.predictions import prediction as resolve
from odekit.methods import files
from odekit.methods.adams import STARTERS
from odekit.methods.base import Claim, Method
from odekit.methods.implicit import TOLERANCE, Implicit, ImplicitRungeKutta
from odekit.methods.runge_kutta import RungeKutta

IMPLICIT_STARTERS = {1: "implicit-euler", 2: "sdirk2", 3: "radau-iia-2", 4: "sdirk4", 5: "radau-iia-3", 6: "gauss-3"}
"""The one-step method of each order that starts an implicit formula of one order more, which loses nothing by it."""


SMALL = 0.05
"""A weight of the newest output below which it cannot be recovered from the equation it stands in."""


class LinearMultistep(Method):
    """An explicit formula applied to dy/dtau = N(a y, t); in raw coordinates (velocity) the textbook's method.

    ``starter``: the one-step method that takes the first steps. ``opening``: formulas that take them instead, of rising
    order, the i-th over i + 1 steps.
    Source: Hairer, Norsett & Wanner 1993, sections III.1 and, for unequal steps, III.5.
    """

    family = "multistep"

    def __init__(
        self,
        formula: Multistep,
        prediction: Any = "velocity",
        starter: Method | None = None,
        opening: Sequence[Multistep] = (),
    ):
        resolve(prediction)  # an unknown name is refused here, not in the middle of a solve
        self.formula, self.prediction, self.starter = formula, prediction, starter
        self.name, self.source, self.k = formula.name, formula.source, formula.order
        self.history = len(formula.nodes) - 2
        self.formulas = {one.order: one for one in (*opening, formula)}
        self.opening = ["start" if starter else opening[i].order for i in range(self.history)]
        alpha, beta = _somewhere(formula)
        # An explicit step evaluates N at its start, an implicit one knows it from the step before.
        self.past, self.outputs = _last(alpha) - 1, max(_last(beta) - int(formula.is_explicit), 0)
        # A first step of order p has a local error h^(p+1), and so has what follows.
        opened = starter.order.method if starter else opening[0].order if opening else formula.order
        self.order = Claim(formula.order, min(formula.order, opened + 1) if self.history else formula.order)

    def phases(self, steps: int, noise_free_end: bool = False) -> list:
        return [*self.opening[:steps], *[self.k] * (steps - self.history)]

    def coefficients(self, f: Coordinates, window: tuple, phase: Any) -> tuple:
        """(h, [alpha_1, ...], beta_0, [beta_1, ...]), both divided by alpha_0, for the step into ``window[0]``."""
        formula = self.formulas[phase]
        clocks = [self._clock(f, at) for at in window[: len(formula.nodes)]]
        steps = [a - b for a, b in zip(clocks, clocks[1:], strict=False)]
        ratios = [a / b for a, b in zip(steps, steps[1:], strict=False)]
        alpha, beta = _values(formula, f.numbers, ratios)
        return steps[0], alpha[1:], beta[0], beta[1:]

    def _clock(self, f: Coordinates, at: Any) -> Any:
        return f.clock(at)

    def _before(self, f: Coordinates, window: tuple, carry: dict, alpha: Sequence) -> Any:
        """-sum_j alpha_j y_j over the states known, in straight coordinates."""
        states = (carry["x"], *carry.get("past", ()))
        return dot([-a for a in alpha], [f.enter(x, at) for x, at in zip(states, window[1:], strict=False)])

    def _carry(self, moved: Any, past: tuple, outputs: tuple) -> dict:
        kept = {"past": past[: self.past], "N": outputs[: self.outputs]}
        return {"x": moved, **{key: rows for key, rows in kept.items() if rows}}

    def _under_way(self, f: Coordinates, instants: list, states: list, first: int) -> dict:
        known = range(first, min(first + self.outputs, len(states)))
        return self._carry(states[0], tuple(states[1:]), tuple(f.predict(states[j], instants[j]) for j in known))

    def key(self) -> dict:
        start = self.starter.key() if self.starter else "rising"
        formulas = {str(k): _key(one) for k, one in self.formulas.items()}
        chosen = {"order": list(self.order), "prediction": str(self.prediction), "start": start}
        return {"family": self.family, "name": self.name, "formulas": formulas, **chosen}


class ExplicitMultistep(LinearMultistep):
    """Explicit formulas: a model evaluation a step, and a Plan."""

    @property
    def evaluations(self) -> int:
        return 1

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        t_next, t = window[:2]
        x, old = carry["x"], carry.get("N", ())
        if phase == "start":
            moved, now = self.starter.advance(f, window, x)
        else:
            h, alpha, _, beta = self.coefficients(f, window, phase)
            now = f.predict(x, t)
            moved = f.leave(self._before(f, window, carry, alpha) + h * dot(beta, (now, *old)), t_next)
        return self._carry(moved, (x, *carry.get("past", ())), (now, *old))

    def carry_from(self, f: Coordinates, instants: list, states: list) -> dict:
        return self._under_way(f, instants, states, 1)


class ImplicitMultistep(LinearMultistep, Implicit):
    """Implicit formulas, solved for the new state by Newton's method to the relative tolerance ``tol``.

    The newest output is recovered from the equation solved, not evaluated anew, which would multiply the tolerance by
    the stiffness; but where its weight is small (in Simpson's rule, where steps halve, it vanishes) it is.
    """

    evaluations = Implicit.evaluations

    def __init__(self, formula: Multistep, prediction: Any = "velocity", tol: float = TOLERANCE, **start: Any):
        Implicit.__init__(self, tol)
        super().__init__(formula, prediction, **start)
        self.plannable_variant = (
            f"it is implicit; the Adams pair of its order, 'abm-{max(self.k, 2)}' (PECE), is a Plan"
        )

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        t_next, t = window[:2]
        x = carry["x"]
        known = carry.get("N") or ((f.predict(x, t),) if self.outputs else ())
        if phase == "start":
            moved = self.starter.step(f, window, {"x": x}, "last")["x"]
            ahead = f.predict(moved, t_next) if known else None
        else:
            h, alpha, own, beta = self.coefficients(f, window, phase)
            base = self._before(f, window, carry, alpha) + h * dot(beta, known)
            y = self._solve([lambda u: f(u, t_next)], [base], [[h * own]], f.enter(x, t), t_next)[0]
            moved, ahead = f.leave(y, t_next), (y - base) / (h * own) if abs(own) > SMALL else f(y, t_next)
        return self._carry(moved, (x, *carry.get("past", ())), (ahead, *known))

    def _clock(self, f: Coordinates, at: Any) -> float:
        return float(f.clock(at))

    def carry_from(self, f: Coordinates, instants: list, states: list) -> dict:
        return self._under_way(f, instants, states, 0)

    def key(self) -> dict:
        return {**super().key(), "tol": self.tol}


# Coefficients as numbers.


def _last(coefficients: Sequence) -> int:
    """The last index whose coefficient is not zero; one at least."""
    return max([1, *(j for j, v in enumerate(coefficients) if not is_null(v))])


def _somewhere(formula: Multistep) -> tuple:
    tried = formula.at_random() if formula.varies else formula
    return tried.alpha, tried.beta


def _values(formula: Multistep, numbers: Any, ratios: Sequence) -> tuple[list, list]:
    """alpha and beta at ratios of steps (numbers of a field, or vectors of them), divided by alpha_0."""
    if formula.rule and ratios:
        alpha, beta = formula.rule(families.nodes_at(ratios))
        return list(alpha), list(beta)  # rules have alpha_0 = 1
    values = _program(formula)(numbers, *ratios)
    return values[: len(formula.alpha)], values[len(formula.alpha) :]


@lru_cache(maxsize=64)
def _program(formula: Multistep) -> Callable[..., list]:
    alpha, beta = formula.alpha, formula.beta
    if all(isinstance(v, int | Fraction) for v in (*alpha, *beta)):
        exact = [Fraction(v) / alpha[0] for v in (*alpha, *beta)]
        return lambda numbers, *ratios: [numbers.number(v) if v else 0 for v in exact]
    from odekit.methods.entries import compiled

    alpha, beta = formula.expressions()
    return compiled([v / alpha[0] for v in (*alpha, *beta)], [f"w{j}" for j in range(1, len(formula.nodes) - 1)])


def _key(formula: Multistep) -> dict:
    alpha, beta = ([str(v) for v in part] for part in (formula.alpha, formula.beta))
    return {"alpha": alpha, "beta": beta, "varies": formula.name if formula.rule else formula.varies}


# What makes methods.


def from_formula(formula: Multistep) -> Callable[..., Method]:
    """The factory that makes a method of a formula; MethodError for one that is known on certain unequal steps only."""
    if not (formula.varies or formula.is_uniform):
        raise MethodError(f"{formula.name} is made for certain steps; equal ones or ratios w1, w2, ... can run")
    return explicit if formula.is_explicit else implicit


def explicit(formula: Multistep, start: str | None = None, prediction: Any = "velocity") -> Method:
    """An explicit formula as a method; ``start``: a tableau's name (by default one of enough order) or "rising"."""
    return ExplicitMultistep(formula, prediction, **_start(formula, start, prediction, STARTERS))


def implicit(
    formula: Multistep, start: str | None = None, prediction: Any = "velocity", tol: float = TOLERANCE
) -> Method:
    """An implicit formula as a method; ``start`` as for `explicit`."""
    return ImplicitMultistep(formula, prediction, tol, **_start(formula, start, prediction, IMPLICIT_STARTERS, tol))


def named(name: str) -> Callable[..., Method]:
    """The factory of a classical formula."""
    formula = families.get(name)
    if name.startswith("bdf-") and formula.order > 6:
        raise MethodError(f"{name}: BDF methods are zero-stable to order 6 only")
    return partial(from_formula(formula), formula)


OPENING: dict[str, Callable[[int], Multistep]] = {
    "ab": lambda i: families.adams_bashforth(i + 1),
    "am": lambda i: families.adams_moulton(i + 2),
    "bdf": lambda i: families.bdf(i + 1),
    "nystroem": lambda i: families.nystroem(i + 1) if i else families.adams_bashforth(1),
    "milne-simpson": lambda i: families.adams_moulton(i + 2),
}
"""By family, the formula over i + 1 steps that starts the longer ones: what "rising" means."""

NAMES = (
    *(f"{family}-{k}" for family in ("am", "bdf") for k in range(1, 7)),
    *(f"nystroem-{k}" for k in range(2, 6)),
    "milne-simpson-2",
)
"""The catalogue's. Nystroem's method of order k, the explicit midpoint rule for 2, and Simpson's rule."""


def _start(formula: Multistep, name: str | None, prediction: Any, starters: dict, *tol: float) -> dict:
    """What takes the first steps: lower orders of the family, or a one-step method."""
    if len(formula.nodes) == 2:  # a method of one step needs none
        return {}
    if name == "rising":
        if not formula.rule:
            raise MethodError(f"{formula.name} comes without formulas of lower order: start with a tableau's name")
        family = formula.name.rpartition("-")[0]
        return {"opening": [OPENING[family](i) for i in range(len(formula.nodes) - 2)]}
    # An error of the start that nothing damps must be smaller than those of the steps.
    enough = formula.order - int(strongly_stable(formula))
    tableau = files.get(name or starters.get(max(enough, 1), "dop853"))
    if tableau.kind == "explicit":
        return {"starter": RungeKutta(tableau, prediction)}
    if formula.is_explicit:
        raise MethodError(f"{formula.name} is explicit: it starts with an explicit tableau, {tableau.name} is not one")
    return {"starter": ImplicitRungeKutta(tableau, prediction, *tol)}
