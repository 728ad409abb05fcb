"""A scheduler as it ships: the table it runs on its own grid, and what is wrong with it that its formula does not show.

Last steps of low order, evaluations at another noise level than that of their state, float32 coefficients, evaluations
that are asked twice or for nothing, NaN by step; and the order that is left of it all, on the grids it makes itself.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from analysis.exact import rms_norm
from analysis.recognise import parting
from odekit.exceptions import OdekitError, TraceError
from odekit.plan.dense import EPSILON, as_array, live

OFF = 1e-4  # relative distance of two noise levels that is none of rounding
LOST = 1e-5  # relative: more is lost than float32 itself does
NEARLY_ZERO = 1e-6  # sigma from which the exact flow denoises to zero, its error being of second order
BATCH = 64
COUNTS = (25, 50, 100, 200, 400)
TABLES = ("sigmas", "sigmas_interpol", "alphas_cumprod", "final_alpha_cumprod", "alphas", "betas", "alpha_t", "sigma_t",
          "lambda_t")  # fmt: skip


@dataclass
class Shipped:
    """What a scheduler is on its own grid: its plan (None where it is refused, `refused` says why) and findings."""

    name: str
    steps: int
    plan: Any = None
    refused: str = ""
    findings: list[str] = field(default_factory=list)
    off_level: float | None = None
    float32: float | None = None
    last: str = ""

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data, the table of coefficients included."""
        table = None
        if self.plan is not None:
            dense = self.plan.dense()
            table = {"times": as_array(dense.times).tolist(), "inputs": as_array(dense.inputs).tolist(),
                     "output": as_array(dense.output).tolist(), "prediction": str(dense.prediction),
                     "state_scale": list(dense.state_scale), "precision": dense.precision}  # fmt: skip
            if dense.noise_output is not None:
                table["noise_inputs"] = as_array(dense.noise_inputs).tolist()
                table["noise_output"] = as_array(dense.noise_output).tolist()
        return {"steps": self.steps, "refused": self.refused, "findings": self.findings, "last_step": self.last,
                "off_level": self.off_level, "float32": self.float32, "table": table}  # fmt: skip


def look(make: Callable[[int], Any], steps: int, nearest: str | None = None) -> Shipped:
    """What tracing the scheduler ``make(steps)`` shows; ``nearest``: the method of the catalogue its formula is."""
    scheduler = make(steps)
    found = Shipped(type(scheduler).__name__, steps)
    import odekit as ok

    try:
        found.plan = ok.trace(scheduler)
    except TraceError as error:
        found.refused = str(error)
        found.findings.append(f"as shipped, {steps} steps: {error}")
        return found
    dense = found.plan.dense()
    found.findings += [*wasted(dense), *repeated(dense)]
    found.off_level = _off_level(found)
    found.float32 = _cancelled(scheduler, found)
    found.last = _last(found, scheduler, nearest)
    return found


def wasted(dense: Any) -> list[str]:
    alive = live(dense)
    dead = len(alive) - int(alive.sum())
    return [f"{dead} of {len(alive)} evaluations do not reach the result"] if dead else []


def repeated(dense: Any) -> list[str]:
    """Evaluations of a state and a time that were evaluated before."""
    inputs, times = as_array(dense.inputs).copy(), as_array(dense.times)
    noise = None if dense.noise_inputs is None else as_array(dense.noise_inputs)
    first: dict[int, int] = {}
    for k in range(len(times)):
        row = inputs[k]
        for j in range(k):
            if j in first or times[j] != times[k] or (noise is not None and not np.array_equal(noise[j], noise[k])):
                continue
            if np.abs(inputs[j] - row).max() <= 1e-12 * np.abs(row).max():
                first[k] = j
                inputs[:, 1 + j] += inputs[:, 1 + k]  # what is asked twice is one register
                inputs[:, 1 + k] = 0
                break
    return [f"{len(first)} of {len(times)} evaluations repeat an earlier one (same state, same time)"] if first else []


