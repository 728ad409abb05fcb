"""Trace: anybody's sampler gives up its coefficient table when batch element i stands for register i.

The k-th model call answers with the next basis vector, so that the batch axis of every later input holds the
coefficients of that input over (x_T, N_0, N_1, ...). Noise draws are captured the same way. A run on random numbers
checks that the sampler really is that linear program; clipping, thresholding, data-dependent loops and the like are
named.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from odekit.exceptions import TraceError
from odekit.interop.blackbox import COARSENESS, Run, observe
from odekit.plan.dense import EPSILON, realised
from odekit.plan.program import Plan

LARGE, SMALL = 2.0**10, 2.0**-20
"""Sizes of the numbers samplers are tried with: what clips shows at one of them and is gone at the other."""


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
    model is taken to return. Normal draws of whole batches become the plan's noise registers, in the order in which
    they are made. Raises TraceError for a sampler that is no straight-line program of the scalar carrier.

    The plan's ``precision`` is the coarsest found in use: the dtype the state is computed in, or the grain of the
    numbers that meet it (float32 tables among float64 states are seen, also as python floats; float32 numbers combined
    to float64 ones before they meet a state are not).

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
        state_scale, shape = adapted.state_scale, shape or (1, 2, 2)
    elif isinstance(sampler, Plan):
        process, prediction, state_scale = sampler.process, sampler.prediction, sampler.state_scale
        name, precision = sampler.name, sampler.precision if isinstance(sampler.precision, str) else "float64"
        sampler = _with_draws(sampler)
    elif not callable(sampler):
        raise TraceError(f"a sampler is a function (model, x) or a scheduler; got a {type(sampler).__name__}")
    audit = _Audit(_runner(sampler, grid), tuple(shape), dtype or torch.float64)
    rows, run = audit.rows, audit.reference
    precision = precision or max(run.arithmetic, run.grain, key=COARSENESS.index)
    segments = realised(rows, run.kinds, _moments(run.times, times, process), EPSILON[run.arithmetic])
    return Plan(tuple(segments), prediction, process, state_scale, precision, name)


def _with_draws(plan: Plan) -> Callable:
    return lambda model, x: plan(model, x, noise=lambda k: torch.randn_like(x))


def _runner(sampler: Callable, grid: torch.Tensor | None) -> Callable:
    try:
        parameters = inspect.signature(sampler).parameters.values()
    except (TypeError, ValueError):  # some callables cannot tell
        parameters = None
    if parameters is not None:
        places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        required = sum(p.default is p.empty for p in places)
        most = 3 if any(p.kind == p.VAR_POSITIONAL for p in parameters) else len(places)
        if grid is not None and most < 3:
            raise TraceError("grid= was given, but the sampler takes no times: expected sampler(model, x, times)")
        if grid is None and required >= 3:
            raise TraceError("the sampler takes times: give grid=, or a sampler(model, x)")
    if grid is None:
        return lambda model, x: sampler(model, x)
    return lambda model, x: sampler(model, x, grid)


class _Audit:
    """The table of a sampler and the proof that it is all there is; refuses, by name, what is no linear program."""

    def __init__(self, run: Callable, shape: tuple[int, ...], dtype: torch.dtype):
        self.run, self.shape, self.dtype = run, shape, dtype
        half = dtype in (torch.float16, torch.bfloat16)
        self.large, self.small = (4.0, 2.0**-6) if half else (LARGE, SMALL)
        self.known: list[np.ndarray] = []
        # Four samples of random numbers, and one that sees only zeros.
        self.reference = self._random(self.large, look=True)
        if not self.reference.inputs:
            raise TraceError("the sampler never asks the model: there is nothing to trace")
        self.rows = self._rows()
        found = self._departure(self.reference, self.known)
        if found:
            raise TraceError(self._named(*found))

    def _random(self, size: float, batch: int = 5, constant: bool = False, look: bool = False) -> Run:
        """A run on random numbers, kept in ``known``: (1+events, B, *shape)."""
        generator = np.random.default_rng(0)  # numpy's: torch's draws are being watched
        self.known = []

        def fresh() -> np.ndarray:
            # The last of five samples is zero: it shows what comes from nowhere.
            values = generator.standard_normal((5, *self.shape)) * np.array([1, 1, 1, 1, 0]).reshape(5, *self._ones)
            if constant:
                values = values.reshape(5, -1)[:, :1].reshape(5, *self._ones) + np.zeros((5, *self.shape))
            self.known.append(size * values[:batch])
            return self.known[-1]

        def answer(like: torch.Tensor, event: int) -> torch.Tensor:
            return torch.tensor(fresh()).to(like)  # a copy: samplers may write into it

        return observe(self.run, torch.tensor(fresh()).to(self.dtype), answer, look)

    @property
    def _ones(self) -> tuple[int, ...]:
        return (1,) * len(self.shape)

    def _rows(self) -> np.ndarray:
        """Coefficients (n+1, 1+events) over (x_T, register of event 0, 1, ...) of every input and of the result.

        From a run with impulses in the batch, small ones, which no clipping reaches.
        """
        events = len(self.reference.kinds)
        start = torch.zeros(events + 1, *self.shape, dtype=self.dtype)
        start[0] = self.small

        def answer(like: torch.Tensor, event: int) -> torch.Tensor:
            answered = torch.zeros_like(like)
            answered[min(event + 1, events)] = self.small
            return answered

        draws = "draw" in self.reference.kinds or self.reference.unseen
        run = observe(self.run, start, answer, watched=bool(draws))
        self._require_same_course(run)
        epsilon, found = EPSILON[self.reference.arithmetic], []
        for what, x in self._outcomes(run):
            table = x.double().reshape(len(x), -1).cpu().numpy() / self.small
            if not np.isfinite(table).all():
                raise TraceError(f"{what} holds NaN or inf: the sampler's own coefficients are not finite there")
            uneven = np.abs(table - table[:, :1]).max()
            if uneven > 64 * epsilon * np.abs(table).max():
                raise TraceError(f"{what} treats the elements of a sample differently: its coefficients are no scalars")
            found.append(table[:, 0])
        return np.stack(found)

    def _require_same_course(self, run: Run) -> None:
        """The same calls and draws at the same times, whatever the numbers were."""
        ours, theirs = self.reference.kinds, run.kinds
        if ours != theirs:
            counts = [f"{k.count('evaluation')} model calls and {k.count('draw')} draws" for k in (ours, theirs)]
            raise TraceError(f"{counts[0]} on one batch, {counts[1]} on another: a data-dependent loop or branch")
        for k, (s, t) in enumerate(zip(self.reference.times, run.times, strict=True)):
            if s != t:
                raise TraceError(
                    f"evaluation {k} is asked at time {s:.9g} on one batch and {t:.9g} on another: steps that depend "
                    "on the data, or a sampler that does not start afresh"
                )

    def _outcomes(self, run: Run) -> list[tuple[str, torch.Tensor]]:
        return [*((f"evaluation {k}", x) for k, x in enumerate(run.inputs)), ("the result", run.result)]

    def _departure(self, run: Run, known: list[np.ndarray]) -> tuple[int, str] | None:
        """The first outcome of a run that is not what the table says, and whether even its zero sample is not zero."""
        batch = known[0].shape[0]
        values = np.stack([v.reshape(-1) for v in known])
        epsilon = 64 * EPSILON[run.arithmetic] * len(values) ** 0.5
        for row, (what, x) in zip(self.rows, self._outcomes(run), strict=True):
            gap = np.abs(row @ values - x.double().reshape(-1).cpu().numpy())
            wrong = ~(gap <= epsilon * (np.abs(row)[:, None] * np.abs(values)).sum(0))
            if wrong.any():
                from_nothing = batch == 5 and bool(wrong.reshape(5, -1)[4].any())
                return what, "constant" if from_nothing else ""
        return None

    def _named(self, what: str, kind: str) -> str:
        """What makes ``what`` another thing than a fixed linear combination, found out by further runs."""
        first, known = self.reference, self.known
        if not _equal(first, self._random(self.large)):
            return f"{what} differs from run to run: {self._draws()}a history that is kept, or random numbers"
        alone = self._random(self.large, batch=1)
        if not _equal(first, alone, batch=1):
            return f"{what} mixes the samples of a batch: its result depends on which samples are together"
        if kind == "constant":
            return f"{what} contains a constant: the sampler is affine, not linear"
        small = self._random(self.small)
        if self._departure(small, self.known) is None:
            return (
                f"{what} is linear for small states only: clipping or thresholding; turn it off (clip_sample=False, "
                "thresholding=False) to trace the linear solver under it"
            )
        even = self._random(self.large, constant=True)
        if known[0][0].size > 1 and self._departure(even, self.known) is None:
            return f"{what} mixes the elements of a sample: its coefficients are no scalars"
        return f"{what} is no fixed linear combination of what came before: {self._draws()}a nonlinear step"

    def _draws(self) -> str:
        unseen = ", ".join(sorted(self.reference.unseen))
        return f"draws that are no normal ones of the whole batch ({unseen}), " if unseen else ""


def _equal(a: Run, b: Run, batch: int | None = None) -> bool:
    """Whether the leading samples of two runs agree (to rounding: another batch size may take other kernels)."""
    if a.kinds != b.kinds:
        return False
    for x, y in zip([*a.inputs, a.result], [*b.inputs, b.result], strict=True):
        size = float(x.abs().max())
        if float((x[:batch] - y).abs().max()) > 16 * torch.finfo(x.dtype).eps * size:
            return False
    return True


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
