"""Recipes that need a process and its flows: solvers for one grid and a handful of evaluations."""

from __future__ import annotations

from collections.abc import Sequence

from odekit import grids, processes, targets
from odekit.algebra.derive import Derivation, recipe
from odekit.exceptions import MethodError
from odekit.fields import ProbabilityFlow
from odekit.methods.nonstationary import exact_on
from odekit.methods.writing import data_of
from odekit.solve.fitted import end_errors, fitted

RIVALS = ("ddim", "dpmpp-2m", "exponential-ab-3", "deis-tab-2")


@recipe("non-stationary")
def non_stationary(
    steps: int = 6,
    process: str = "vp",
    grid: str = "logsnr",
    prediction: str = "data",
    exact: Sequence[str] = ("1", "logsnr"),
    mixtures: int = 0,
    seed: int = 0,
) -> Derivation:
    """Weights for one grid of few evaluations: exact on functions of time, or fitted to random mixtures as well.

    `exact` are texts in t, logsnr, kappa and phi_k, the important ones first. With `mixtures` > 0 what they leave free
    is chosen for the least error at the end over so many planar mixtures (`targets.scattered`), and the route tells the
    error on as many others, beside those of known methods.
    """
    if not 1 <= steps <= 50:
        raise MethodError(f"steps = {steps}: expected 1 to 50, one evaluation each")
    if not 0 <= mixtures <= 200:
        raise MethodError(f"mixtures = {mixtures}: expected 0 (exactness alone) to 200")
    over = processes.get(process)
    nodes = grids.grid(grid, over, steps)
    route = [
        f"x(i+1) = Psi x(i) + sum_j w(i,j) N(j) on {steps} steps of the grid {grid!r} of {over!r}, N the {prediction}",
        f"exact on {', '.join(exact)}: w solves sum_j w(i,j) g(t(j)) = int Psi B g dt for each g, in 34 digits",
    ]
    if not mixtures:
        method = exact_on(exact, over, nodes, prediction)
    else:
        known, unseen = (
            [ProbabilityFlow(over, targets.scattered(i), prediction) for i in range(first, first + mixtures)]
            for first in (seed, seed + 1000)
        )
        method = fitted(known, nodes, prediction, exact, seed=seed)
        own, *rivals = end_errors([method, *RIVALS], unseen, nodes, 64, seed + 1)
        told = ", ".join(f"{name} {error:.3g}" for name, error in zip(RIVALS, rivals, strict=True))
        route.append(f"what is left free: least mean square error at the end over {mixtures} random mixtures")
        route.append(f"root mean square error on {mixtures} other mixtures: {own:.3g} ({told})")
    return Derivation(data_of(method), tuple(route))
