"""Adaptive steps: an embedded pair says how wrong a step was, a controller says how long the next one may be."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch

from odekit.exceptions import DivergenceError, GridError, MethodError, ModelError, OdekitError, unknown
from odekit.fields.coordinates import Coordinates, Instant, as_time

SAFETY = 0.9
SHRINK, GROW = 0.2, 5.0
"""The least and the largest factor between two steps (HNW II.4 recommend 1.5 to 5 for the largest)."""

CONTROLS = ("per-sample", "batch")
CONTROLLERS = ("pi", "i")


def solve(
    flow,
    x: torch.Tensor,
    method: Any = "dp5",
    *,
    full: bool = False,
    rtol: float = 1e-6,
    atol: float = 1e-6,
    t_end: float | None = None,
    t_start: float | None = None,
    control: str = "per-sample",
    controller: str = "pi",
    h0: float | None = None,
    max_steps: int = 10_000,
    **options: Any,
):
    """The state at ``t_end`` from x (B, *shape) at ``t_start``, each step accepted where its error estimate e satisfies
    rms(e / (atol + rtol max(|x_before|, |x_after|))) <= 1 over the components of a sample.

    ``method``: one with an embedded pair (its ``options`` as in `odekit.methods.get`), run in its own coordinates.
    ``t_start`` and ``t_end``, in the field's time, either way; by default a process's t_max and t_min, a plain field
    needs both. ``h0``: length of the first step in time, by default found with one evaluation more (HNW II.4).
    ``max_steps``: accepted and rejected ones together.

    ``control="per-sample"``: every sample has its own times and steps. A model is asked at one time a call, so samples
    are integrated one after the other: a result does not depend on the batch it was computed in, to the bit, and the
    cost is the *sum* of the samples' evaluations, each of a batch of one. Use it to measure and for small batches.
    ``control="batch"``: one step for all, the norm above in its *maximum* over the batch: no sample exceeds the
    tolerance, each call serves the whole batch, and results depend (within the tolerance) on who else is in it.

    ``controller="i"``: h <- h 0.9 E^(-1/k), k = (order of the lower formula) + 1. "pi": h <- h (0.9^k / E)^(0.7/k)
    (E_before / 0.9^k)^(0.4/k): at rest the same steps, but it does not bounce off the stability boundary. Factors stay
    in [0.2, 5]; a rejected step is followed by a shorter one, and the step after that is no longer.

    ``full=True`` returns a `Solution`. Per sample its ``times`` and ``trajectory`` are tuples of B tensors, (N_b+1,)
    and (N_b+1, *shape), and its statistics int64 tensors (B,); for the batch they are (N+1,), (N+1, B, *shape), ints.

    Raises MethodError (no embedded pair), OdekitError (a tolerance that is not positive), GridError (an empty
    interval), TimeRangeError, UnknownNameError, ModelError (NaN or a wrong shape: which evaluation, which time),
    DivergenceError (the step underflows, or max_steps are spent: at which time).
    Source: Hairer, Norsett & Wanner 1993, section II.4; Hairer & Wanner 1996, section IV.2 (PI: Gustafsson 1991).

    >>> import odekit as ok
    >>> decay = ok.VectorField(lambda x, t: -x)
    >>> x = solve(decay, torch.ones(1, 1).double(), "dp5", t_start=0.0, t_end=1.0, rtol=1e-9, atol=1e-9)
    >>> abs(x.item() - math.exp(-1)) < 1e-9
    True
    """
    from odekit import methods
    from odekit.solve import Counted, Solution, Statistics

    pair = _with_pair(methods.get(method, **options))
    span = _span(flow, t_start, t_end)
    if control not in CONTROLS:
        raise unknown("control", control, CONTROLS)
    if controller not in CONTROLLERS:
        raise unknown("controller", controller, CONTROLLERS)
    first = None if h0 is None else _positive("h0", h0)
    rule = Control(_positive("rtol", rtol), _positive("atol", atol), 1 + pair.tableau.embedded_order, controller)
    if not len(x):
        raise OdekitError("the batch is empty: there is no error to control")
    parts = [x] if control == "batch" else [row[None].clone() for row in x]
    runs = []
    for i, start in enumerate(parts):
        counted = Counted(flow, finite=False)
        label = f"sample {i}, " if control == "per-sample" else ""
        runs.append(_integrate(pair, counted, start, *span, rule, first, max_steps, full, label))
    result = torch.cat([run.state for run in runs])
    if not full:
        return result
    if control == "batch":
        (run,) = runs
        statistics = Statistics(run.evaluations, run.accepted, run.rejected)
        return Solution(result, _times(run), torch.stack(run.states), statistics)
    counts = [torch.tensor([getattr(r, name) for r in runs]) for name in ("evaluations", "accepted", "rejected")]
    trajectories = tuple(torch.cat(run.states) for run in runs)
    return Solution(result, tuple(map(_times, runs)), trajectories, Statistics(*counts))


@dataclass(frozen=True)
class Control:
    """Tolerances and the law of the next step; ``k`` is the order in h of the error estimate.

    >>> round(Control(1e-3, 1e-3, 5, "i").factor(2.0**5, None, False), 12)
    0.45
    """

    rtol: float
    atol: float
    k: int
    controller: str

    def norm(self, error: torch.Tensor, before: torch.Tensor, after: torch.Tensor) -> float:
        """Root mean square over a sample's components, relative to its tolerance; the largest of the batch."""
        with torch.no_grad():
            scale = self.atol + self.rtol * torch.maximum(before.abs(), after.abs())
            return float((error / scale).square().reshape(len(error), -1).mean(1).max().sqrt())

    def factor(self, error: float, previous: float | None, rejected: bool) -> float:
        """By how much the step changes after one of error ``error`` (1 is the tolerance); ``previous``: the error of
        the accepted step before; ``rejected``: this step repeats a rejected one."""
        if not math.isfinite(error):
            return SHRINK
        accepted, error = error <= 1.0, max(error, 1e-10)
        aim = SAFETY**self.k
        if self.controller == "pi" and accepted and previous is not None:
            factor = (aim / error) ** (0.7 / self.k) * (max(previous, 1e-4) / aim) ** (0.4 / self.k)
        else:
            factor = (aim / error) ** (1 / self.k)
        return min(max(factor, SHRINK), GROW if accepted and not rejected else 1.0)