def _off_level(found: Shipped) -> float | None:
    """How far the level the model is told is from that of the state it is shown; the worst evaluation is told of.

    A path x = alpha (x_0 + kappa e) of constant data and noise goes through a sampler unchanged: the rows of its table
    say at which kappa each state is.
    """
    plan = found.plan
    try:
        dense = plan.reexpress("noise", (1.0, 1.0)).dense()
    except OdekitError:
        return None
    inputs, times = as_array(dense.inputs), as_array(dense.times)
    if not len(times) or (dense.noise_inputs is not None and np.abs(as_array(dense.noise_inputs)).max() > 0):
        return None
    alpha, kappa = (np.array([float(getattr(plan.process, k)(t)) for t in times]) for k in ("alpha", "kappa"))
    start = kappa[0] + inputs[0, 1:].sum()
    shown = start + inputs[:, 1:].sum(axis=1) / (inputs[:, 0] * alpha[0])
    rounding = 16 * EPSILON[plan.precision] * kappa[0]  # what sums of the size of the first level leave
    gaps = np.maximum(0.0, np.abs(shown - kappa) - rounding) / kappa
    gaps[~live(dense)] = 0.0
    worst = int(gaps.argmax())
    if gaps[worst] > OFF:
        found.findings.append(
            f"evaluation {worst} is asked at noise level {kappa[worst]:.5g}, its state is at {shown[worst]:.5g} "
            f"({gaps[worst]:.1e} apart, relatively)"
        )
    return float(gaps[worst])


def _cancelled(scheduler: Any, found: Shipped) -> float | None:
    """The largest distance of the table from that of the same scheduler with its tables of levels in float64."""
    import odekit as ok

    wide = copy.deepcopy(scheduler)
    for name in TABLES:
        value = getattr(wide, name, None)
        if torch.is_tensor(value) and value.dtype == torch.float32:
            setattr(wide, name, value.double())
    try:
        gap = ok.same(found.plan, ok.trace(wide).replaced(process=found.plan.process), tol=math.inf).gap
    except OdekitError:
        return None
    if gap > LOST:
        found.findings.append(
            f"float32 tables: coefficients are off by {gap:.1e} of those from the same levels in float64"
        )
    return float(gap)


def _last(found: Shipped, scheduler: Any, nearest: str | None) -> str:
    """How the run ends, and where it parts from the method its formula is."""
    from odekit.interop.diffusers import grid_of

    plan = found.plan
    try:
        end = float(grid_of(scheduler)[-1])
        dense = plan.reexpress("noise", (1.0, 1.0)).dense()
    except (OdekitError, TypeError, AttributeError):
        return ""
    if plan.process is None or dense.noise_output is not None and np.abs(as_array(dense.noise_output)).max() > 0:
        return ""
    alpha, sigma = float(plan.process.alpha(end)), float(plan.process.sigma(end))
    at = float(as_array(dense.times)[-1])
    psi = alpha / float(plan.process.alpha(at))
    step = psi * as_array(dense.inputs)[-1]
    step[-1] += sigma - psi * float(plan.process.sigma(at))
    output, scale = as_array(dense.output), max(np.abs(as_array(dense.output)).max(), 1e-300)
    is_ddim = bool(np.abs(step - output).max() < 1e-4 * scale)
    lowered = is_ddim and nearest not in ("ddim", "euler") and len(step) > 2
    ending = "DDIM to sigma = 0" if sigma == 0 else "DDIM"
    place = parting(plan, nearest, grid_of(scheduler)) if nearest else None
    if place is None:
        text = f"the last step is {ending}" if lowered else ""
    elif place[0] >= place[1]:
        same = f"identical to {nearest}"
        text = f"{same} until the last step, which is {ending}" if lowered else same if place[0] > place[1] else (
            f"{same} until the last step"
        )  # fmt: skip
    else:
        text = f"parts from {nearest} at evaluation {place[0]} of {place[1]}"
    if text:
        found.findings.append(f"as shipped, {found.steps} steps: {text}")
    return text


# The order that is left.


