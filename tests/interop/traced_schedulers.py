"""Schedulers of diffusers with their timesteps set, the loop each of them runs, and a model for it."""

import copy
import logging

import pytest
import torch

import odekit as ok
from odekit.interop.diffusers import adapt, grid_of

diffusers = pytest.importorskip("diffusers")
diffusers.utils.logging.set_verbosity(logging.ERROR)

SINGLE = 2.0**-23


def scheduler(name, steps=10, timesteps=None, sigmas=None, **config):
    made = getattr(diffusers, name + "Scheduler")(**config)
    if timesteps is not None:
        made.set_timesteps(timesteps=timesteps)
    elif sigmas is not None:
        made.set_timesteps(sigmas=sigmas)
    else:
        made.set_timesteps(steps)
    return made


def start(count=3, dtype=torch.float64):
    return torch.randn(count, 1, 2, 2, generator=torch.Generator().manual_seed(3), dtype=dtype)


def model(x, t):
    """Nonlinear, time-dependent, mixing elements; t is process time."""
    return torch.tanh(1.3 * x + 0.3 * x.flip(-1)) + torch.cos(7 * torch.as_tensor(t).double()).to(x.dtype)


def own_run(made, x):
    """The scheduler's own loop, straight from the protocol."""
    placed, made = adapt(made), copy.deepcopy(made)
    for t in made.timesteps:
        y = made.scale_model_input(x, t) if hasattr(made, "scale_model_input") else x
        x = made.step(model(y, placed.time(float(t))), t, x).prev_sample
    return x


def flow(plan):
    return ok.ProbabilityFlow(plan.process, model, prediction=plan.prediction)


def recognised(made, method, grid=None, **options):
    traced = ok.trace(made)
    return ok.same(traced, ok.plan(method, flow(traced), grid_of(made) if grid is None else grid, **options))


PLAIN = [
    ("DDIM", dict(clip_sample=False)),
    ("DDIM", dict(clip_sample=False, set_alpha_to_one=False, prediction_type="v_prediction")),
    ("DDIM", dict(clip_sample=False, prediction_type="sample")),
    ("EulerDiscrete", {}),
    ("EulerDiscrete", dict(prediction_type="v_prediction")),
    ("DPMSolverMultistep", {}),
    ("DPMSolverMultistep", dict(solver_type="heun", prediction_type="v_prediction")),
    ("PNDM", {}),
    ("PNDM", dict(skip_prk_steps=True)),
]


def identity(case):
    if not isinstance(case, dict):
        return str(case)
    # A function's address differs from process to process, and workers must agree on the names of tests.
    return ",".join(f"{k}={getattr(v, '__name__', v)}" for k, v in case.items()) or "default"
