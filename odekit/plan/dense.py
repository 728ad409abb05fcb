"""The dense view of a Plan, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from odekit.engine import Segment
from odekit.plan.carriers import embedded, product
from odekit.plan.program import Plan, Table
from odekit.plan.realisation import realised

EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


def table(plan: Plan) -> Table:
    """Every input and the output as rows over (x_T, N_0, ..., N_{n-1}) and the noise draws."""
    n, m = plan.evaluations, plan.draws
    exact, form = not torch.is_tensor(plan.segments[0].inputs), plan.form
    own = len(form)
    one = embedded(torch.ones(1, 1, 1, dtype=torch.float64), form)[0, 0, 0]
    make = (
        (lambda rows: np.zeros((rows, 1 + n + m, *form), dtype=object))
        if exact
        else (lambda rows: torch.zeros(rows, 1 + n + m, *form, dtype=torch.float64))
    )
    one = one.numpy().astype(object) if exact else one
    slots = make(1)
    slots[0, 0] = one
    inputs, k, z = [], 0, 0
    join = np.concatenate if exact else torch.cat
    for segment in plan.segments:
        asks, carries = (embedded(t, form) for t in (segment.inputs, segment.outputs))
        for step in range(segment.steps):
            known, drawn = slots, make(segment.draws)
            for i in range(segment.draws):
                drawn[i, 1 + n + z + i] = one
            z, born = z + segment.draws, len(slots) + segment.evaluations
            for e in range(segment.evaluations):
                row = join([asks[step, e, : len(known)], asks[step, e, born:]])
                inputs.append(product(row[None], join([known, drawn]), own)[0])
                fresh = make(1)
                fresh[0, 1 + k] = one
                known, k = join([known, fresh]), k + 1
            slots = product(carries[step], join([known, drawn]), own)
    stacked = (np.stack(inputs) if exact else torch.stack(inputs)) if inputs else make(0)
    output = slots[0]
    noise = {}
    if m:
        noise = {
            "noise_inputs": stacked[:, 1 + n :],
            "noise_output": output[1 + n :],
            "noise_intervals": intervals(plan),
        }
    return Table(
        plan.times, stacked[:, : 1 + n], output[: 1 + n], prediction=plan.prediction,
        state_scale=plan.state_scale, precision=plan.precision, **noise,
    )  # fmt: skip


def intervals(plan: Plan) -> Any:
    """The times (m, 2) between which each draw acts; None where a segment does not know."""
    known = [s.intervals for s in plan.segments if s.draws]
    if not known or any(pair is None for pair in known):
        return None
    flat = [pair.reshape(-1, 2) for pair in known]
    return torch.cat(flat) if torch.is_tensor(flat[0]) else np.concatenate(flat)


def as_array(values: Any) -> np.ndarray:
    """A table as float64 numbers."""
    return values.detach().numpy() if torch.is_tensor(values) else np.asarray(values, dtype=float)


def whole(dense: Table) -> np.ndarray:
    """Inputs and output in one array (n+1, 1+n+m) over x_T, the model outputs and the noise draws."""
    rows = np.vstack([as_array(dense.inputs), as_array(dense.output)[None]])
    if dense.noise_output is None:
        return rows
    return np.hstack([rows, np.vstack([as_array(dense.noise_inputs), as_array(dense.noise_output)[None]])])


def live(dense: Table) -> np.ndarray:
    """Which evaluations have a path to the output (n,): the others are wasted. Rounding errors are no path."""
    rows = np.abs(np.vstack([as_array(dense.inputs), as_array(dense.output)[None]]))
    along = (1, 3) if rows.ndim == 4 else 1  # what one number of a state is a combination of
    taken = rows[:, 1:] > 4 * EPSILON["float64"] * rows.max(axis=along, keepdims=True)
    taken = taken.reshape(*taken.shape[:2], -1).any(axis=2)
    n = len(rows) - 1
    alive, need = np.zeros(n, dtype=bool), taken[n]
    for k in range(n - 1, -1, -1):
        if need[k]:
            alive[k] = True
            need = need | taken[k]
    return alive


def compressed(dense: Table, like: Plan) -> Plan:
    """The minimal realisation of a dense table, events in the order of the plan ``like``."""
    kinds = [
        "evaluation" if j < s.evaluations else "draw" for s in like.segments for _ in range(s.steps) for j in s.events
    ]
    n, asked, drawn = len(dense.inputs), 0, 0
    order = [0]
    for kind in kinds:
        order.append(1 + asked if kind == "evaluation" else 1 + n + drawn)
        asked, drawn = asked + (kind == "evaluation"), drawn + (kind == "draw")
    # Whatever the precision of its coefficients, the rows of a plan were multiplied out in float64.
    segments = realised(whole(dense)[:, order], kinds, as_array(dense.times), EPSILON["float64"])
    if dense.noise_intervals is not None:
        segments = _dated(segments, torch.as_tensor(as_array(dense.noise_intervals)))
    precision = "float64" if isinstance(dense.precision, int) else dense.precision
    return like.replaced(segments=tuple(segments), precision=precision)


def _dated(segments: list[Segment], spans: Any) -> list[Segment]:
    """The segments with the intervals (m, 2) of their draws, in order."""
    found, first = [], 0
    for segment in segments:
        last = first + segment.steps * segment.draws
        known = spans[first:last].reshape(segment.steps, segment.draws, 2) if segment.draws else None
        found.append(replace(segment, intervals=known))
        first = last
    return found
