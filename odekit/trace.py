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

from odekit.exceptions import TraceError, brief, unknown
from odekit.fields.matrix import prediction_on
from odekit.interop.blackbox import COARSENESS, Run, observe
from odekit.plan.dense import EPSILON, as_array
from odekit.plan.program import Plan
from odekit.plan.realisation import realised

ROUNDING = 2.0**-16
"""What a sampler that loses digits in its own differences may be off its table, relatively (diffusers' Heun: 1e-12)."""

CARRIERS = {"scalar": "", "diagonal": "ef,ebf->bf", "block": "eij,ebjn->bin"}
"""What coefficients may be, and how those of a row act on registers."""

LARGE, SMALL = 2**10, 2.0**-20
"""Sizes of the numbers samplers are tried with: what clips shows at one of them and is gone at the other."""


def trace(
    sampler: Any,
    shape: tuple[int, ...] = (),
    carrier: str | None = None,
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
    they are made. ``carrier`` says what coefficients are: "scalar", "block" (matrices on the channels of states
    (B, n, *shape)) or "diagonal" (a number a component); by default those of the process, as is the ``shape``. Raises
    TraceError for a sampler that is no straight-line program of that carrier, and for a carrier that is not the
    process's.

    The plan's ``precision`` is the coarsest in use: the dtype the state is computed in, or the grain of the numbers
    that pass by. Float32 tables among float64 states are seen, also as python floats; not so what was read from them
    and combined to other python floats or numpy arrays before the sampler ran.

    >>> import odekit as ok
    >>> def euler(model, x, times):
    ...     for t, s in zip(times[:-1], times[1:]):
    ...         x = x + (s - t) * model(x, t)
    ...     return x
    >>> found = ok.trace(euler, grid=torch.linspace(0, 1, 5).double(), prediction="velocity")
    >>> found.evaluations, found.registers
    (4, 1)
    """
    if carrier not in (None, *CARRIERS):
        raise unknown("carrier", carrier, CARRIERS)
    known, precision, state_scale, name = None, None, (1.0, 1.0), getattr(sampler, "__name__", type(sampler).__name__)
    if hasattr(sampler, "set_timesteps") and hasattr(sampler, "step"):
        from odekit.interop.diffusers import adapt
        from odekit.interop.preconditioned import adapt_preconditioned

        adapted = (adapt_preconditioned if hasattr(sampler, "precondition_outputs") else adapt)(sampler)
        sampler, times, process, prediction = adapted.sampler, adapted.time, adapted.process, adapted.prediction
        state_scale, shape = adapted.state_scale, shape or (1, 2, 2)
    elif isinstance(sampler, Plan):
        process, prediction, state_scale = sampler.process, sampler.prediction, sampler.state_scale
        name, precision = sampler.name, sampler.precision if isinstance(sampler.precision, str) else "float64"
        carrier = tuple(CARRIERS)[len(sampler.form)]
        shape = shape or (sampler.form[:1] if process is None else ())
        known, sampler = as_array(sampler.times), _with_draws(sampler)
    elif not callable(sampler):
        raise TraceError(f"a sampler is a function (model, x) or a scheduler; got a {type(sampler).__name__}")
    prediction_on(process, prediction)
    carrier, shape = _states(carrier, tuple(shape), process)
    audit = _Audit(_runner(sampler, grid), shape, dtype or torch.float64, carrier)
    rows, run = audit.rows, audit.reference
    precision = precision or max(run.arithmetic, run.grain, key=COARSENESS.index)
    moments = _moments(run.times, times, process) if known is None else known
    segments = realised(rows, run.kinds, moments, audit.epsilon)
    return Plan(tuple(segments), prediction, process, state_scale, precision, name)


def _states(carrier: str | None, shape: tuple[int, ...], process: Any) -> tuple[str, tuple[int, ...]]:
    """The carrier and what one sample looks like, by default the process's."""
    own, channels = getattr(process, "carrier", "scalar"), getattr(process, "channels", 2)
    if process is not None and carrier not in (None, "scalar", own):
        expected = " or ".join(repr(known) for known in dict.fromkeys(("scalar", own)))
        raise TraceError(f"carrier {carrier!r} on {brief(process)}, whose coefficients are {own}: expected {expected}")
    carrier = carrier or own
    if not shape:
        shape = {"scalar": (), "diagonal": getattr(process, "shape", ()), "block": (channels,)}[own]
    if "block" in (carrier, own) and (not shape or own == "block" and shape[0] != channels):
        raise TraceError(
            f"states of the carrier 'block' are (B, {channels}, ...): expected shape=({channels}, ...), got {shape}"
        )
    return carrier, shape


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

    def __init__(self, run: Callable, shape: tuple[int, ...], dtype: torch.dtype, carrier: str = "scalar"):
        self.run, self.shape, self.dtype, self.carrier = run, shape, dtype, carrier
        self.channels = shape[0] if carrier == "block" else 1
        half = dtype in (torch.float16, torch.bfloat16)
        self.large, self.small = (4, 2.0**-6) if half else (LARGE, SMALL)
        self.known: list[np.ndarray] = []
        # Four samples of random numbers, and one that sees only zeros.
        self.reference = self._random(look=True)
        if not self.reference.inputs:
            raise TraceError("the sampler never asks the model: there is nothing to trace")
        self.uneven: set[str] = set()
        self.rows = self._rows()
        self.epsilon = EPSILON[self.reference.arithmetic]
        found, noise = self._departure(self.reference)
        if found:
            if noise > ROUNDING or not self._scales():
                raise TraceError(self._named(*found))
            self.epsilon = noise

    def _random(self, scale: float = 1.0, batch: int = 5, constant: bool = False, look: bool = False) -> Run:
        """A run on random numbers of size ``large`` times ``scale``, kept in ``known``: (1+events, B, *shape).

        Numbers in double precision, but integers where the sampler wants coarser ones: what coarse fractions there are
        in the run are its own.
        """
        generator = np.random.default_rng(0)  # numpy's: torch's draws are being watched
        self.known = []

        def fresh(dtype: torch.dtype) -> torch.Tensor:
            values = self.large * generator.uniform(-1, 1, (5, *self.shape))
            values[4] = 0  # the last of five samples shows what comes from nowhere
            if constant:
                values[:] = values.reshape(5, -1)[:, 0].reshape(5, *(1 for _ in self.shape))
            self.known.append(scale * (values if dtype == torch.float64 else values.round())[:batch])
            return torch.tensor(self.known[-1]).to(dtype)  # a copy: samplers may write into it

        return observe(self.run, fresh(self.dtype), lambda like, event: fresh(like.dtype).to(like), look)

    def _rows(self) -> np.ndarray:
        """Coefficients (n+1, 1+events, *own) over (x_T, register of event 0, 1, ...) of all inputs and the result.

        From a run with impulses in the batch, small ones, which no clipping reaches, one for each channel of each
        register; they are those of the first element of a sample, ``uneven`` says where others have others.
        """
        events, channels = len(self.reference.kinds), self.channels

        def impulse(like: torch.Tensor, register: int) -> torch.Tensor:
            answered = torch.zeros_like(like)
            for i in range(channels):
                answered[(channels * register + i, i) if self.carrier == "block" else register] = self.small
            return answered

        def answer(like: torch.Tensor, event: int) -> torch.Tensor:
            return impulse(like, min(event + 1, events))

        start = impulse(torch.zeros(channels * (events + 1), *self.shape, dtype=self.dtype), 0)

        draws = "draw" in self.reference.kinds or self.reference.unseen
        run = observe(self.run, start, answer, watched=bool(draws))
        self._require_same_course(run)
        rows, epsilon = [], EPSILON[self.reference.arithmetic]
        for what, x in self._outcomes(run):
            table = x.double().cpu().numpy() / self.small
            if self.carrier == "block":
                table = table.reshape(events + 1, channels, channels, -1).swapaxes(1, 2)
            else:  # in the scalar carrier all elements of a sample say the same, in the diagonal one each its own
                table = table.reshape(events + 1, *((-1, 1) if self.carrier == "diagonal" else (-1,)))
            if not np.isfinite(table).all():
                raise TraceError(f"{what} holds NaN or inf: the sampler's own coefficients are not finite there")
            if np.abs(table - table[..., :1]).max() > 64 * epsilon * np.abs(table).max():
                self.uneven.add(what)
            rows.append(table[..., 0])
        return np.stack(rows)

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

    def _departure(self, run: Run) -> tuple[tuple[str, bool] | None, float]:
        """The first outcome of a run (on ``known``) that is not what the rows say, and whether even its zero sample
        is not zero; and the largest relative departure."""
        batch, values = len(self.known[0]), np.stack(self.known)
        allowed, first, largest = 64 * EPSILON[run.arithmetic] * len(values) ** 0.5, None, 0.0
        for row, (what, x) in zip(self.rows, self._outcomes(run), strict=True):
            gap = np.abs(self._applied(row, values) - x.double().reshape(-1).cpu().numpy())
            size = self._applied(np.abs(row), np.abs(values))
            gap = np.where(gap > 0, gap / np.maximum(size, 1e-300), gap).reshape(batch, -1)
            largest = max(largest, float(np.nan_to_num(gap, nan=np.inf).max()))
            if first is None and not gap.max() <= allowed:
                first = what, batch == 5 and not gap[4].max() <= allowed
        return first, largest

    def _applied(self, row: np.ndarray, values: np.ndarray) -> np.ndarray:
        """What a row of coefficients makes of registers (1+events, B, *shape), flattened."""
        if self.carrier == "scalar":
            return row @ values.reshape(len(values), -1)
        form = (self.channels, -1) if self.carrier == "block" else (-1,)
        return np.einsum(CARRIERS[self.carrier], row, values.reshape(*values.shape[:2], *form)).reshape(-1)

    def _scales(self) -> bool:
        """Whether small numbers of the other sign give the same result to the last bit: then it departs by rounding.

        The factor is a power of two, which linear operations carry through exactly, and hardly any other does.
        """
        known, factor = self.known, -self.small / self.large
        small = self._random(factor)
        self.known = known
        pairs = zip(self._outcomes(self.reference), self._outcomes(small), strict=True)
        return small.kinds == self.reference.kinds and all(torch.equal(x * factor, y) for (_, x), (_, y) in pairs)

    def _carried(self) -> str:
        """What coefficients are not, and what is near."""
        n = self.shape[0] if self.shape else 1
        kinds = {"scalar": "scalars", "block": f"{n}x{n} blocks on the channels", "diagonal": "numbers a component"}
        near = f"; if they are {n}x{n} blocks, process= or carrier= says so" if n in (2, 3) else ""
        return f"its coefficients are no {kinds[self.carrier]}{near if self.carrier == 'scalar' else ''}"

    def _named(self, what: str, from_nothing: bool) -> str:
        """What makes ``what`` another thing than a fixed linear combination, found out by further runs."""
        first = self.reference
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # another state than that of the first run
            again = self._random()
        if not _equal(first, again):
            unseen = ", ".join(sorted(first.unseen))
            why = f"draws that are no normal ones of the whole batch ({unseen})" if unseen else "random numbers"
            return f"{what} differs from run to run: {why}, or a history that is kept"
        if not _equal(first, self._random(batch=1), batch=1):
            return f"{what} mixes the samples of a batch: its result depends on which samples are together"
        if what in self.uneven:
            return f"{what} treats the elements of a sample differently: {self._carried()}"
        if from_nothing:
            return f"{what} contains a constant: the sampler is affine, not linear"
        if self._departure(self._random(self.small / self.large))[0] is None:
            return (
                f"{what} is linear for small states only: clipping or thresholding; turn it off (clip_sample=False, "
                "thresholding=False) to trace the linear solver under it"
            )
        if self._departure(self._random(constant=True))[0] is None:
            return f"{what} mixes the elements of a sample: {self._carried()}"
        return f"{what} is no fixed linear combination of what came before: a nonlinear step"


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
