"""diffusers' schedulers on any grid: the formula that a scheduler steps with, apart from the schedule it ships with.

`drive` makes sampler(model, x, times) of a scheduler class: for each run a fresh scheduler is given its steps, then its
tables of noise levels are overwritten, in float64, by those of the times asked for. What is left is the code of its
step. Schedulers that look their levels up by training step get a training table that is the grid itself.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from odekit.exceptions import TraceError, unknown
from odekit.interop.diffusers import PREDICTIONS

PLAIN = {"clip_sample": False, "thresholding": False}
FORMULA = {"lower_order_final": False, "euler_at_final": False, "final_sigmas_type": "sigma_min", **PLAIN}
"""What is set unless asked for otherwise: without these a step is not the formula that bears the name."""


@dataclass(frozen=True)
class Driven:
    """A scheduler class with its configuration, and the process on which its step is a sampler.

    ``process`` and ``prediction`` are names of odekit's; ``layout`` is one of `LAYOUTS`.
    """

    name: str
    process: str
    prediction: str
    layout: str
    make: Callable[..., Any]

    def __call__(self, model: Callable, x: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """x (B, *shape) at times[0] to times[-1], as ``sampler(model, x, times)``."""
        import odekit as ok

        process = ok.processes.get(self.process)
        with _silent():
            own, calls = LAYOUTS[self.layout](self.make, process, torch.as_tensor(times, dtype=torch.float64))
        scaled = getattr(own, "scale_model_input", lambda x, t: x)
        preconditioned = hasattr(own, "precondition_outputs")
        before, after = 1.0, 1.0
        if not preconditioned and float(_fresh(own).scale_model_input(torch.ones(1).double(), calls[0][0])) != 1.0:
            before, after = float(process.alpha(times[0])), float(process.alpha(times[-1]))  # it carries x / alpha
        x = x / before
        for k, (label, t) in enumerate(calls):
            seen = scaled(x, label)
            if preconditioned:  # the network inside the denoiser that is asked
                skipped = own.precondition_outputs(x, torch.zeros(()), own.sigmas[k])
                output = (model(x, t) - skipped) / own.precondition_outputs(0.0, torch.ones(()).double(), own.sigmas[k])
            else:
                output = model(seen, t)
            with _Wide():
                x = own.step(output, label, x, return_dict=False)[0]
        return x * after


class _Wide(TorchFunctionMode):
    """Conversions of float64 states to float32 are left out: schedulers make them to save, or to mend, half precision.

    What is looked at here is the formula; how finely it ships is for `trace` of the scheduler itself.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in (torch.Tensor.to, torch.Tensor.float) and args[0].dtype == torch.float64:
            wanted = [v for v in (*args[1:], *kwargs.values()) if isinstance(v, torch.dtype)]
            if function is torch.Tensor.float or wanted == [torch.float32]:
                return args[0]
        return function(*args, **kwargs)


def _fresh(own: Any) -> Any:
    return copy.deepcopy(own) if hasattr(own, "scale_model_input") else _Plain


class _Plain:
    @staticmethod
    def scale_model_input(x: torch.Tensor, label: Any) -> torch.Tensor:
        return x


def scheduler_class(name: str) -> type:
    """The scheduler of the installed diffusers called so; raises TraceError, or UnknownNameError with what is near."""
    try:
        import diffusers.schedulers as package
    except ImportError:
        raise TraceError(f"diffusers:{name} needs the package diffusers: pip install diffusers") from None
    known = names()
    if name not in known:
        raise unknown("scheduler of diffusers", name, known)
    try:
        return getattr(package, name)
    except (ImportError, AttributeError) as error:
        raise TraceError(f"{name} cannot be imported from the installed diffusers: {_line(error)}") from None


def names() -> list[str]:
    """Every scheduler that the installed diffusers lists."""
    import diffusers.schedulers as package

    listed = {name for part in package._import_structure.values() for name in part}
    return sorted(name for name in listed if name.endswith("Scheduler") and name != "FlaxScheduler")


def scheduler(name: str, steps: int | None = None, **config: Any) -> Any:
    """A scheduler made with what is given, after set_timesteps(steps); every refusal is one line.

    >>> scheduler("DDIMScheduler", 4, clip_sample=False).timesteps.tolist()                      # doctest: +SKIP
    [750, 500, 250, 0]
    """
    own = _made(scheduler_class(name), config)
    if steps is None:
        return own
    training = getattr(own.config, "num_train_timesteps", None)
    if training is not None and steps > training:
        raise TraceError(f"{steps} steps are more than the {training} training timesteps of {name}: take fewer steps")
    try:
        with _silent():
            own.set_timesteps(steps)
    except Exception as error:
        raise TraceError(f"{name}.set_timesteps({steps}) failed: {_line(error)}") from None
    return own


