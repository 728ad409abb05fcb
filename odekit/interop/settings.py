"""Settings of diffusers schedulers as plain data: the noise they mean, and what ours makes of another's."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import torch

from odekit.exceptions import OdekitError, unknown
from odekit.processes import DiscreteVP

PREDICTIONS = {"epsilon": "noise", "sample": "data", "v_prediction": "v", "flow_prediction": "velocity"}

LINEAR_ONLY = {
    "thresholding": False, "clip_sample": False, "rescale_betas_zero_snr": False, "invert_sigmas": False,
    "stochastic_sampling": False, "shift_terminal": None, "timestep_type": "discrete",
    "time_shift_type": "exponential",
}  # fmt: skip
"""Settings that change what is computed, each with the one value under which a scheduler of ours means the same."""

GRIDS = {
    "use_karras_sigmas": "karras", "use_exponential_sigmas": "exponential", "use_beta_sigmas": "beta",
    "use_lu_lambdas": "lu-lambdas",
}  # fmt: skip

DPM_FAMILY = ("solver_order", "predictor_order")
"""Settings by which to know those that space their timesteps for a further node at the end (`odekit.grids`, "dpm")."""


def betas(schedule: str, count: int, start: float, end: float, trained: Any = None) -> torch.Tensor:
    """beta_i (count,) in float64 by diffusers' names: "linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid".

    ``trained`` overrides them. Source: Ho et al. 2020, section 4; Rombach et al. 2022 (square roots linear);
    Nichol & Dhariwal 2021, eq. 17.

    >>> betas("scaled_linear", 3, 0.01, 0.04)
    tensor([0.0100, 0.0225, 0.0400], dtype=torch.float64)
    """
    if trained is not None:
        return torch.as_tensor(trained, dtype=torch.float64)
    if schedule not in SCHEDULES:
        raise unknown("beta_schedule", schedule, SCHEDULES)
    return SCHEDULES[schedule](count, start, end)


def _uniform(start: float, end: float, count: int) -> torch.Tensor:
    return torch.linspace(start, end, count, dtype=torch.float64)


def _cosine(count: int, start: float, end: float) -> torch.Tensor:
    u = torch.arange(count + 1, dtype=torch.float64) / count
    bar = torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - bar[1:] / bar[:-1]).clamp(max=0.999)


SCHEDULES = {
    "linear": lambda count, start, end: _uniform(start, end, count),
    "scaled_linear": lambda count, start, end: _uniform(start**0.5, end**0.5, count) ** 2,
    "squaredcos_cap_v2": _cosine,
    "sigmoid": lambda count, start, end: torch.sigmoid(_uniform(-6.0, 6.0, count)) * (end - start) + start,
}


@functools.lru_cache(maxsize=16)
def tabulated(values: tuple[float, ...]) -> DiscreteVP:
    """One process for all schedulers with one table: its own tables are computed once, in many digits."""
    return DiscreteVP(betas=values)


def time_of(process: Any, label: Any, training: int) -> Any:
    """The process time of a training label: (i + 1) / M in a table, i / M on straight paths."""
    return (label + (1 if isinstance(process, DiscreteVP) else 0)) / training


def label_of(process: Any, time: float, training: int) -> float:
    """The training label of a process time, a whole number where it is one to rounding."""
    label = time * training - (1 if isinstance(process, DiscreteVP) else 0)
    return float(round(label)) if abs(label - round(label)) < 1e-9 * training else label


def as_labels(labels: list[float], device: Any = None) -> torch.Tensor:
    """Labels for a network: int64 where all are whole numbers, as diffusers has them, else float32."""
    whole = all(label == round(label) for label in labels)
    return torch.tensor(labels, dtype=torch.float32, device=device).to(torch.int64 if whole else torch.float32)


def translated(config: Mapping[str, Any]) -> dict[str, Any]:
    """Our settings for the configuration of one of diffusers' schedulers.

    Noise, prediction, spacing and the kind of end are taken over; what belongs to its own solver is not. Raises
    OdekitError for settings that are not linear in the model's outputs or belong to another process.

    >>> config = {"beta_schedule": "linear", "clip_sample": False, "timestep_spacing": "leading", "eta": 0}
    >>> translated(config)
    {'beta_schedule': 'linear', 'grid': 'leading', 'grid_options': {'family': 'ddim', 'offset': 0}}
    """
    name = str(config.get("_class_name", "the scheduler"))
    for key, harmless in LINEAR_ONLY.items():
        if config.get(key, harmless) not in (harmless, None):
            raise OdekitError(
                f"{name} is set to {key}={config[key]!r}, which no table of coefficients can do: "
                f"Scheduler.from_config(config, {key}={harmless!r}) leaves it out"
            )
    is_flow = config.get("use_flow_sigmas") or ("shift" in config and "beta_schedule" not in config)
    if "sigma_data" in config or not (is_flow or "beta_schedule" in config):
        raise OdekitError(f"{name} belongs to no process odekit knows: expected a beta_schedule or a flow's shift")
    keys = ("num_train_timesteps", "prediction_type", "use_dynamic_shifting", "final_sigmas_type")
    own = {key: config[key] for key in keys if key in config}
    special = [grid for key, grid in GRIDS.items() if config.get(key)]
    if is_flow:
        shift = config.get("flow_shift", config.get("shift"))
        return own | {
            "prediction_type": "flow_prediction", "grid": special[0] if special else "flow", "grid_options": {},
            "shift": 1.0 if shift is None else shift,
        }  # fmt: skip
    own |= {k: config[k] for k in ("beta_start", "beta_end", "beta_schedule", "trained_betas") if k in config}
    if not config.get("set_alpha_to_one", True):
        own["final_sigmas_type"] = "sigma_min"
    own["grid"] = special[0] if special else config.get("timestep_spacing", "linspace")
    family = "dpm" if any(key in config for key in DPM_FAMILY) else "ddim"
    offset = {"offset": config.get("steps_offset", 0)}
    options = {"linspace": {"family": family}, "leading": {"family": family} | offset}
    own["grid_options"] = options.get(own["grid"], {})
    return own
