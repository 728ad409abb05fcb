"""The nodes of a scheduler's run: from steps, labels or sigmas, as pipelines ask for them, to times of a process."""

from __future__ import annotations

import math
from typing import Any

import torch

from odekit import grids
from odekit.exceptions import GridError
from odekit.interop.settings import time_of
from odekit.processes import DiscreteVP, RectifiedFlow

SLACK = 1e-3
"""How far a printed sigma may lie beyond the table's last one, relatively (the literature prints five digits)."""


def nodes(process: DiscreteVP | RectifiedFlow, config: Any, steps: Any, timesteps: Any, sigmas: Any, mu: Any) -> Any:
    """Times (N+1,) of a run: N steps of the configured grid, or labels, or sigmas, with the final node where it is due.

    Raises GridError for more steps than training timesteps, for what is given twice or not at all, and for nodes that
    are none.
    """
    training = config.num_train_timesteps
    if (steps is None and timesteps is None and sigmas is None) or (timesteps is not None and sigmas is not None):
        raise GridError("set_timesteps() takes num_inference_steps, or one of timesteps= and sigmas=")
    shift = _shift(config, mu)
    if timesteps is not None:
        times = _ended(time_of(process, _numbers("timesteps", timesteps), training), config)
    elif sigmas is not None:
        times = _ended(_at_sigmas(process, _numbers("sigmas", sigmas), shift, mu is not None), config)
    else:
        times = _spaced(process, config, steps, shift)
    if config.round_timesteps and isinstance(process, DiscreteVP):
        times = time_of(process, (times * training - 1).round(), training)
    return grids.check(times, process)


def _numbers(name: str, given: Any) -> torch.Tensor:
    try:
        values = torch.as_tensor(given, dtype=torch.float64).cpu()
    except (TypeError, ValueError):
        values = torch.zeros(0)
    if values.ndim != 1 or len(values) == 0:
        raise GridError(f"{name} is a list of numbers, one a step; got {given!r:.60}")
    return values


def _shift(config: Any, mu: float | None) -> float:
    """The shift of flow matching (Stable Diffusion 3, arXiv 2403.03206, eq. 23): the configured one, or exp(mu)."""
    if not config.use_dynamic_shifting:
        return config.shift
    if mu is None:
        raise GridError("use_dynamic_shifting=True shifts by exp(mu): give set_timesteps() mu=")
    return math.exp(mu)


def _spaced(process: Any, config: Any, steps: Any, shift: float) -> torch.Tensor:
    training, is_flow = config.num_train_timesteps, isinstance(process, RectifiedFlow)
    if isinstance(steps, int) and steps > training:
        raise GridError(f"{steps} steps of a network trained at {training} timesteps: ask for at most {training}")
    name, options = config.grid or ("flow" if is_flow else "trailing"), dict(config.grid_options or {})
    if name == "flow":
        options.setdefault("shift", shift)
    if not is_flow and config.final_sigmas_type == "zero":
        options.setdefault("final", "zero")
    elif is_flow and config.final_sigmas_type == "sigma_min":
        options.setdefault("t_end", 1 / training)
    return grids.grid(name, process, steps, **options)


def _at_sigmas(process: Any, sigmas: torch.Tensor, shift: float, is_shifted: bool) -> torch.Tensor:
    if isinstance(process, RectifiedFlow):
        return shift * sigmas / (1 + (shift - 1) * sigmas) if is_shifted else sigmas
    largest = float(process.kappa(1.0))
    beyond = (sigmas > largest) & (sigmas <= largest * (1 + SLACK))
    return process.time_at_kappa(torch.where(beyond, largest, sigmas))


def _ended(times: torch.Tensor, config: Any) -> torch.Tensor:
    """Times with the final node that ``final_sigmas_type`` asks for: 0, or label 0 where they end above it."""
    lowest = 1 / config.num_train_timesteps
    end = 0.0 if config.final_sigmas_type == "zero" else lowest
    is_there = float(times[-1]) == 0.0 if end == 0.0 else float(times[-1]) <= lowest * (1 + 1e-9)
    return times if is_there else torch.cat([times, times.new_tensor([end])])