def drive(name: str, **config: Any) -> Driven:
    """A scheduler of diffusers as sampler(model, x, times), by the name of its class.

    ``config``: arguments of its constructor; those not given are its defaults, but that lowered last steps, clipping
    and thresholding are off. Raises TraceError for schedulers whose step cannot be put on a grid, which it names.

    >>> ddim = drive("DDIMScheduler")                                                            # doctest: +SKIP
    >>> ddim.process, ddim.prediction, ddim.layout                                               # doctest: +SKIP
    ('vp', 'noise', 'training table')
    """
    cls = scheduler_class(name)
    if why := NO_SOLVER.get(name):
        raise TraceError(f"{name} is no solver of the probability flow: {why}")
    _made(cls, config)  # the user's own settings are refused first
    taken = inspect.signature(cls.__init__).parameters
    fixed = {key: value for key, value in FORMULA.items() if key in taken and key not in config}

    def make(**more: Any) -> Any:
        return _made(cls, {**fixed, **config, **{key: value for key, value in more.items() if key in taken}})

    own = make()
    layout = layout_of(own)
    told = getattr(own.config, "prediction_type", None)
    if layout.startswith("flow"):
        process, prediction = "rectified-flow", "velocity"
    elif layout == "angles":
        process, prediction = "vp", "v"
    elif hasattr(own.config, "sigma_data"):
        process, prediction = "edm", "data"
    else:
        process, prediction = "vp", PREDICTIONS.get(told)
    if prediction is None:
        raise TraceError(f"{name} predicts {told!r}; known: {', '.join(PREDICTIONS)}")
    return Driven(name, process, prediction, layout, make)


def layout_of(own: Any) -> str:
    """How a scheduler keeps its noise levels, one of `LAYOUTS`, from the attributes it has; raises TraceError."""
    name, stages = type(own).__name__, getattr(own, "order", 1)
    if not hasattr(own, "step") or not hasattr(own, "set_timesteps"):
        raise TraceError(f"{name} has not the protocol of a scheduler, set_timesteps and step")
    arguments = inspect.signature(own.step).parameters
    missing = [
        key
        for key, p in arguments.items()
        if p.default is p.empty and key not in ("model_output", "timestep", "sample", "args", "kwargs")
    ]
    if missing:
        raise TraceError(f"{name}.step needs {', '.join(missing)}: trace a function sampler(model, x) that gives them")
    if "inverse" in name.lower() and not hasattr(own, "sigmas"):
        raise TraceError(f"{name} steps up its table, from data to noise: it is traced as it ships only")
    flow = not hasattr(own, "alphas_cumprod") and hasattr(own.config, "shift")
    if hasattr(own, "sigmas_down") or hasattr(own.config, "noise_sampler_seed"):
        raise TraceError(f"{name} has tables for its noise that no grid gives: it is traced as it ships only")
    if hasattr(own, "sigmas_interpol"):
        return "middle sigmas"
    if hasattr(own, "sigmas") and (flow or hasattr(own, "alphas_cumprod") or hasattr(own.config, "sigma_data")):
        return ("flow " if flow else "") + ("repeated sigmas" if stages == 2 else "sigmas")
    if hasattr(own, "alphas_cumprod"):
        return "training table with middles" if hasattr(own, "prk_timesteps") else "training table"
    if hasattr(own, "alphas") and hasattr(own, "betas"):
        return "angles"
    raise TraceError(f"{name} keeps no table of noise levels (sigmas, alphas_cumprod) that could be put on a grid")


NO_SOLVER = {
    **dict.fromkeys(("LCMScheduler", "TCDScheduler", "FlowMatchLCMScheduler"), "it samples consistency models"),
    **dict.fromkeys(("CMStochasticIterativeScheduler", "SCMScheduler"), "it samples consistency models"),
    "ConsistencyDecoderScheduler": "it samples consistency models",
    "FlowMapEulerDiscreteScheduler": "its model is a flow map, told two times",
    "MiniMaxH3Scheduler": "its velocity points to the data and its time is 1 - sigma, of no process that odekit knows",
    "RePaintScheduler": "it inpaints, jumping back and forth",
    "KarrasVeScheduler": "it has a protocol of its own",
    "ScoreSdeVeScheduler": "its predictor and its corrector are two methods, step_pred and step_correct",
    "ScoreSdeVpScheduler": "it has a protocol of its own",
    "UnCLIPScheduler": "it is ancestral sampling with a learnt variance",
    "DDPMWuerstchenScheduler": "it is ancestral sampling, a transition kernel at a time",
    "PiflowScheduler": "its model returns a policy, not a velocity",
    **dict.fromkeys(("HeliosScheduler", "HeliosDMDScheduler"), "it moves between resolutions, a stage at a time"),
    "RFD4ProteinaScheduler": "its states are frames of proteins",
    **dict.fromkeys(
        ("AmusedScheduler", "BlockRefinementScheduler", "EntropyBoundScheduler", "VQDiffusionScheduler"),
        "its states are tokens",
    ),
    "DiscreteDDIMScheduler": "its states are tokens",
}


