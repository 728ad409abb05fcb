"""Watching a black box run: what it asks the model and when, what it draws, and how finely it computes.

`observe` runs a sampler on given states with given answers to its model calls and normal draws. Every torch operation
passes by, so that draws are answered wherever they are made, and the precision of the numbers that meet the state is
seen even where the state itself is kept in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from odekit.exceptions import OdekitError, TraceError

LARGEST = 8192
"""Model calls and draws together: beyond it a sampler is taken to loop for ever."""

IDLE = 100_000
"""Tensor operations between two of them: beyond it a sampler is taken to loop without asking."""

NORMAL = ("randn", "randn_like", "normal_", "normal", "normal_functional")
OTHER_DRAWS = ("rand", "rand_like", "uniform_", "randint", "randint_like", "randperm", "bernoulli", "bernoulli_",
               "multinomial", "exponential_", "poisson", "cauchy_", "log_normal_", "geometric_")  # fmt: skip
DEVICES = ("device", "cuda", "mps", "xpu", "hpu", "mtia", "no kernel image")
"""What torch says where data is to go to, or has come from, a device that is not there."""
COARSENESS = ("float64", "float32", "float16", "bfloat16")


@dataclass
class Run:
    """What one run showed.

    ``inputs`` and ``result``: states as the sampler gave them; ``times``: what it told the model; ``kinds``:
    "evaluation" or "draw", in order. ``arithmetic``: the coarsest dtype the state was computed in; ``grain``: the
    coarsest precision among the numbers in use; ``unseen``: draws that are no registers.
    """

    inputs: list[torch.Tensor] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    result: Any = None
    arithmetic: str = "float64"
    grain: str = "float64"
    unseen: set[str] = field(default_factory=set)


def observe(run: Callable, start: torch.Tensor, answer: Callable, look: bool = False, watched: bool = True) -> Run:
    """Run ``run(model, x)`` from ``start`` (B, *shape); ``answer(like, event)`` answers model call or draw ``event``.

    ``look`` examines the precision of the numbers in use; ``watched=False`` leaves torch alone, for a sampler that is
    known to draw nothing. Raises TraceError for a sampler that fails, loops for ever,
    asks for a wrong shape or no time, or returns no state. Torch's generators are left as they were.
    """
    seen = Run()

    def event(like: torch.Tensor, kind: str) -> torch.Tensor:
        if len(seen.kinds) >= LARGEST:
            raise TraceError(f"the sampler makes more than {LARGEST} model calls and draws: does its loop end?")
        seen.kinds.append(kind)
        watch.idle = 0
        return answer(like, len(seen.kinds) - 1)

    def model(x: Any, t: Any = None, *_: Any, **__: Any) -> torch.Tensor:
        k = len(seen.inputs)
        _require_state(x, start, f"evaluation {k}: the sampler asks the model at")
        seen.times.append(_one_time(t, k))
        seen.inputs.append(x.detach().clone())
        return event(x, "evaluation")

    watch = _Watch(seen, tuple(start.shape), lambda like: event(like, "draw"), look)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            with watch if watched else nullcontext():
                result = run(model, start)
        except OdekitError:
            raise
        except Exception as error:  # whatever it is, it is the sampler's own
            first = (str(error) or "no message").splitlines()[0]
            raise TraceError(
                f"the sampler failed on states {tuple(start.shape)} after {len(seen.inputs)} evaluations: "
                f"{type(error).__name__}: {first}; {advice(first)}"
            ) from error
    _require_state(result, start, "the sampler returned")
    seen.result = result.detach().clone()
    for x in (*seen.inputs, result):
        seen.arithmetic = _coarser(seen.arithmetic, _dtype(x))
    return seen


def advice(message: str) -> str:
    """What to change after an error of the sampler's own."""
    if any(word in message.lower() for word in DEVICES):
        return "it moves data to another device than its input's, the CPU here: keep everything on x.device"
    return "shape= says what one sample looks like"


def _require_state(x: Any, start: torch.Tensor, what: str) -> None:
    expected = f"expected a floating-point tensor {tuple(start.shape)}"
    if not torch.is_tensor(x):
        raise TraceError(f"{what} a {type(x).__name__}; {expected}")
    if tuple(x.shape) != tuple(start.shape) or not x.is_floating_point():
        raise TraceError(f"{what} {tuple(x.shape)} of {_dtype(x)}; {expected}")


def _one_time(t: Any, k: int) -> float:
    try:
        values = torch.as_tensor(t, dtype=torch.float64).detach().reshape(-1)
    except (TypeError, ValueError, RuntimeError):
        values = torch.empty(0)
    if not len(values):
        raise TraceError(f"evaluation {k}: the model is told no time (a {type(t).__name__}); expected model(x, t)")
    if not bool(values.isfinite().all()):
        raise TraceError(f"evaluation {k}: the model is asked at time {float(values[0])}; expected a finite number")
    if not bool((values == values[0]).all()):
        raise TraceError(f"evaluation {k}: samples of one batch are asked at different times; expected one time")
    return float(values[0])


class _Watch(TorchDispatchMode):
    """Sees every torch operation: answers normal draws of whole batches, notes how precise the numbers are."""

    def __init__(self, seen: Run, shape: tuple, draw: Callable, look: bool):
        super().__init__()
        self.seen, self.shape, self.draw, self.look, self.idle = seen, shape, draw, look, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        self.idle += 1
        if self.idle > IDLE:
            raise TraceError(f"the sampler makes {IDLE} operations without asking the model: does its loop end?")
        is_state = torch.is_tensor(result) and result.is_floating_point() and tuple(result.shape) == self.shape
        name = function.overloadpacket.__name__
        if name in NORMAL and is_state:
            return self._drawn(name, function, result, args, kwargs)
        if name in OTHER_DRAWS or name in NORMAL:
            self.seen.unseen.add(name)
        if is_state and result.dtype != torch.float64:
            self.seen.arithmetic = _coarser(self.seen.arithmetic, _dtype(result))
        if self.look:
            self._examine(args)
        return result

    def _drawn(self, name: str, function, result: torch.Tensor, args: tuple, kwargs: dict) -> torch.Tensor:
        given = {a.name: a.default_value for a in function._schema.arguments}
        given.update(zip(given, args, strict=False))
        given.update(kwargs)
        drawn = self.draw(result)
        if name.startswith("normal"):
            drawn = given["mean"] + given["std"] * drawn
        return args[0].copy_(drawn) if name == "normal_" else drawn

    def _examine(self, operands: Any) -> None:
        """Note the coarsest grain among the numbers in use; states take part as well, being made of such numbers."""
        for operand in operands:
            if isinstance(operand, float):
                self.seen.grain = _coarser(self.seen.grain, _grain(operand))
            elif torch.is_tensor(operand) and operand.is_floating_point() and operand.numel():
                half = operand.dtype in (torch.float16, torch.bfloat16)
                first = _dtype(operand) if half else _grain(float(operand.reshape(-1)[0]))
                self.seen.grain = _coarser(self.seen.grain, first)
        self.look = self.seen.grain == "float64"


def _grain(value: float) -> str:
    """ "float32" for a fraction of 13 to 24 significant bits: a float64 number has so few once in 500 million times."""
    if not math.isfinite(value) or value == round(value):
        return "float64"
    mantissa = int(abs(math.frexp(value)[0]) * 2**53)
    bits = 54 - (mantissa & -mantissa).bit_length()
    return "float32" if 12 < bits <= 24 else "float64"


def _coarser(a: str, b: str) -> str:
    return max(a, b, key=COARSENESS.index)


def _dtype(x: torch.Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")
