"""k-diffusion's samplers, torchdiffeq's fixed-step methods and torchsde's drift parts, as sampler(model, x, times).

k-diffusion's package imports a heavy stack that its sampling functions do not use: their module alone is loaded, with
stand-ins for what is not installed.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from odekit.exceptions import TraceError, unknown

ABSENT = ("torchdiffeq", "torchsde", "tqdm", "tqdm.auto", "torchvision", "torchvision.transforms", "PIL")
UNUSED = {"odeint": None, "trange": lambda n, **_: range(n), "tqdm": None}


@functools.cache
def kdiffusion() -> types.ModuleType:
    """The module k_diffusion.sampling of the installed package, alone; raises TraceError where it is not installed."""
    found = importlib.util.find_spec("k_diffusion")  # finds, does not import
    if found is None or not found.submodule_search_locations:
        raise TraceError("k-diffusion is not installed: pip install --no-deps k-diffusion")
    folder, before = Path(next(iter(found.submodule_search_locations))), dict(sys.modules)
    package = types.ModuleType("k_diffusion")
    package.__path__ = [str(folder)]
    try:
        for name in ABSENT:
            if name not in sys.modules and not _can_import(name):
                sys.modules[name] = _stand_in(name)
        sys.modules["k_diffusion"] = package
        utils = sys.modules["k_diffusion.utils"] = types.ModuleType("k_diffusion.utils")
        utils.append_dims = lambda x, ndim: x[(...,) + (None,) * (ndim - x.ndim)]
        return importlib.import_module("k_diffusion.sampling")
    except Exception as error:
        raise TraceError(f"k_diffusion.sampling cannot be imported: {type(error).__name__}: {error}") from None
    finally:  # nobody else meets the stand-ins
        for name in set(sys.modules) - set(before):
            if name.partition(".")[0] == "k_diffusion" or getattr(sys.modules[name], "stands_in", False):
                del sys.modules[name]


def _can_import(name: str) -> bool:
    try:
        importlib.import_module(name)
    except Exception:  # noqa: BLE001 - a package that fails to import is as good as absent
        return False
    return True


def _stand_in(name: str) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__.update(UNUSED, stands_in=True, __path__=[])
    return module


def kdiffusion_names() -> list[str]:
    """Every sampling function of the installed k-diffusion."""
    return sorted(name for name in vars(kdiffusion()) if name.startswith("sample_"))


def kdiffusion_sampler(name: str, **config: Any) -> Callable:
    """sampler(model, x, times) of k-diffusion: times are its sigmas, the model is the denoiser, on EDM's process.

    Its noise is normal draws instead of those of a Brownian tree, as registers of a trace.
    """
    known = kdiffusion_names()
    if name not in known:
        raise unknown("sampler of k_diffusion.sampling", name, known)
    function = getattr(kdiffusion(), name)
    taken = inspect.signature(function).parameters
    fixed = ("model", "x", "sigmas", "sigma_min", "sigma_max", "n")
    for key in config:
        if key not in taken or key in fixed:
            raise unknown(f"argument of {name}", key, [k for k in taken if k not in fixed])
    if "sigmas" not in taken and "n" not in taken:
        raise TraceError(f"{name} chooses its steps from the data: it has no table, and no order on a grid")
    arguments = {"disable": True, **config}

    def sampler(model: Callable, x: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        def denoiser(y: torch.Tensor, sigma: torch.Tensor, **_: Any) -> torch.Tensor:
            return model(y, sigma.reshape(-1)[0])

        if "noise_sampler" in taken and "noise_sampler" not in config:
            arguments["noise_sampler"] = lambda sigma, sigma_next: torch.randn_like(x)
        if "sigmas" in taken:
            return function(denoiser, x, times, **arguments)
        return function(denoiser, x, float(times[-1]), float(times[0]), 3 * (len(times) - 1) - 1, **arguments)

    sampler.__name__ = name
    return sampler


# torchdiffeq and torchsde.


def fixed_steps(package: str) -> dict[str, float]:
    """The fixed-step methods of torchdiffeq or torchsde, each with the order it declares (for the drift alone)."""
    if package == "torchsde":
        return {key: SDE_DRIFT[key] for key in _sde_methods()}
    solvers = _installed("torchdiffeq", "torchdiffeq._impl.odeint").SOLVERS
    fixed = _installed("torchdiffeq", "torchdiffeq._impl.solvers").FixedGridODESolver
    return {name: solver.order for name, solver in solvers.items() if issubclass(solver, fixed)}


SDE_DRIFT = {
    "euler": 1, "milstein": 1, "srk": None, "midpoint": 2, "heun": 2, "euler_heun": 1, "log_ode": 2,
    "reversible_heun": 2,
}  # fmt: skip
"""What each method of torchsde is without noise, by its name; None where the name says nothing."""


def _sde_methods() -> list[str]:
    names = vars(_installed("torchsde", "torchsde.settings").METHODS)
    return sorted(v for k, v in names.items() if isinstance(v, str) and not k.startswith("_") and v in SDE_DRIFT)


def _installed(package: str, module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise TraceError(f"{package} is not installed: pip install {package}") from None


def fixed_step_sampler(package: str, method: str, **options: Any) -> Callable:
    """A fixed-step method of torchdiffeq or torchsde as sampler(model, x, times), times ascending."""
    known = fixed_steps(package)
    if method not in known:
        raise unknown(f"fixed-step method of {package}", method, list(known))
    return (_ode if package == "torchdiffeq" else _sde)(method, options)


def _ode(method: str, options: dict[str, Any]) -> Callable:
    odeint = _installed("torchdiffeq", "torchdiffeq").odeint

    def sampler(model: Callable, x: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        return odeint(lambda t, y: model(y, t), x, times, method=method, options=options or None)[-1]

    sampler.__name__ = f"torchdiffeq_{method}"
    return sampler


def _sde(method: str, options: dict[str, Any]) -> Callable:
    package = _installed("torchsde", "torchsde")
    forward = importlib.import_module("torchsde._core.base_sde").ForwardSDE
    # The stepping methods themselves: the function around them takes equal steps only, and asks once more to check.
    select = importlib.import_module("torchsde._core.methods").select
    ito = method in ("euler", "milstein", "srk")
    made = select(method, "ito" if ito else "stratonovich")

    class Still(package.BaseBrownian):
        """Noise that is not there: the drift part is what is looked at."""

        levy_area_approximation = "foster"

        def __init__(self, like: torch.Tensor):
            super().__init__()
            self.like = like

        def __call__(self, ta, tb=None, return_U=False, return_A=False):
            zero = torch.zeros_like(self.like)
            area = zero.new_zeros(*zero.shape, zero.shape[-1])
            return tuple([zero] + [zero] * return_U + [area] * return_A) if return_U or return_A else zero

        dtype = property(lambda self: self.like.dtype)
        device = property(lambda self: self.like.device)
        shape = property(lambda self: tuple(self.like.shape))

        def __repr__(self):
            return "Still()"

    class Drift(torch.nn.Module):
        noise_type, sde_type = "diagonal", "ito" if ito else "stratonovich"

        def __init__(self, model):
            super().__init__()
            self.f = lambda t, y: model(y, t)
            self.g = lambda t, y: torch.zeros_like(y)

    def sampler(model: Callable, x: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(len(x), -1)
        solver = made(
            sde=forward(Drift(model)), bm=Still(flat), dt=None, adaptive=False, rtol=None, atol=None, dt_min=None,
            options=options,
        )  # fmt: skip
        carried = solver.init_extra_solver_state(times[0], flat)
        for t, s in zip(times[:-1], times[1:], strict=True):
            flat, carried = solver.step(t, s, flat, carried)
        return flat.reshape(x.shape)

    sampler.__name__ = f"torchsde_{method}"
    return sampler