# Layouts: (make, process, times) -> the scheduler on that grid, and (label, time) of each model call.


def _sigmas(make, process, times, flow=False, repeat=1):
    steps = len(times) - 1
    own = make(num_train_timesteps=max(1000, steps))
    own.set_timesteps(steps)
    at = process.sigma if flow else process.kappa
    levels = torch.stack([torch.as_tensor(at(t), dtype=torch.float64) for t in times])
    first, asked = (levels, times[:-1]) if repeat == 1 else (_twice(levels), _twice(times))
    labels = torch.linspace(1, 1 / len(asked), len(asked), dtype=torch.float64)
    # A stage keeps the label of the step that it belongs to where the level is the same: labels are looked up.
    own.sigmas, own.timesteps, own.num_inference_steps = first, labels, steps
    if repeat == 2:
        own.sigmas = torch.cat([first, first[-1:]])
    _from_the_start(own)
    return own, list(zip(labels, asked, strict=True))


def _twice(values):
    """a, b, b, c, c, ..., z: where the stages of a trapezoidal rule stand."""
    return torch.cat([values[:1], values[1:-1].repeat_interleave(2), values[-1:]])


def _middle_sigmas(make, process, times):
    own, labels = _sigmas(make, process, times, repeat=2)
    levels = own.sigmas[:-1]
    middles = (levels[::2].log() / 2 + levels[1::2].log() / 2).exp()  # the geometric mean, as the scheduler takes it
    own.sigmas_interpol = torch.cat([middles[:1], middles.repeat_interleave(2)])
    own.sigmas = torch.cat([levels[:1], levels[1::2].repeat_interleave(2)])
    moments = torch.stack([times[:-1], process.time_at_kappa(middles)], dim=1).reshape(-1)
    return own, [(label, t) for (label, _), t in zip(labels, moments, strict=True)]


def _training_table(make, process, times, stride=1):
    """Training step i is node N - 1 - i of the grid: one inference step is one training step, or two with a middle."""
    steps, known = len(times) - 1, times[:-1].flip(0)
    if stride == 2:
        middles = torch.cat([times[:1], (times[:-2] + times[1:-1]) / 2]).flip(0)
        known = torch.stack([known, middles], dim=1).reshape(-1)
    size = len(known)
    own = make(num_train_timesteps=size, trained_betas=np.full(size, 0.1), timestep_spacing="leading", steps_offset=0)
    own.set_timesteps(steps)
    table = [torch.as_tensor(process.alpha(t), dtype=torch.float64) ** 2 for t in (*known, times[-1])]
    own.alphas_cumprod, own.final_alpha_cumprod = torch.stack(table[:-1]), table[-1]
    return own, [(label, known[int(label)]) for label in own.timesteps]


def _angles(make, process, times):
    own = make()
    own.set_timesteps(len(times) - 1)
    own.alphas, own.betas = (
        torch.stack([torch.as_tensor(getattr(process, name)(t), dtype=torch.float64) for t in times])
        for name in ("alpha", "sigma")
    )
    own.timesteps = torch.atan2(own.betas, own.alphas)[:-1] / math.pi * 2
    return own, list(zip(own.timesteps, times[:-1], strict=True))


LAYOUTS: Mapping[str, Callable] = {
    "sigmas": _sigmas,
    "flow sigmas": lambda *a: _sigmas(*a, flow=True),
    "repeated sigmas": lambda *a: _sigmas(*a, repeat=2),
    "flow repeated sigmas": lambda *a: _sigmas(*a, flow=True, repeat=2),
    "middle sigmas": _middle_sigmas,
    "training table": _training_table,
    "training table with middles": lambda *a: _training_table(*a, stride=2),
    "angles": _angles,
}


def _from_the_start(own: Any) -> None:
    if hasattr(own, "set_begin_index"):
        own.set_begin_index(0)


def _made(cls: type, config: Mapping[str, Any]) -> Any:
    taken = inspect.signature(cls.__init__).parameters
    for key in config:
        if key not in taken or key == "self":
            raise unknown(
                f"configuration key of {cls.__name__}", key, [k for k in taken if k not in ("self", "kwargs")]
            )
    missing = [
        k
        for k, p in taken.items()
        if p.default is p.empty and k != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and k not in config
    ]
    if missing:
        raise TraceError(f"{cls.__name__} needs {', '.join(missing)}: give --config {missing[0]}=VALUE")
    try:
        with _silent():
            return cls(**config)
    except Exception as error:
        raise TraceError(f"{cls.__name__} cannot be made so: {_line(error)}") from None


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """diffusers warns of settings that it changes, once for each of hundreds of runs: what it does is seen instead."""
    logger = logging.getLogger("diffusers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
