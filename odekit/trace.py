"""Trace: anybody's sampler gives up its coefficient table when batch element i stands for register i.

The k-th model call answers with the next basis vector, so that the batch axis of every later input holds the
coefficients of that input over (x_T, N_0, N_1, ...). Noise draws are captured the same way. A second run on random
combinations checks that the sampler really is linear; clipping, thresholding and data-dependent loops are named.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from odekit.exceptions import TraceError
from odekit.plan.dense import EPSILON, realised
from odekit.plan.program import Plan

LARGEST = 8192  # registers: beyond it a sampler is taken to loop for ever


def trace(
    sampler: Any,
    shape: tuple[int, ...] = (),
    carrier: str = "scalar",
    dtype: torch.dtype | None = None,
    times: str | Callable = "process",
    process: Any = None,
    prediction: Any = "noise",
    grid: torch.Tensor | None = None,
) -> Plan:
    """The Plan that a sampler is, to rounding, from running it.

    ``sampler(model, x)``, or ``sampler(model, x, times)`` with ``grid`` for times, or a diffusers scheduler after
    set_timesteps; x has shape (B, *shape). ``times`` says what the sampler tells the model: "process" (the process's
    own time), "kappa" (sigma/alpha, EDM's sigma), "logsnr", or a function to process time. ``prediction`` is what the
    model is taken to return. Raises TraceError for a sampler that is no straight-line program of the scalar carrier.

    >>> import odekit as ok
    >>> def euler(model, x, times):
    ...     for t, s in zip(times[:-1], times[1:]):
    ...         x = x + (s - t) * model(x, t)
    ...     return x
    >>> found = ok.trace(euler, grid=torch.linspace(0, 1, 5).double(), prediction="velocity")
    >>> found.evaluations, found.registers
    (4, 1)
    """
    if carrier != "scalar":
        raise TraceError(f"carrier {carrier!r}: samplers are traced with scalar coefficients; expected 'scalar'")
    precision, state_scale, name = None, (1.0, 1.0), getattr(sampler, "__name__", type(sampler).__name__)
    if hasattr(sampler, "set_timesteps") and hasattr(sampler, "step"):
        from odekit.interop.diffusers import adapt

        adapted = adapt(sampler)
        sampler, times, process, prediction = adapted.sampler, adapted.time, adapted.process, adapted.prediction
        precision, state_scale, shape = "float32", adapted.state_scale, shape or (1, 1, 1)
    elif isinstance(sampler, Plan):
        process, prediction, state_scale = sampler.process, sampler.prediction, sampler.state_scale
        name, precision = sampler.name, sampler.precision
    elif not callable(sampler):
        raise TraceError(f"a sampler is a function (model, x) or a scheduler; got a {type(sampler).__name__}")
    run = _runner(sampler, grid)
    dtype = dtype or torch.float64
    record = _impulses(run, shape, dtype)
    precision = precision or str(record.coarsest).removeprefix("torch.")
    rows, output = record.rows()
    _check_linear(run, shape, dtype, record, rows, output, EPSILON.get(precision, 2.2e-16))
    moments = _moments(record.times, times, process)
    segments = realised(rows, output, record.kinds, moments, precision)
    return Plan(tuple(segments), prediction, process, state_scale, precision, name)


def _runner(sampler: Callable, grid: torch.Tensor | None) -> Callable:
    if grid is None:
        return lambda model, x: sampler(model, x)
    if len(inspect.signature(sampler).parameters) < 3:
        raise TraceError("grid= was given, but the sampler takes no times: expected sampler(model, x, times)")
    return lambda model, x: sampler(model, x, grid)


@dataclass
class Record:
    """What one run showed: the inputs of all evaluations, their times, and the order of evaluations and draws."""

    shape: tuple[int, ...]
    inputs: list = field(default_factory=list)
    times: list = field(default_factory=list)
    kinds: list = field(default_factory=list)  # "evaluation" or "draw", in order
    result: Any = None
    coarsest: torch.dtype = torch.float64

    def see(self, x: torch.Tensor) -> None:
        if torch.finfo(x.dtype).eps > torch.finfo(self.coarsest).eps:
            self.coarsest = x.dtype

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients over (x_T, register of event 0, 1, ...) of every input (n, 1+events) and of the result."""
        width = 1 + len(self.kinds)
        found = []
        for what, x in [*((f"evaluation {k}", y) for k, y in enumerate(self.inputs)), ("the result", self.result)]:
            table = x.detach().double().reshape(x.shape[0], -1).cpu().numpy()[: width + 1]
            if not np.isfinite(table).all():
                raise TraceError(f"{what} holds NaN or inf: the sampler's own coefficients are not finite there")
            size = max(np.abs(table).max(), 1e-300)
            if np.abs(table - table[:, :1]).max() > 1e-5 * size:
                raise TraceError(f"{what} treats the elements of a sample differently: its coefficients are no scalars")
            if abs(table[width, 0]) > 1e-6 * size:
                raise TraceError(
                    f"{what} contains the constant {table[width, 0]:.3g}: the sampler is affine, not linear"
                )
            found.append(table[:width, 0])
        return np.stack(found[:-1]) if len(found) > 1 else np.zeros((0, width)), found[-1]


class _Draws(TorchDispatchMode):
    """Answers every normal draw of a batch of states; other calls pass."""

    NAMES = ("aten::randn", "aten::randn_like", "aten::normal_", "aten::normal", "aten::normal_functional")

    def __init__(self, batch: int, shape: tuple, answer: Callable):
        super().__init__()
        self.batch, self.shape, self.answer = batch, shape, answer

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function.name().partition(".")[0] in self.NAMES and tuple(result.shape) == (self.batch, *self.shape):
            drawn = self.answer(result)
            return args[0].copy_(drawn) if function.name().startswith("aten::normal_") else drawn
        return result


def _impulses(run: Callable, shape: tuple, dtype: torch.dtype) -> Record:
    """Run with batch element i standing for register i; the element after the last register sees only zeros."""
    batch = 128
    while True:
        record = Record(shape)
        start = torch.zeros(batch, *shape, dtype=dtype)
        start[0] = 1
        try:
            _observe(run, start, record, lambda like, r=record: _impulse(like, r))
            return record
        except _Full:
            batch *= 4
        if batch > LARGEST:
            raise TraceError(f"the sampler makes more than {LARGEST // 4} model calls and draws: does its loop end?")


class _Full(Exception):
    pass


def _impulse(like: torch.Tensor, record: Record) -> torch.Tensor:
    index = len(record.kinds)  # the event is already noted: event e is register e + 1
    if index + 1 >= len(like):
        raise _Full
    answer = torch.zeros_like(like)
    answer[index] = 1
    return answer


def _observe(run: Callable, start: torch.Tensor, record: Record, answer: Callable) -> None:
    def model(x: torch.Tensor, t: Any = None, *_: Any, **__: Any) -> torch.Tensor:
        k = len(record.inputs)
        if not torch.is_tensor(x) or tuple(x.shape) != tuple(start.shape):
            got = tuple(x.shape) if torch.is_tensor(x) else type(x).__name__
            raise TraceError(f"evaluation {k}: the sampler asks the model at {got}; expected {tuple(start.shape)}")
        record.inputs.append(x.detach().clone())
        record.see(x)
        record.times.append(_one_time(t, k))
        record.kinds.append("evaluation")
        return answer(x)

    def draw(like: torch.Tensor) -> torch.Tensor:
        record.kinds.append("draw")
        return answer(like)

    with torch.no_grad(), _Draws(len(start), record.shape, draw):
        result = run(model, start.clone())
    if not torch.is_tensor(result) or tuple(result.shape) != tuple(start.shape):
        got = tuple(result.shape) if torch.is_tensor(result) else type(result).__name__
        raise TraceError(f"the sampler returned {got}; expected a tensor of shape {tuple(start.shape)}")
    record.see(result)
    record.result = result


def _one_time(t: Any, k: int) -> float:
    if t is None:
        return float("nan")
    values = torch.as_tensor(t).detach().double().reshape(-1)
    if len(values) > 1 and not bool((values == values[0]).all()):
        raise TraceError(f"evaluation {k}: samples of one batch are asked at different times; expected one time")
    return float(values[0])


def _check_linear(
    run: Callable, shape: tuple, dtype: torch.dtype, record: Record, rows: np.ndarray, output: np.ndarray, eps: float
) -> None:
    """Compare runs on random combinations with what the table says; name what breaks it."""
    large = _departure(run, shape, dtype, record, rows, output, eps, 4.0)
    if large is None:
        return
    small = _departure(run, shape, dtype, record, rows, output, eps, 1e-3)
    if small is None:
        raise TraceError(
            f"{large} is linear for small states only: clipping or thresholding; turn it off (clip_sample=False, "
            "thresholding=False) to trace the linear solver under it"
        )
    raise TraceError(f"{large} is no fixed linear combination of what came before: a data-dependent or random step")


def _departure(run, shape, dtype, record: Record, rows, output, eps: float, size: float) -> str | None:
    random = np.random.default_rng(0)  # numpy's, because torch's draws are being watched
    answers: list[np.ndarray] = []

    def answer(like: torch.Tensor) -> torch.Tensor:
        answers.append(size * random.standard_normal(like.shape))
        return torch.from_numpy(answers[-1]).to(like)

    batch = 5  # no number that occurs among usual shapes
    start = size * random.standard_normal((batch, *shape))
    again = Record(shape)
    try:
        _observe(run, torch.from_numpy(start).to(dtype), again, answer)
    except TraceError as error:
        return str(error)
    if again.kinds != record.kinds:
        return f"the number of model calls ({len(again.inputs)} against {len(record.inputs)}) depends on the data: it"
    known = np.stack([start.reshape(-1), *(a.reshape(-1) for a in answers)])
    for k, (row, x) in enumerate(zip([*rows, output], [*again.inputs, again.result], strict=True)):
        bound = 4096 * eps * (np.abs(row)[:, None] * np.abs(known)).sum(0)
        if (np.abs(row @ known - x.double().reshape(-1).cpu().numpy()) > bound).any():
            return "the result" if k == len(rows) else f"evaluation {k}"
    return None


def _moments(told: list[float], meaning: str | Callable, process: Any) -> np.ndarray:
    """Process times of what the model was told."""
    if callable(meaning):
        return np.array([float(meaning(t)) for t in told])
    if meaning == "process":
        return np.array(told)
    inverse = {"kappa": "time_at_kappa", "logsnr": "time_at_logsnr"}.get(meaning)
    if inverse is None or process is None:
        raise TraceError(f"times={meaning!r}: expected 'process', or 'kappa' or 'logsnr' together with process=")
    return np.array([float(getattr(process, inverse)(t)) for t in told])
