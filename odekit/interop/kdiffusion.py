"""Any method as a k-diffusion sampler function: ``sampler(model, x, sigmas, extra_args, callback, disable)``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from odekit import grids, methods
from odekit.exceptions import GridError, MethodError, ModelError
from odekit.fields.flow import ProbabilityFlow
from odekit.interop.programs import Replay, exported, never_asked, working
from odekit.plan.program import Plan
from odekit.processes import EDM


def as_k_sampler(method: Any, process: Any = None, **options: Any) -> Callable[..., torch.Tensor]:
    """A method of odekit as ``sampler(model, x, sigmas, extra_args=None, callback=None, disable=None)``.

    ``model(x, sigma, **extra_args)`` is a denoiser of x = x_0 + sigma noise, x (B, *shape) and sigma (B,); ``sigmas``
    (N+1,) decrease strictly, and the last one may be 0: the step to it is of order one where the method's own is not
    finite or asks below the last noise level. ``callback`` is called where the model is asked at a node, with x, i,
    sigma, sigma_hat and denoised. ``process``: where the method has its clock and its prediction (by default EDM, whose
    time is sigma): a formula in the time of another process is another one. Tables are kept for the last sigmas seen;
    there is no progress bar to ``disable``; x of half precision is kept in float32 between evaluations.

    Raises what `odekit.plan` raises, GridError for sigmas that are none, ModelError for a model's wrong shape.

    >>> sampler = as_k_sampler("heun2")
    >>> sampler(lambda x, sigma: 0 * x, torch.ones(1, 1) * 8, torch.tensor([8.0, 2.0, 0.0]))
    tensor([[0.]])
    """
    chosen, where = methods.get(method, **options), EDM() if process is None else process
    if not chosen.is_plannable:
        raise MethodError(f"{chosen.name} is no sampler function: it runs eagerly; {chosen.plannable_variant}")
    flow = ProbabilityFlow(where, never_asked, "data")

    @functools.lru_cache(maxsize=8)
    def planned(levels: tuple[float, ...]) -> tuple[torch.Tensor, Plan]:
        grid = grids.check(where.time_at_kappa(torch.tensor(levels, dtype=torch.float64)), where)
        return grid, exported(chosen, flow, grid)

    @torch.no_grad()
    def sampler(
        model: Callable,
        x: torch.Tensor,
        sigmas: Any,
        extra_args: dict | None = None,
        callback: Callable[[dict], None] | None = None,
        disable: bool | None = None,
    ) -> torch.Tensor:
        grid, plan = planned(_levels(sigmas))
        times, nodes = plan.times.tolist(), grid.tolist()
        scales, kappas = where.alpha(plan.times).tolist(), where.kappa(plan.times).tolist()
        index = {k: i for i, k in enumerate(_last_entries(times, nodes)) if k is not None}
        run = Replay(plan, working(x) * float(where.alpha(nodes[0])))
        for k, (scale, sigma) in enumerate(zip(scales, kappas, strict=True)):
            state = (run.asked / scale).to(x.dtype)
            denoised = model(state, x.new_full((len(x),), sigma), **(extra_args or {}))
            if not torch.is_tensor(denoised) or denoised.shape != x.shape:
                got = tuple(denoised.shape) if torch.is_tensor(denoised) else type(denoised).__name__
                raise ModelError(
                    f"evaluation {k} (sigma = {sigma:.6g}): the model returned {got}; expected {tuple(x.shape)}"
                )
            if callback is not None and k in index:
                level = torch.as_tensor(sigmas)[index[k]]
                told = {"x": state, "i": index[k], "sigma": level, "sigma_hat": level, "denoised": denoised}
                callback(told)
            run.tell(working(denoised))
        return (run.asked / float(where.alpha(nodes[-1]))).to(x.dtype)

    sampler.__name__ = f"sample_{chosen.name.replace('-', '_')}"
    return sampler


def _levels(sigmas: Any) -> tuple[float, ...]:
    levels = torch.as_tensor(sigmas).double()
    if levels.ndim != 1 or len(levels) < 2 or not bool((levels.diff() < 0).all() and levels[-1] >= 0):
        shown = str(levels.tolist())[:80]
        raise GridError(f"sigmas are at least two numbers that decrease strictly to 0 or above; got {shown}")
    return tuple(levels.tolist())


def _last_entries(times: list[float], nodes: list[float]) -> list[int | None]:
    """For each node but the last, the last evaluation at its time: the one at the state, after all stages."""
    last = {t: k for k, t in enumerate(times)}
    return [last.get(node) for node in nodes[:-1]]
