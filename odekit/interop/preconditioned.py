"""Schedulers that wrap the network in EDM's preconditioning, as samplers of its denoiser on EDM's process."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch

from odekit.exceptions import TraceError
from odekit.interop.diffusers import Adapted


def adapt_preconditioned(scheduler: Any) -> Adapted:
    """A scheduler with ``precondition_outputs`` after set_timesteps; what its model is told is inverted to sigma.

    The model is asked for the denoiser D = c_skip x + c_out F; the scheduler is given the F in it (Karras et al. 2022,
    eq. 7), with the weights of its own code. Raises TraceError where what it tells the model names no sigma.
    """
    import odekit as ok

    name = type(scheduler).__name__
    if getattr(scheduler, "num_inference_steps", None) is None:
        raise TraceError(f"{name} has no timesteps yet: call scheduler.set_timesteps(N) first")
    if getattr(scheduler.config, "thresholding", False):
        raise TraceError(f"{name} is set to thresholding=True, which is not linear: make it with thresholding=False")
    return Adapted(_sampler(scheduler), ok.processes.get("edm"), "data", _sigma_of(scheduler), (1.0, 1.0))


def _sigma_of(scheduler: Any) -> Callable[[float], float]:
    """From what the model is told to sigma: the inverse of c_noise, one of two in use."""
    probe = torch.tensor([0.7], dtype=torch.float64)
    told = float(scheduler.precondition_noise(probe))
    for forward, inverse in (
        (lambda s: math.log(s) / 4, lambda c: math.exp(4 * c)),
        (lambda s: math.atan(s) / math.pi * 2, lambda c: math.tan(c * math.pi / 2)),
    ):
        if abs(forward(float(probe)) - told) < 1e-6:
            return inverse
    raise TraceError(
        f"{type(scheduler).__name__} tells its model a time that is neither log(sigma)/4 nor 2 atan(sigma)/pi"
    )


def _sampler(scheduler: Any) -> Callable:
    def sample(model: Callable, x: torch.Tensor) -> torch.Tensor:
        own, nothing = copy.deepcopy(scheduler), torch.zeros((), dtype=torch.float64)
        for k, t in enumerate(own.timesteps):
            own.scale_model_input(x, t)  # it insists on having been asked
            skipped, taken = (own.precondition_outputs(*args, own.sigmas[k]) for args in ((x, nothing), (nothing, 1.0)))
            x = own.step((model(x, t) - skipped) / taken, t, x, return_dict=False)[0]
        return x

    return sample