@dataclass
class _Run:
    """One integration under way."""

    state: torch.Tensor
    times: list[float]
    states: list[torch.Tensor]
    evaluations: int = 0
    accepted: int = 0
    rejected: int = 0


@dataclass
class _Model:
    """The oracle: hands times over as the contract has them and remembers the questions of the current step."""

    counted: Any
    label: str
    asked: list[tuple] = field(default_factory=list)

    def __call__(self, x: torch.Tensor, t: float) -> torch.Tensor:
        answer = self.counted.model(x, as_time(t))
        self.asked.append((x, t, answer))
        return answer

    def accuse(self, also_overflow: bool = False) -> None:
        """Raise if the model answered a finite question with NaN (or inf): then no shorter step can help."""
        for i, (x, t, answer) in enumerate(self.asked, start=self.counted.evaluations - len(self.asked)):
            bad = ~torch.isfinite(answer) if also_overflow else torch.isnan(answer)
            if bad.any() and torch.isfinite(x).all():
                what = "NaN" if torch.isnan(answer).any() else "inf"
                raise ModelError(f"{self.label}evaluation {i} (t = {t:.6g}): the model returned {what} at a finite x")


def _integrate(pair, flow, x, t, t_end, control, h, max_steps, full, label) -> _Run:
    model = _Model(flow, label)
    f = pair.coordinates(flow, model)
    at, end = Instant(t), Instant(t_end)
    opening = pair.local(f, at)
    _require_clock(opening, f.prediction.name, at, end)
    run = _Run(x, [t], [x])
    # A tableau starts with the slope at the step's beginning, which survives rejection, and often the step before.
    carry = {"x": x, "slope": f.predict(x, at)}
    model.accuse(also_overflow=True)
    h = _first_step(opening, control, carry, at, end, model) if h is None else math.copysign(h, t_end - t)
    previous, repeating = None, False
    while at.time != t_end:
        if run.accepted + run.rejected >= max_steps:
            raise DivergenceError(
                f"{label}{max_steps} steps ({run.rejected} rejected) reached t = {at.time:.9g} of {t_end:.9g}: "
                + _advice(
                    control, x.dtype, "raise max_steps, loosen rtol and atol, or, if stiff, go implicit on a grid"
                )
            )
        # A last step up to 1 % longer than proposed is better than one more of length almost nothing.
        last = abs(t_end - at.time) <= 1.01 * abs(h)
        to = end if last else Instant(at.time + h)
        h = to.time - at.time
        if not last and abs(h) < 10 * math.ulp(max(abs(at.time), abs(t_end))):
            advice = _advice(control, x.dtype, "the solution or the field is singular there")
            raise DivergenceError(f"{label}the step underflows at t = {at.time:.9g}: {advice}")
        model.asked.clear()
        if "slope" not in carry:
            carry["slope"] = f.predict(carry["x"], at)
        moved, gap = pair.estimate(f, (to, at), carry)
        error = control.norm(gap, carry["x"], moved["x"])
        if not math.isfinite(error):
            model.accuse()
        h *= control.factor(error, previous, repeating)
        if error <= 1.0:
            at, carry, previous, repeating = to, moved, error, False
            run.accepted += 1
            if full:
                run.times.append(at.time)
                run.states.append(carry["x"])
        else:
            repeating = True
            run.rejected += 1
    run.state, run.evaluations = carry["x"], flow.evaluations
    return run


