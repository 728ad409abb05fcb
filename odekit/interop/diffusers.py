"""diffusers schedulers as samplers: what they step, in which state, what they tell the model, and on which grid.

Only the protocol is used (set_timesteps, timesteps, scale_model_input, step), so any scheduler that keeps it can be
traced; diffusers itself is not imported. The other way: `Scheduler` is any method of ours as one of theirs, a class
made of theirs, so that naming it does import diffusers.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from odekit.exceptions import OdekitError, TraceError
from odekit.interop.settings import PREDICTIONS, time_of
from odekit.processes import DiscreteVP, RectifiedFlow

NONLINEAR = ("clip_sample", "thresholding")


@dataclass(frozen=True)
class Adapted:
    """A scheduler as ``sampler(model, x)``, with the process its numbers belong to.

    ``time``: from what the model is told to process time. ``state_scale``: the scheduler's start and result as
    multiples of the process's own state (k-style schedulers carry x / alpha, and scale the model's input back).
    """

    sampler: Callable
    process: Any
    prediction: str
    time: Callable[[float], float]
    state_scale: tuple[float, float]


def require_linear(name: str, config: Any) -> None:
    """Refuse a scheduler that clips or thresholds what the model says: no table holds it, and it solves no ODE."""
    for flag in NONLINEAR:
        if getattr(config, flag, False):
            raise TraceError(f"{name} is set to {flag}=True, which is not linear: make it with {flag}=False")


def adapt(scheduler: Any) -> Adapted:
    """A scheduler after set_timesteps as a sampler; raises TraceError naming what is missing or cannot be traced."""
    process, name, config = process_of(scheduler), _ready(scheduler), scheduler.config
    require_linear(name, config)
    told = getattr(config, "prediction_type", None) or "flow_prediction"
    if told not in PREDICTIONS:
        raise TraceError(f"{name} predicts {told!r}; known: {', '.join(PREDICTIONS)}")
    time = functools.partial(time_of, process, training=config.num_train_timesteps)
    return Adapted(_sampler(scheduler), process, PREDICTIONS[told], time, _state_scale(scheduler))


def process_of(scheduler: Any) -> DiscreteVP | RectifiedFlow:
    """The process of a scheduler: its table of alphas, or the straight one of flow matching.

    Label i of a table is time (i + 1) / M of `DiscreteVP`; label i of flow matching is time i / M. Raises TraceError
    for schedulers of other processes (EDM's preconditioning, consistency models, ...), which it names.
    """
    if isinstance(getattr(scheduler, "process", None), DiscreteVP | RectifiedFlow):
        return scheduler.process  # one of ours
    name, config = type(scheduler).__name__, scheduler.config
    continuous = getattr(config, "timestep_type", "discrete") == "continuous"
    if getattr(config, "invert_sigmas", False) or continuous or hasattr(config, "sigma_data"):
        why = "its model is not told the time of a process that odekit knows"
    elif getattr(config, "use_flow_sigmas", False):
        return RectifiedFlow()
    elif hasattr(scheduler, "alphas_cumprod"):
        return _tabulated(tuple(scheduler.alphas_cumprod.double().tolist()))
    elif hasattr(config, "shift") and hasattr(config, "num_train_timesteps"):
        return RectifiedFlow()
    else:
        why = "it has neither alphas_cumprod nor the shifted sigmas of flow matching"
    raise TraceError(f"{name} cannot be placed on a process: {why}; trace a function sampler(model, x) around it")


@functools.lru_cache(maxsize=16)
def _tabulated(alphas_cumprod: tuple[float, ...]) -> DiscreteVP:
    """One process for all schedulers with one table: its own tables are computed once, in many digits."""
    return DiscreteVP(alphas_cumprod=alphas_cumprod)


def grid_of(scheduler: Any) -> torch.Tensor:
    """The times (N+1,) of `process_of` at which a scheduler's steps begin and end, where it says so.

    From its ``sigmas`` (repeated ones, for stages, count once), else from its timesteps and the table entry that its
    last step goes to; a final sigma of 0 is time 0, and a step of no length is no step. Stage times of multi-stage
    schedulers without sigmas are left out where they are known (PNDM). The scheduler's table has float32 entries, so
    the times are that accurate.

    >>> import odekit as ok
    >>> from diffusers import DDIMScheduler                                                      # doctest: +SKIP
    >>> scheduler = DDIMScheduler(clip_sample=False); scheduler.set_timesteps(4)                 # doctest: +SKIP
    >>> grid_of(scheduler).tolist()                                                              # doctest: +SKIP
    [0.751, 0.501, 0.251, 0.001, 0.0]
    """
    process, name = process_of(scheduler), _ready(scheduler)
    if torch.is_tensor(getattr(scheduler, "grid", None)):
        return scheduler.grid  # one of ours
    if hasattr(scheduler, "sigmas") and len(scheduler.sigmas) > len(scheduler.timesteps):
        sigmas = torch.as_tensor(scheduler.sigmas).double().cpu()
        if isinstance(process, DiscreteVP):
            end = float(process.kappa(1.0))
            sigmas[(sigmas - end).abs() < 1e-6 * end] = end  # rounded to float32, it may lie beyond the table's end
        times = sigmas if isinstance(process, RectifiedFlow) else process.time_at_kappa(sigmas)
    else:
        labels = getattr(scheduler, "_timesteps", None)  # PNDM's, without its stages
        labels = scheduler.timesteps if labels is None else torch.as_tensor(labels.copy()).flip(0)
        labels = labels.double().cpu()
        if len(labels) > 1 and not bool((labels.diff() <= 0).all()):
            raise TraceError(f"{name} does not step down its timesteps: its grid is not known")
        times = torch.cat([labels + 1, _final_label(scheduler, int(labels[-1]))[None] + 1])
        times = times / scheduler.config.num_train_timesteps
    return times[torch.cat([torch.tensor([True]), times.diff() != 0])]


def _final_label(scheduler: Any, last: int) -> torch.Tensor:
    """The label whose alpha the last step goes to; -1 stands for alpha = 1."""
    if hasattr(scheduler, "previous_timestep"):
        before = int(scheduler.previous_timestep(last))
    else:
        before = last - scheduler.config.num_train_timesteps // scheduler.num_inference_steps
    if before < 0 and float(getattr(scheduler, "final_alpha_cumprod", 1.0)) != 1.0:
        before = 0
    return torch.tensor(float(max(before, -1)), dtype=torch.float64)


def _ready(scheduler: Any) -> str:
    name = type(scheduler).__name__
    if getattr(scheduler, "num_inference_steps", None) is None and not getattr(scheduler, "custom_timesteps", False):
        raise TraceError(f"{name} has no timesteps yet: call scheduler.set_timesteps(N) first")
    return name


def _sampler(scheduler: Any) -> Callable:
    def sample(model: Callable, x: torch.Tensor) -> torch.Tensor:
        own = copy.deepcopy(scheduler)  # a run leaves history behind, which the next must not see
        scaled = getattr(own, "scale_model_input", lambda x, t: x)  # flow matching has none
        for t in own.timesteps:
            output = model(scaled(x, t), t)
            x = own.step(output, t, x, return_dict=False)[0]
        return x

    return sample


def _state_scale(scheduler: Any) -> tuple[float, float]:
    """1 for schedulers in the process's state; 1/alpha at both ends for those that scale the model's input."""
    own = copy.deepcopy(scheduler)
    if not hasattr(own, "scale_model_input"):
        return 1.0, 1.0
    factor = float(own.scale_model_input(torch.ones(1, dtype=torch.float64), own.timesteps[0]))
    if factor == 1.0:
        return 1.0, 1.0
    return 1 / factor, (1 + float(own.sigmas[-1]) ** 2) ** 0.5


def __getattr__(name: str) -> Any:
    """`Scheduler`, made when it is asked for; raises OdekitError where diffusers is not installed.

    A pipeline that is read from a file looks here for the base of it, too: SchedulerMixin.
    """
    if name not in ("Scheduler", "SchedulerMixin"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from odekit.interop import scheduler
    except ImportError as error:
        if (error.name or "").split(".")[0] != "diffusers":
            raise
        raise OdekitError("Scheduler needs diffusers, which is not installed: pip install diffusers") from None
    return getattr(scheduler, name)
