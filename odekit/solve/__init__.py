"""The front door: solve a field from a state, on a fixed grid (planned) or with adaptive steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from odekit import grids, methods
from odekit.exceptions import OdekitError
from odekit.fields.matrix import require_states
from odekit.noise import normal
from odekit.plan.build import ends_noise_free, require_noise, segments
from odekit.plan.program import Plan
from odekit.plan.rows import flatten
from odekit.solve.eager import Counted, instants, march, under_way
from odekit.solve.reference import Reference, reference

__all__ = ["Reference", "Solution", "Statistics", "reference", "solve"]


@dataclass(frozen=True)
class Statistics:
    """What a solve cost: model evaluations of the whole batch, accepted and rejected steps (per sample (B,) where
    control is per sample)."""

    evaluations: int | torch.Tensor
    accepted: int | torch.Tensor
    rejected: int | torch.Tensor


@dataclass(frozen=True)
class Solution:
    """``x`` (B, *shape) at the end, ``times`` (N+1,) the nodes, ``trajectory`` (N+1, B, *shape), ``statistics``.

    Where every sample has steps of its own, times and trajectory are tuples of B tensors.
    """

    x: torch.Tensor
    times: torch.Tensor | tuple[torch.Tensor, ...]
    trajectory: torch.Tensor | tuple[torch.Tensor, ...]
    statistics: Statistics


def solve(
    flow,
    x: torch.Tensor,
    method: Any = None,
    grid: torch.Tensor | None = None,
    *,
    history: torch.Tensor | None = None,
    noise: Callable[[int], torch.Tensor] | None = None,
    seed: int | None = None,
    eager: bool = False,
    full: bool = False,
    **options: Any,
) -> torch.Tensor | Solution:
    """The state at the end of ``grid``, from x (B, *shape) at its beginning; without a grid, steps are adaptive.

    ``method``: a name, a Method or a method file; by default rk4 on a grid and dp5 without one.

    Fixed grids run as a Plan; ``eager=True`` runs the same step code on tensors (implicit methods always do).
    ``history`` (k, B, *shape) are exact states at grid[:k], from which a multistep formula starts at grid[k-1].
    A method that draws noise integrates a `ReverseSDE`, and needs a ``seed`` or ``noise``, a function of the draw's
    number that returns standard normal numbers like x: those of a seed are `odekit.noise.normal(seed, x)`.
    Adaptive: ``rtol``, ``atol``, ``t_end``, ``t_start``, ``control`` ("per-sample" or "batch"), ``controller`` ("pi" or
    "i"). Other ``options`` are the method's own. ``full=True`` returns a `Solution`.
    Raises GridError, ModelError (wrong shape, NaN: which evaluation, which time), DivergenceError, UnknownNameError.

    >>> import odekit as ok
    >>> flow = ok.ProbabilityFlow(ok.VP(), ok.targets.bimodal())
    >>> ok.solve(flow, torch.zeros(4, 1).double(), "ddim", ok.grid("logsnr", ok.VP(), 10)).shape
    torch.Size([4, 1])
    """
    _check_state(flow, x)
    if grid is None:
        from odekit.solve import adaptive

        if getattr(flow, "eta", None):
            raise OdekitError("a reverse SDE is solved on a grid: give grid=, or sde.flow for the probability flow")

        return adaptive.solve(flow, x, method or "dp5", full=full, **options)
    method = methods.get(method or "rk4", **options)
    grid = grids.check(grid, flow.process)
    noise = _noise(method, flow, grid, x, noise, seed)
    states = [x] if full else None
    watch = states.append if full else None
    field = Counted(flow)
    if eager or not method.is_plannable:
        result = march(method, field, grid, x, ends_noise_free(flow, grid), history, watch, noise)
        evaluations = field.evaluations
    else:
        first, names, carry = 0, ("x",), (x,)
        if history is not None:
            first, under = under_way(method, field, instants(grid), history)
            names, carry = flatten(under)
        built = segments(method, flow, grid, first=first, names=names)
        plan = Plan(tuple(built), flow.prediction, flow.process, name=method.name)
        result = plan(flow.model, carry[0], noise, grid.requires_grad, watch, tuple(carry[1:]))
        evaluations = field.evaluations + plan.evaluations
    if not full:
        return result
    steps = len(grid) - 1
    trajectory = torch.stack(states)
    return Solution(result, grid, trajectory, Statistics(evaluations, steps, 0))


def _noise(method, flow, grid: torch.Tensor, x: torch.Tensor, noise: Any, seed: int | None) -> Any:
    """What answers draws: given, or of a seed; None for a method that makes none."""
    require_noise(method, flow, grid)
    draws = getattr(method, "draws", 0)
    if (noise is not None) + (seed is not None) != bool(draws):
        wanted = "seed= (a whole number) or noise= (a function of the draw's number)" if draws else "neither of them"
        raise OdekitError(f"{method.name} draws {draws or 'no'} noise a step: give {wanted}")
    return noise if seed is None else normal(seed, x)


def _check_state(flow, x: Any) -> None:
    if not (torch.is_tensor(x) and x.is_floating_point() and x.ndim >= 1):
        got = f"a tensor of {x.dtype}" if torch.is_tensor(x) else f"a {type(x).__name__}"
        raise OdekitError(f"the start must be a floating-point tensor (B, *shape); got {got}")
    shape = tuple(getattr(flow, "shape", ()))
    if shape and tuple(x.shape[1:]) != shape:
        raise OdekitError(f"the start has shape {tuple(x.shape)}; expected (B, {', '.join(map(str, shape))})")
    require_states(flow.process, x)
    if not torch.isfinite(x).all():
        raise OdekitError("the start holds NaN or inf")