def _first_step(f: Coordinates, control: Control, carry: dict, at: Instant, end: Instant, model: _Model) -> float:
    """HNW II.4, "Starting step size", in the straight clock, translated to time; one evaluation."""
    x, slope = carry["x"], f.slope(carry["slope"], at)
    reach = f.clock(end) - f.clock(at)
    size, speed = control.norm(x, x, x), control.norm(f.leave(slope, at), x, x)
    small = 0.01 * size / speed if min(size, speed) > 1e-5 else 1e-6
    small = min(small, abs(reach))
    model.asked.clear()
    ahead = f(f.enter(x, at) + math.copysign(small, reach) * slope, f.between(at, end, small / abs(reach)))
    bend = control.norm(f.leave(ahead - slope, at), x, x) / small
    if not math.isfinite(bend):
        model.accuse()
        long = small
    elif max(speed, bend) <= 1e-15:
        long = max(1e-6, 1e-3 * small)
    else:
        long = (0.01 / max(speed, bend)) ** (1 / control.k)
    return f.between(at, end, min(100 * small, long, abs(reach)) / abs(reach)).time - at.time


def _with_pair(method):
    """The method, if it can estimate its own error."""
    if not hasattr(method, "estimate") or method.tableau.b_embedded is None:
        from odekit.methods import files

        pairs = [n for n in files.names() if (t := files.get(n)).b_embedded is not None and t.kind == "explicit"]
        raise MethodError(
            f"{method.name} has no embedded pair to control the step with: give a grid, or one of {', '.join(pairs)}"
        )
    return method


def _span(flow, t_start, t_end) -> tuple[float, float]:
    """Both ends as floats, the process's own where not given."""
    process = flow.process
    if process is None and (t_start is None or t_end is None):
        raise GridError("a plain field has no interval of its own: give t_start and t_end (or a grid)")
    start = float(process.t_max if t_start is None else t_start)
    end = float(process.t_min if t_end is None else t_end)
    for name, t in (("t_start", start), ("t_end", end)):
        if not math.isfinite(t):
            raise GridError(f"{name} = {t}: a finite time was expected")
        if process is not None:
            process.check_times(t)
    if start == end:
        raise GridError(f"t_start = t_end = {start:.9g}: there is nothing to integrate (the other end was expected)")
    return start, end


def _positive(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise OdekitError(f"{name} = {value!r}: a positive number was expected")
    return number


def _require_clock(f: Coordinates, prediction: str, at: Instant, end: Instant) -> None:
    for instant in (at, end):
        if not math.isfinite(f.clock(instant)):
            raise GridError(
                f"the straight clock of {prediction!r} is infinite at t = {instant.time:.6g}: end "
                "before it, or take the method in the velocity (prediction='velocity')"
            )


def _advice(control: Control, dtype: torch.dtype, usual: str) -> str:
    finest = 20 * torch.finfo(dtype).eps
    if control.rtol < finest:
        return f"rtol = {control.rtol:g} asks for more than {dtype} resolves, take rtol >= {finest:.1g}"
    return usual


def _times(run: _Run) -> torch.Tensor:
    return torch.tensor(run.times, dtype=torch.float64)
