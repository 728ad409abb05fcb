"""diffusers schedulers as samplers: what they step, in which state, and what they tell the model.

Only the protocol is used (set_timesteps, timesteps, scale_model_input, step), so any scheduler that keeps it can be
traced; diffusers itself is not imported.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from odekit.exceptions import TraceError
from odekit.processes import DiscreteVP, RectifiedFlow

PREDICTIONS = {"epsilon": "noise", "sample": "data", "v_prediction": "v", "flow_prediction": "velocity"}


@dataclass(frozen=True)
class Adapted:
    """A scheduler as ``sampler(model, x)``, with the process its numbers belong to.

    ``time``: from what the model is told to process time. ``state_scale``: the scheduler's start and result as
    multiples of the process's own state (k-style schedulers carry x / alpha).
    """

    sampler: Callable
    process: Any
    prediction: str
    time: Callable[[float], float]
    state_scale: tuple[float, float]


def adapt(scheduler: Any) -> Adapted:
    """A scheduler after set_timesteps as a sampler; raises TraceError naming what is missing or cannot be traced."""
    name = type(scheduler).__name__
    if getattr(scheduler, "num_inference_steps", None) is None:
        raise TraceError(f"{name} has no timesteps yet: call scheduler.set_timesteps(N) first")
    config = scheduler.config
    for flag in ("clip_sample", "thresholding"):
        if getattr(config, flag, False):
            raise TraceError(f"{name} is set to {flag}=True, which is not linear: make it with {flag}=False")
    told = getattr(config, "prediction_type", None) or "flow_prediction"
    if told not in PREDICTIONS:
        raise TraceError(f"{name} predicts {told!r}; known: {', '.join(PREDICTIONS)}")
    if hasattr(scheduler, "alphas_cumprod"):
        process = DiscreteVP(alphas_cumprod=scheduler.alphas_cumprod.double())
        training = len(scheduler.alphas_cumprod)

        def time(label: float) -> float:
            return (label + 1) / training
    else:
        process, training = RectifiedFlow(), config.num_train_timesteps

        def time(label: float) -> float:
            return label / training

    return Adapted(_sampler(scheduler), process, PREDICTIONS[told], time, _state_scale(scheduler))


def _sampler(scheduler: Any) -> Callable:
    def sample(model: Callable, x: torch.Tensor) -> torch.Tensor:
        own = copy.deepcopy(scheduler)  # a run leaves history behind, which the next must not see
        for t in own.timesteps:
            output = model(own.scale_model_input(x, t), t)
            x = own.step(output, t, x, return_dict=False)[0]
        return x

    return sample


def _state_scale(scheduler: Any) -> tuple[float, float]:
    """1 for schedulers in the process's state; 1/alpha at both ends for those that scale the model's input."""
    own = copy.deepcopy(scheduler)
    factor = float(own.scale_model_input(torch.ones(1, dtype=torch.float64), own.timesteps[0]))
    if factor == 1.0:
        return 1.0, 1.0
    return 1 / factor, (1 + float(own.sigmas[-1]) ** 2) ** 0.5
