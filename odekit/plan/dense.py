"""The dense view of a Plan, and back: a table compressed to as few live registers as its Hankel rank."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from odekit.engine import Segment
from odekit.exceptions import OdekitError
from odekit.plan.carriers import embedded, product
from odekit.plan.program import Plan, Table

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
            known = slots
            for e in range(segment.evaluations):
                row = asks[step, e, : len(known)]
                inputs.append(product(row[None], known, own)[0])
                fresh = make(1)
                fresh[0, 1 + k] = one
                known, k = join([known, fresh]), k + 1
            for _ in range(segment.draws):
                fresh = make(1)
                fresh[0, 1 + n + z] = one
                known, z = join([known, fresh]), z + 1
            slots = product(carries[step], known, own)
    stacked = (np.stack(inputs) if exact else torch.stack(inputs)) if inputs else make(0)
    output = slots[0]
    noise = {}
    if m:
        noise = {"noise_inputs": stacked[:, 1 + n :], "noise_output": output[1 + n :]}
    return Table(
        plan.times, stacked[:, : 1 + n], output[: 1 + n], prediction=plan.prediction,
        state_scale=plan.state_scale, precision=plan.precision, **noise,
    )  # fmt: skip


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


def equilibrated(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(row, column) scales such that sizes / row / column has no entry above 1 and a 1 in every column.

    ``sizes`` are tables (..., R, C), each with scales of its own.
    What counts as large in a table depends on the row and on the register: with a noise prediction on VP the
    coefficients of x_T grow to 1/alpha_T, those of the last model output are of the size of sigma, and both matter as
    much.
    """
    rows, columns = np.ones(sizes.shape[:-1]), np.ones((*sizes.shape[:-2], sizes.shape[-1]))
    for _ in range(2):
        rows *= _largest(sizes / rows[..., None] / columns[..., None, :], axis=-1)
        columns *= _largest(sizes / rows[..., None] / columns[..., None, :], axis=-2)
    return rows, columns


def _largest(sizes: np.ndarray, axis: int) -> np.ndarray:
    largest = sizes.max(axis=axis, initial=0.0)
    return np.where(largest > 0, largest, 1.0)


def compressed(dense: Table, like: Plan) -> Plan:
    """The minimal realisation of a dense table, events in the order of the plan ``like``."""
    if like.form:
        raise OdekitError("compression is for plans whose coefficients are numbers; this plan's are operators")
    kinds = [kind for s in like.segments for kind in s.steps * (s.evaluations * ["evaluation"] + s.draws * ["draw"])]
    n, asked, drawn = len(dense.inputs), 0, 0
    order = [0]
    for kind in kinds:
        order.append(1 + asked if kind == "evaluation" else 1 + n + drawn)
        asked, drawn = asked + (kind == "evaluation"), drawn + (kind == "draw")
    # Whatever the precision of its coefficients, the rows of a plan were multiplied out in float64.
    segments = realised(whole(dense)[:, order], kinds, as_array(dense.times), EPSILON["float64"])
    precision = "float64" if isinstance(dense.precision, int) else dense.precision
    return like.replaced(segments=tuple(segments), precision=precision)


def realised(rows: np.ndarray, kinds: list[str], times: np.ndarray, epsilon: float) -> list[Segment]:
    """Segments with as few live registers as possible, from rows (n+1, 1+events) over x_T and the events in order.

    ``kinds`` names the events, "evaluation" or "draw"; the last row is the output; ``epsilon`` is the rounding unit of
    the arithmetic that made the rows. The map from past registers to all later rows is a Hankel matrix: its numerical
    rank is the number of registers that must stay alive (minimal realisation of a time-varying system: Dewilde & van
    der Veen 1998, chapter 3). The bases are rows themselves, the next input first. They are found from the end
    backwards, where an event adds one row and takes one column away: n events cost n small factorisations.
    """
    tolerance = 64 * epsilon * max(1.0, len(rows)) ** 0.5
    scale, columns = equilibrated(np.abs(rows))
    scaled = rows / scale[:, None] / columns
    asked = len(rows) - 1
    following, steps = [asked], []  # after the last event only the output is left
    for begin, end in reversed(_moves(kinds)):
        evaluates = kinds[begin] == "evaluation"
        asked -= evaluates
        needed = [asked, *following] if evaluates else following
        if begin:
            basis, known = _independent(scaled[needed, : begin + 1], tolerance, asked_first=evaluates)
            known *= scale[needed][:, None] / scale[needed][basis]
        else:
            basis, known = [0], rows[needed, :1]
        carry = np.hstack([known[int(evaluates) :], rows[following, begin + 1 : end + 1]])
        steps.append((times[asked : asked + evaluates], known[: int(evaluates)], carry))
        following = [needed[i] for i in basis]
    return list(_grouped(steps[::-1]))


def _moves(kinds: list[str]) -> list[tuple[int, int]]:
    """Events (begin, end) that make one step: an evaluation and the draws that follow it; or draws that come first."""
    begins = [e for e, kind in enumerate(kinds) if e == 0 or kind == "evaluation"]
    return list(zip(begins, [*begins[1:], len(kinds)], strict=True))


def _independent(rows: np.ndarray, tolerance: float, asked_first: bool) -> tuple[list[int], np.ndarray]:
    """Which rows are numerically independent (pivoted Gram-Schmidt), and all rows in terms of those."""
    rest, chosen = rows.copy(), []
    sizes = np.sqrt((rest * rest).sum(axis=1))
    pick = 0 if asked_first and sizes[0] > tolerance else int(sizes.argmax())
    while sizes[pick] > tolerance:
        chosen.append(pick)
        direction = rest[pick] / sizes[pick]
        rest -= np.outer(rest @ direction, direction)
        rest[chosen] = 0.0
        sizes = np.sqrt((rest * rest).sum(axis=1))
        pick = int(sizes.argmax())
    chosen = sorted(chosen) or [0]  # a register holding zero where nothing of the past is needed
    known = np.zeros((len(rows), len(chosen)))
    known[chosen, range(len(chosen))] = 1.0
    others = [i for i in range(len(rows)) if i not in chosen]
    if others:
        found = np.linalg.lstsq(rows[chosen].T, rows[others].T, rcond=None)[0].T
        known[others] = np.where(np.abs(found) < tolerance / 64, 0.0, found)
    return chosen, known


def _grouped(steps: list):
    """Consecutive steps with equally shaped tables share a segment."""
    i = 0
    while i < len(steps):
        j = i
        while j + 1 < len(steps) and [t.shape for t in steps[j + 1]] == [t.shape for t in steps[i]]:
            j += 1
        when, asks, carries = (torch.from_numpy(np.stack(part)) for part in zip(*steps[i : j + 1], strict=True))
        slots, fresh = (asks.shape[2], carries.shape[2] - asks.shape[2])
        unborn = torch.zeros(*asks.shape[:2], fresh, dtype=torch.float64)  # no input takes what is not there yet
        names = tuple(f"r.{s}" for s in range(slots))
        yield Segment(when, torch.cat([asks, unborn], dim=2), carries, names, draws=fresh - asks.shape[1])
        i = j + 1