def ladder(make: Callable[[int], Any], counts: Sequence[int] = COUNTS) -> tuple[list[int], list[float]]:
    """Errors of whole runs as shipped, against the exact flow between the levels at which they begin and end.

    The data are the three Gaussians on which methods are verified; counts that the scheduler refuses are left out, and
    nothing is measured where noise is drawn.
    """
    import odekit as ok

    done, errors = [], []
    try:
        dense = ok.trace(make(counts[0])).dense()
        if dense.noise_output is not None and bool((dense.noise_output != 0).any()):
            return done, errors
    except OdekitError:
        pass  # of NaN, say: that shows in the errors
    for n in counts:
        try:
            scheduler = make(n)
            errors.append(_error(scheduler))
            done.append(n)
        except OdekitError:
            continue
    return done, errors


def slope(counts: Sequence[int], errors: Sequence[float]) -> float | None:
    """The slope between the last two runs; None where there are none."""
    if len(counts) < 2 or not all(math.isfinite(e) and e > 0 for e in errors[-2:]):
        return None
    return math.log(errors[-2] / errors[-1]) / math.log(counts[-1] / counts[-2])


def _error(scheduler: Any) -> float:
    from odekit.interop.diffusers import adapt, grid_of
    from odekit.interop.preconditioned import adapt_preconditioned

    adapted = (adapt_preconditioned if hasattr(scheduler, "precondition_outputs") else adapt)(scheduler)
    process, grid = adapted.process, grid_of(scheduler) if adapted.process.name != "edm" else scheduler.sigmas.double()
    first, last = float(grid[0]), float(grid[-1])
    shown, (outer, inner) = _model(process, adapted.prediction), adapted.state_scale
    if process.name == "rectified-flow":
        start, exact = _straight(float(f"{first:.9g}"), float(f"{last:.9g}"))
    else:  # on any other process x / alpha moves with kappa alone
        alpha = [float(process.alpha(t)) if t > 0 else 1.0 for t in (first, last)]
        kappas = (float(f"{float(process.kappa(t)) if t > 0 else 0.0:.9g}") for t in (first, last))
        start, exact = (a * x for a, x in zip(alpha, _exact(*kappas), strict=True))
    asked = adapted.sampler(
        lambda y, t: shown(y[:, 0, 0], adapted.time(float(t)))[:, None, None].to(y.dtype), outer * start[:, None, None]
    )
    return rms_norm(asked[:, 0, 0].double() / inner - exact)


@functools.lru_cache(maxsize=64)
def _model(process: Any, prediction: str) -> Callable:
    import odekit as ok

    return ok.ProbabilityFlow(process, ok.targets.get("trio"), prediction=prediction).model


@functools.lru_cache(maxsize=256)
def _exact(first: float, last: float) -> tuple[torch.Tensor, torch.Tensor]:
    """States x / alpha (B, d) at noise level ``first`` and where the exact flow takes them, at ``last`` or zero."""
    import odekit as ok

    target = ok.targets.get("trio")
    flow = ok.ProbabilityFlow(ok.processes.get("edm"), target, prediction="noise")
    x = target.marginal(1.0, first).sample(BATCH, seed=0, dtype=torch.float64)
    if last >= NEARLY_ZERO:
        return x, ok.reference(flow, x, last, t_start=first, tol=1e-10).x
    y = ok.reference(flow, x, NEARLY_ZERO, t_start=first, tol=1e-10).x
    return x, y - NEARLY_ZERO * flow.model(y, torch.tensor(NEARLY_ZERO, dtype=torch.float64))


@functools.lru_cache(maxsize=64)
def _straight(first: float, last: float) -> tuple[torch.Tensor, torch.Tensor]:
    """States (B, d) of flow matching at time ``first`` and where the exact flow takes them."""
    import odekit as ok

    target, process = ok.targets.get("trio"), ok.RectifiedFlow()
    x = target.marginal(float(process.alpha(first)), float(process.sigma(first))).sample(BATCH, 0, torch.float64)
    return x, ok.reference(ok.ProbabilityFlow(process, target, "velocity"), x, last, t_start=first, tol=1e-10).x
