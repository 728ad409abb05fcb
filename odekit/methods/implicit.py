"""Implicit methods: the Newton iteration they share, and Runge-Kutta with coupled or successive stages.

Their steps are not straight-line programs: they solve Y = base + M F(Y) by Newton's method, so they run eagerly. All
solve to a stated relative tolerance ``tol`` (1e-14 by default), or as far as the state's floating-point type allows:
where rounding in F makes that impossible, to the rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from odekit.exceptions import DivergenceError, MethodError, ModelError, PredictionError, unknown
from odekit.fields.coordinates import Coordinates, dot
from odekit.fields.lawson import COORDINATES
from odekit.methods.base import Claim, Method
from odekit.methods.tableau import Tableau, is_zero

TOLERANCE = 1e-14
ITERATIONS = 40
SLOW = 0.1
"""A Newton iteration that leaves more than this fraction of the error asks for new Jacobians."""

EXPLICIT = {1: "euler", 2: "heun2", 3: "kutta3", 4: "rk4", 5: "dp5", 6: "verner6"}


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
    ``coordinates``: as for `RungeKutta`.
    Source: Hairer & Wanner 1996, sections IV.6 and IV.8, eq. (8.2b).
    """

    family = "implicit-runge-kutta"

    def __init__(
        self,
        tableau: Tableau,
        prediction: Any = "velocity",
        tol: float = TOLERANCE,
        name: str = "",
        coordinates: str = "straight",
    ):
        super().__init__(tol)
        if tableau.kind == "explicit":
            raise MethodError(f"{tableau.name} is explicit; an implicit tableau was expected here")
        if coordinates not in COORDINATES:
            raise unknown("coordinates", coordinates, COORDINATES)
        self.tableau, self.prediction, self.space = tableau, prediction, coordinates
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
        f = self.local(f, t)
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
        own = {"prediction": str(self.prediction), "coordinates": self.space, "tol": self.tol}
        return {"family": self.family, **parts, **own}


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


def implicit_runge_kutta(
    tableau: Tableau, prediction: Any = "velocity", tol: float = TOLERANCE, coordinates: str = "straight"
) -> Method:
    """An implicit tableau as a method, in raw coordinates unless told otherwise."""
    return ImplicitRungeKutta(tableau, prediction, tol, coordinates=coordinates)
