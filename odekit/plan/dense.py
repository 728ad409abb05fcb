"""The dense view of a Plan, and back: a table compressed to as few live registers as its Hankel rank."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from odekit.engine import Segment
from odekit.plan.program import Plan, Table

EPSILON = {"float64": 2.2e-16, "float32": 1.2e-7, "float16": 9.8e-4, "bfloat16": 7.8e-3}


def table(plan: Plan) -> Table:
    """Every input and the output as rows over (x_T, N_0, ..., N_{n-1}) and the noise draws."""
    n, m = plan.evaluations, plan.draws
    exact = not torch.is_tensor(plan.segments[0].inputs)
    make = (
        (lambda rows: np.zeros((rows, 1 + n + m), dtype=object))
        if exact
        else (lambda rows: torch.zeros(rows, 1 + n + m, dtype=torch.float64))
    )
    slots = make(1)
    slots[0, 0] = 1
    inputs, k, z = [], 0, 0
    join = np.concatenate if exact else torch.cat
    for segment in plan.segments:
        for step in range(segment.steps):
            known = slots
            for e in range(segment.evaluations):
                row = segment.inputs[step, e, : len(known)]
                inputs.append((row[None, :] @ known)[0])
                fresh = make(1)
                fresh[0, 1 + k] = 1
                known, k = join([known, fresh]), k + 1
            for _ in range(segment.draws):
                fresh = make(1)
                fresh[0, 1 + n + z] = 1
                known, z = join([known, fresh]), z + 1
            slots = segment.outputs[step] @ known
    stacked = (np.stack(inputs) if exact else torch.stack(inputs)) if inputs else make(0)
    output = slots[0]
    noise = {}
    if m:
        noise = {"noise_inputs": stacked[:, 1 + n :], "noise_output": output[1 + n :]}
    return Table(
        plan.times, stacked[:, : 1 + n], output[: 1 + n], prediction=plan.prediction,
        state_scale=plan.state_scale, precision=plan.precision, **noise,
    )  # fmt: skip


def live(dense: Table) -> np.ndarray:
    """Which evaluations have a path to the output (n,): the others are wasted."""
    inputs, output = as_array(dense.inputs), as_array(dense.output)
    n = len(inputs)
    alive = np.zeros(n, dtype=bool)
    need = output[1:] != 0
    for k in range(n - 1, -1, -1):
        if need[k]:
            alive[k] = True
            need = need | (inputs[k, 1:] != 0)
    return alive


def as_array(values: Any) -> np.ndarray:
    """A table as float64 numbers."""
    return values.detach().numpy() if torch.is_tensor(values) else np.asarray(values, dtype=float)


def compressed(dense: Table, like: Plan) -> Plan:
    """The minimal realisation of a dense, noise-free table."""
    rows, output, times = (as_array(v) for v in (dense.inputs, dense.output, dense.times))
    segments = realised(rows, output, ["evaluation"] * len(rows), times, dense.precision)
    return like.replaced(segments=tuple(segments), precision=dense.precision)


def realised(rows: np.ndarray, output: np.ndarray, kinds: list[str], times: np.ndarray, precision: Any) -> list:
    """Segments with as few live registers as possible, from rows over (x_T, register of event 0, 1, ...).

    ``kinds`` orders the events, "evaluation" or "draw". The map from the past registers to all later inputs and the
    output is the Hankel matrix; its numerical rank is the number of registers that must stay alive (minimal
    realisation of a time-varying system: Dewilde & van der Veen 1998, chapter 3).
    """
    tolerance = 64 * EPSILON.get(precision, 2.2e-16)
    basis = np.ones((1, 1))  # x_T itself
    steps, asked = [], 0
    for event, kind in enumerate(kinds):
        ask = rows[asked : asked + 1, : event + 1] if kind == "evaluation" else np.zeros((0, event + 1))
        asked += len(ask)
        following = _row_basis(np.vstack([rows[asked:], output[None]])[:, : event + 2], tolerance)
        carry = np.hstack([_in_terms_of(following[:, : event + 1], basis), following[:, event + 1 :]])
        steps.append((times[asked - len(ask) : asked], _in_terms_of(ask, basis), carry))
        basis = following
    return list(_grouped(steps))


def _row_basis(rows: np.ndarray, tolerance: float) -> np.ndarray:
    """A basis of the numerical row space: rows chosen by pivoted QR, the first row (the next input) preferred."""
    from scipy.linalg import qr

    scale = np.abs(rows).max(axis=1, keepdims=True)
    scale[scale == 0] = 1.0
    _, r, pivots = qr((rows / scale).T, mode="economic", pivoting=True)
    sizes = np.abs(np.diag(r))
    rank = max(1, int((sizes > tolerance * max(rows.shape) * max(sizes[0], 1e-300)).sum()))
    return rows[sorted(pivots[:rank])]


def _in_terms_of(rows: np.ndarray, basis: np.ndarray) -> np.ndarray:
    scale = np.abs(basis).max(axis=1)
    scale[scale == 0] = 1.0
    solution = np.linalg.lstsq((basis / scale[:, None]).T, rows.T, rcond=None)[0].T / scale
    return np.where(np.abs(solution * scale) < 1e-15 * np.abs(solution * scale).max(initial=0.0), 0.0, solution)


def _grouped(steps: list):
    """Consecutive steps with equally shaped tables share a segment; the last basis is the output itself."""
    i = 0
    while i < len(steps):
        j = i
        while j + 1 < len(steps) and [t.shape for t in steps[j + 1]] == [t.shape for t in steps[i]]:
            j += 1
        when, asks, carries = (torch.from_numpy(np.stack(part)) for part in zip(*steps[i : j + 1], strict=True))
        own = torch.zeros(*asks.shape[:2], 1, dtype=torch.float64)  # no evaluation takes its own output
        names = tuple(f"r.{s}" for s in range(asks.shape[2]))
        yield Segment(when, torch.cat([asks, own], dim=2), carries, names, draws=1 - asks.shape[1])
        i = j + 1
