"""Implicit methods: Runge-Kutta with coupled or successive stages, Adams-Moulton and BDF on any grid.

Their steps are not straight-line programs: they solve Y = base + M F(Y) by Newton's method, so they run eagerly. All
solve to a stated relative tolerance ``tol`` (1e-14 by default), or as far as the state's floating-point type allows:
where rounding in F makes that impossible, to the rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from odekit.exceptions import DivergenceError, MethodError, ModelError, PredictionError
from odekit.fields.coordinates import Coordinates, dot
from odekit.fields.weights import weights
from odekit.methods import files
from odekit.methods.base import Claim, Method
from odekit.methods.runge_kutta import RungeKutta
from odekit.methods.tableau import Tableau, is_zero

TOLERANCE = 1e-14
ITERATIONS = 40
SLOW = 0.1
"""A Newton iteration that leaves more than this fraction of the error asks for new Jacobians."""

EXPLICIT = {1: "euler", 2: "heun2", 3: "kutta3", 4: "rk4", 5: "dp5", 6: "verner6"}
STARTERS = {1: "implicit-euler", 2: "sdirk2", 3: "radau-iia-2", 4: "sdirk4", 5: "radau-iia-3", 6: "gauss-3"}
"""The one-step method of each order that starts a multistep method of one order more, which loses nothing by it."""


class Implicit(Method):
    """What implicit methods share: they run eagerly, and their nonlinear equations have a tolerance."""

    is_plannable = False
    plannable_variant: str = ""
    """What to take instead where a Plan is wanted."""

    def __init__(self, tol: float):
        if not 0 < tol < 1:
            raise MethodError(f"tol = {tol}: a relative tolerance between 0 and 1 was expected")
        self.tol = float(tol)

    @property
    def evaluations(self) -> int:
        """About three a nonlinear system, without the d evaluations of its Jacobian (d components of a sample)."""
        return 3

    def _solve(self, fields: list, base: list, matrix: list, guess, at) -> list:
        return solve_stages(fields, base, matrix, guess, self.tol, f"{self.name} at t = {float(at.time):.9g}")


class ImplicitRungeKutta(Implicit):
    """An implicit tableau applied to dy/dtau = N(a y, t); in raw coordinates (velocity) the textbook's method.

    Diagonally implicit stages are solved one after the other, others together, with (I - h A (x) J). A slope is
    recovered from its stage, not evaluated anew, which would multiply the tolerance by the stiffness.
    Source: Hairer & Wanner 1996, sections IV.6 and IV.8, eq. (8.2b).
    """

    family = "implicit-runge-kutta"

    def __init__(self, tableau: Tableau, prediction: Any = "velocity", tol: float = TOLERANCE, name: str = ""):
        super().__init__(tol)
        if tableau.kind == "explicit":
            raise MethodError(f"{tableau.name} is explicit; an implicit tableau was expected here")
        self.tableau, self.prediction = tableau, prediction
        self.name, self.source = name or tableau.name, tableau.source
        self.order = Claim(tableau.order, tableau.order)
        _, A, b, _ = tableau.exact
        self._ends_on_stage = all(is_zero(a - w) for a, w in zip(A[-1], b, strict=True))
        explicit = EXPLICIT[min(tableau.order, max(EXPLICIT))]
        self.plannable_variant = f"use an explicit method, which is a Plan, such as {explicit!r}"

    @property
    def evaluations(self) -> int:
        return 3 * self.tableau.stages

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        t_next, t = window[:2]
        c, A, b, _ = self.tableau.coefficients(f.numbers)
        h = float(f.clock(t_next) - f.clock(t))
        if not abs(h) < float("inf"):
            raise PredictionError(
                f"{self.name}: the straight clock of {f.prediction.name!r} is infinite between t = {float(t.time):.6g} "
                f"and {float(t_next.time):.6g}; use prediction='velocity' or end before sigma = 0"
            )
        y = f.enter(carry["x"], t)
        nodes = [f.between(t, t_next, node) for node in c]
        march = self._successive if self.tableau.kind == "diagonally-implicit" else self._coupled
        return {"x": f.leave(march(f, y, h, nodes, A, b), t_next)}

    def _successive(self, f: Coordinates, y, h: float, nodes: list, A: tuple, b: tuple):
        slopes: list = []
        for at, (*known, own) in zip(nodes, A, strict=True):
            base = y + h * dot(known, slopes)
            if own == 0:
                stage, slope = base, f(base, at)
            else:
                stage = self._solve([lambda u, at=at: f(u, at)], [base], [[h * own]], y, at)[0]
                slope = (stage - base) / (h * own)
            slopes.append(slope)
        return stage if self._ends_on_stage else y + h * dot(b, slopes)

    def _coupled(self, f: Coordinates, y, h: float, nodes: list, A: tuple, b: tuple):
        fields = [lambda u, at=at: f(u, at) for at in nodes]
        matrix = [[h * a for a in row] for row in A]
        stages = self._solve(fields, [y] * len(nodes), matrix, y, nodes[-1])
        if self._ends_on_stage:
            return stages[-1]
        square = torch.tensor(A, dtype=torch.float64)
        if torch.linalg.matrix_rank(square) < len(b):
            return y + h * dot(b, [g(u) for g, u in zip(fields, stages, strict=True)])
        through = torch.linalg.solve(square.T, torch.tensor(b, dtype=torch.float64)).tolist()  # b A^-1
        return y + dot(through, [u - y for u in stages])

    def key(self) -> dict:
        parts = {name: getattr(self.tableau, name) for name in ("c", "A", "b", "b_embedded", "order")}
        return {"family": self.family, **parts, "prediction": str(self.prediction), "tol": self.tol}


class _Multistep(Implicit):
    """A k-th order formula with a start: "rising" orders, or a one-step method given as ``starter``."""

    family = "multistep"
    lowest = 1
    """The order of the formula that needs no past."""

    def __init__(self, order: int, start: str, starter: Method | None, tol: float):
        super().__init__(tol)
        self.k, self.start, self.starter = order, start, starter
        self.history = max(order - self.lowest, 0)
        # A first step with local error h^(lowest + 1) costs the global order whatever exceeds it.
        reached = order if starter or not self.history else min(order, self.lowest + 1)
        self.order = Claim(order, reached)

    def phases(self, steps: int, noise_free_end: bool = False) -> list:
        opening = ["start" if self.starter else i + self.lowest for i in range(min(steps, self.history))]
        return opening + [self.k] * (steps - len(opening))

    def key(self) -> dict:
        start = self.starter.key() if self.starter else self.start
        orders = [self.k, *self.order]
        return {"family": self.family, "name": self.name, "order": orders, "start": start, "tol": self.tol}


class AdamsMoulton(_Multistep):
    """Adams-Moulton of order k (k - 1 steps): x_next = x + sum_j w_j N_j, N interpolated at t_next, t, t_prev, ...

    In the velocity and in time; order 1 is implicit Euler, order 2 the trapezoidal rule.
    Source: Hairer, Norsett & Wanner 1993, section III.1, eq. (1.9), and III.5 for variable steps.
    """

    lowest = 2

    def __init__(self, order: int, start: str = "rising", starter: Method | None = None, tol: float = TOLERANCE):
        if not 1 <= order <= 12:
            raise MethodError(f"order {order} of an Adams-Moulton method: expected 1 to 12")
        super().__init__(order, start, starter, tol)
        self.name, self.source = f"am-{order}", "Hairer, Norsett & Wanner 1993, III.1, eq. (1.9)"
        self.plannable_variant = f"use its PECE variant 'abm-{max(order, 2)}', which is a Plan"

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        t_next, t = window[:2]
        x = carry["x"]
        if phase == "start":
            known = carry.get("N") or (f.predict(x, t),)
            moved = self.starter.step(f, window, {"x": x}, "last")["x"]
            ahead = f.predict(moved, t_next)
        else:
            order = phase
            known = carry.get("N") or ((f.predict(x, t),) if order > 1 else ())
            own, *old = (float(w) for w in weights(f, t_next, t, (t_next, *window[1:order]), "t"))
            base = x + dot(old, known)
            moved = self._solve([lambda u: f.predict(u, t_next)], [base], [[own]], x, t_next)[0]
            ahead = (moved - base) / own
        kept = (ahead, *known)[: self.k - 1]
        return {"x": moved, "N": kept} if kept else {"x": moved}

    def carry_from(self, f: Coordinates, instants: list, states: list) -> dict:
        pairs = list(zip(states, instants, strict=True))[: self.k - 1]
        return {"x": states[0], "N": tuple(f.predict(x, at) for x, at in pairs)}


class BDF(_Multistep):
    """Backward differentiation of order k: the derivative at t_next of the polynomial through k + 1 states is N there.

    In the velocity and in time, with the coefficients of the grid's own steps. Zero-stable to order 6 where steps are
    equal; A-stable to order 2.
    Source: Hairer, Norsett & Wanner 1993, section III.1, eq. (1.22'), and III.5 for variable steps.
    """

    def __init__(self, order: int, start: str = "rising", starter: Method | None = None, tol: float = TOLERANCE):
        if not 1 <= order <= 6:
            raise MethodError(f"order {order} of a BDF method: expected 1 to 6 (beyond, none is zero-stable)")
        super().__init__(order, start, starter, tol)
        self.name, self.source = f"bdf-{order}", "Hairer, Norsett & Wanner 1993, III.1, eq. (1.22')"
        self.plannable_variant = (
            f"it has no explicit form; the Adams pair of its order, 'abm-{max(order, 2)}' (PECE), is a Plan"
        )

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        x, t_next = carry["x"], window[0]
        past = (x, *carry.get("past", ()))
        if phase == "start":
            moved = self.starter.step(f, window, {"x": x}, "last")["x"]
        else:
            own, old = self.coefficients([float(at.time) for at in window[: phase + 1]])
            base = dot(old, past)
            moved = self._solve([lambda u: f.predict(u, t_next)], [base], [[own]], x, t_next)[0]
        kept = past[: self.k - 1]
        return {"x": moved, "past": kept} if kept else {"x": moved}

    @staticmethod
    def coefficients(times: Sequence[float]) -> tuple[float, list[float]]:
        """(gamma, [a_1, ...]) of x_0 = gamma x'_0 + sum_j a_j x_j for states at ``times``, newest first.

        >>> own, old = BDF.coefficients([2.0, 1.0, 0.0])
        >>> round(own, 12), [round(a, 12) for a in old]
        (0.666666666667, [1.333333333333, -0.333333333333])
        """
        newest, *others = times
        own = 1 / sum(1 / (newest - t) for t in others)
        old = []
        for j, node in enumerate(others):
            slope = 1 / (node - newest)
            for i, other in enumerate(others):
                if i != j:
                    slope *= (newest - other) / (node - other)
            old.append(-own * slope)
        return own, old

    def carry_from(self, f: Coordinates, instants: list, states: list) -> dict:
        return {"x": states[0], "past": tuple(states[1 : self.k])}


def solve_stages(
    fields: Sequence[Callable], base: Sequence[torch.Tensor], matrix: Sequence, guess, tol: float, where: str
) -> list[torch.Tensor]:
    """The s stages Y_i (B, *shape) with Y_i = base_i + sum_j matrix_ij fields_j(Y_j), by simplified Newton iterations.

    Dense Jacobians by forward differences, d evaluations of the whole batch each (d components of a sample): one for
    all stages at the ``guess``; where the iteration is slow, one a stage at the iterate. A sample is done when its
    error, the last correction times rate / (1 - rate) with the worse of the last two rates, is below ``tol`` times its
    largest component, or below what rounding of Y, base and F makes of it. Gradients pass through the iteration.
    Raises DivergenceError (naming ``where``) when that is not reached, ModelError where F is NaN at the guess.
    Source: Hairer & Wanner 1996, section IV.8, eqs. (8.3) and (8.10).

    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> solve_stages([lambda y: -y], [one], [[1.0]], one, 1e-13, "t = 0")[0].item()
    0.5
    """
    shape, s = guess.shape, len(fields)
    eps = torch.finfo(guess.dtype).eps
    M = torch.as_tensor(matrix, dtype=guess.dtype, device=guess.device)
    base = torch.stack([v.reshape(len(guess), -1) for v in base], 1)  # (B, s, d)
    Y = guess.reshape(len(guess), 1, -1).expand_as(base)
    done = torch.zeros(len(guess), dtype=torch.bool, device=guess.device)
    jacobians = inverse = last = None
    before = torch.ones_like(base[:, 0, 0])
    refresh = True
    for iteration in range(ITERATIONS):
        F = torch.stack([g(Y[:, j].reshape(shape)).reshape(len(guess), -1) for j, g in enumerate(fields)], 1)
        if iteration == 0 and torch.isnan(F).any() and torch.isfinite(Y).all():
            raise ModelError(f"{where}: the model returned NaN at a finite x")
        if refresh:
            jacobians, inverse = _linearise(fields, Y, F, M, shape, shared=jacobians is None)
            refresh = False
        residual = base + torch.einsum("ij,bjd->bid", M, F) - Y
        change = (inverse @ residual.reshape(len(guess), -1, 1)).reshape(Y.shape)
        with torch.no_grad():
            noise = F.abs() + torch.einsum("bjkd,bjd->bjk", jacobians.abs(), Y.abs())
            noise = Y.abs() + base.abs() + torch.einsum("ij,bjd->bid", M.abs(), noise)
            size, moved = Y.abs().flatten(1).amax(1), change.abs().flatten(1).amax(1)
            floor = eps * (inverse.abs() @ noise.reshape(len(guess), -1, 1)).flatten(1).amax(1)
            floor = torch.minimum(floor, eps**0.5 * size)  # a nearly singular system is no licence to stop
            rate = moved / last if last is not None else torch.ones_like(moved)
            # The worse of two rates: the first correction may lie in a direction the equations are linear in.
            bound = torch.maximum(rate, before)
            left = torch.where(bound < 1, bound / (1 - bound), 1.0) * moved
        Y = torch.where(done[:, None, None], Y, Y + change)
        done = done | (left <= torch.maximum(tol * size, floor))
        if done.all():
            return [Y[:, i].reshape(shape) for i in range(s)]
        if not torch.isfinite(Y).all():
            break
        refresh = bool((rate[~done] > SLOW).any()) and last is not None
        last, before = moved, rate
    worst = int((left / size).nan_to_num(torch.inf).masked_fill(done, 0).argmax())
    raise DivergenceError(
        f"{where}: the equations of the stages did not converge in {iteration + 1} Newton iterations (sample {worst}, "
        f"last correction {float(moved[worst]):.2g}): take smaller steps, or a larger tol than {tol:g}"
    )


@torch.no_grad()
def _linearise(fields: Sequence[Callable], Y, F, M, shape: torch.Size, shared: bool) -> tuple:
    """(J_j (B, s, d, d), (I - M_ij J_j)^-1 (B, s d, s d)); ``shared``: the last stage's Jacobian stands for all."""
    batch, s, d = Y.shape
    which = [s - 1] if shared else range(s)
    jacobians = torch.stack([_jacobian(fields[j], Y[:, j], F[:, j], shape) for j in which], 1).expand(batch, s, d, d)
    system = -torch.einsum("ij,bjkl->bikjl", M, jacobians).reshape(batch, s * d, s * d)
    system.diagonal(dim1=1, dim2=2).add_(1)
    return jacobians, torch.linalg.inv_ex(system).inverse


def _jacobian(g: Callable, y: torch.Tensor, slope: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """(B, d, d) by forward differences, d evaluations."""
    columns = []
    for i in range(y.shape[1]):
        shifted = y.clone()
        shifted[:, i] += torch.finfo(y.dtype).eps ** 0.5 * y[:, i].abs().clamp_min(1e-3)
        step = (shifted[:, i] - y[:, i])[:, None]  # what the shift became in floating point
        columns.append((g(shifted.reshape(shape)).reshape(y.shape) - slope) / step)
    return torch.stack(columns, -1)


def implicit_runge_kutta(tableau: Tableau, prediction: Any = "velocity", tol: float = TOLERANCE) -> Method:
    """An implicit tableau as a method, in raw coordinates unless told otherwise."""
    return ImplicitRungeKutta(tableau, prediction, tol)


def adams_moulton(k: int) -> Callable[..., Method]:
    """The factory of am-k; ``start``: "rising" or a tableau's name, by default one of order k - 1 at least."""
    return _factory(AdamsMoulton, k)


def bdf(k: int) -> Callable[..., Method]:
    """The factory of bdf-k; ``start`` as for `adams_moulton`."""
    return _factory(BDF, k)


def _factory(kind: type[_Multistep], k: int) -> Callable[..., Method]:
    def make(start: str | None = None, tol: float = TOLERANCE) -> Method:
        return kind(k, *_start(start, k, kind, tol), tol)

    return make


def _start(name: str | None, k: int, kind: type[_Multistep], tol: float) -> tuple[str, Method | None]:
    """The start's name and, if it is a one-step method, the method."""
    if name is None:
        name = "rising" if k <= kind.lowest else STARTERS.get(k - 1, "dop853")
    if name == "rising":
        return name, None
    tableau = files.get(name)
    return name, RungeKutta(tableau) if tableau.kind == "explicit" else ImplicitRungeKutta(tableau, tol=tol)
