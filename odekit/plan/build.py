"""From a method, a field and a grid to a Plan: equal steps are built in one go, as vectors over steps."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch

from odekit.engine import Segment
from odekit.exceptions import GridError, MethodError, PredictionError, brief
from odekit.expressions import FLOAT64, Field, mpfield
from odekit.fields.coordinates import Instant
from odekit.fields.matrix import is_isotropic
from odekit.methods.base import Method
from odekit.operators import Operator, identity
from odekit.plan.carriers import valued, widest
from odekit.plan.rows import Recorder, Row, flatten, unflatten


def segments(
    method: Method,
    field,
    grid: torch.Tensor,
    network_times=None,
    precision: int | None = None,
    first: int = 0,
    names: tuple[str, ...] = ("x",),
) -> list:
    """The segments of a method on a grid: consecutive steps of equal phase and equal carry share one table.

    ``first`` and ``names``: the step to begin with and the registers alive there, for a run already under way.
    """
    require_noise(method, field, grid)
    if not method.is_plannable:
        raise MethodError(f"{method.name} runs eagerly; {method.plannable_variant}")
    numbers = FLOAT64 if precision is None else mpfield(precision)
    with nullcontext() if precision is None else numbers.context:
        return list(_segments(method, field, grid, network_times, numbers, first, names))


def _segments(method: Method, field, grid: torch.Tensor, network_times, numbers: Field, i: int, names: tuple):
    times = _vector(grid, numbers)
    network = times if network_times is None else _vector(network_times, numbers)
    if len(network) != len(times):
        raise GridError(f"network_times has {len(network)} entries for a grid of {len(times)} nodes: give one a node")
    index = _vector(torch.arange(len(times), dtype=torch.float64), numbers)
    steps = len(times) - 1
    one = 1.0 if is_isotropic(field.process) else identity
    phases = method.phases(steps, ends_noise_free(field, grid))
    while i < steps:
        j = i
        while j + 1 < steps and phases[j + 1] == phases[i]:
            j += 1
        depth = min(method.history + 2, i + 2)
        window = tuple(Instant(*(v[i + 1 - d : j + 2 - d] for v in (times, network, index))) for d in range(depth))
        recorder = Recorder(len(names), one)
        f = method.coordinates(field, recorder, numbers=numbers)
        carry = unflatten(names, [recorder.register(s) for s in range(len(names))])
        out, rows = flatten(method.step(f, window, carry, phases[i]))
        if out != names:  # the carry changes its shape here, so this table is right for the first step only
            j = i
        count = j - i + 1
        segment = _tabulate(recorder, rows, names, times[i : i + 1], count, numbers)
        _require_finite(segment, field, method)
        yield segment
        names, i = out, j + 1


def _tabulate(recorder: Recorder, rows: list[Row], names: tuple, like, count: int, numbers: Field) -> Segment:
    columns = recorder.columns
    like_carrier = widest(c for row in (*recorder.inputs, *rows) for c in row.terms.values())
    tables, masks = [], []
    for block in (recorder.inputs, rows):
        entries = [
            _column(valued(row.terms.get(j, 0.0), like_carrier), count, numbers, like_carrier.own_axes)
            for row in block
            for j in columns
        ]
        tables.append(_stack(entries, count, (len(block), len(columns)), numbers, like_carrier))
        masks.append([[j in row.terms for j in columns] for row in block])
    draws, ends = len(recorder.intervals), [t for pair in recorder.intervals for t in pair]
    asked = _stack([_column(t, count, numbers) for t in recorder.times], count, (len(recorder.times),), numbers)
    spans = _stack([_column(t, count, numbers) for t in ends], count, (draws, 2), numbers) if draws else None
    return Segment(asked, *tables, slots=names, draws=draws, pattern=tuple(masks), intervals=spans)


def _column(value: Any, count: int, numbers: Field, own_axes: int = 0):
    """A coefficient (its own axes last) as a vector over the steps of its segment."""
    if not numbers.is_mpmath:
        value = torch.as_tensor(value, dtype=torch.float64)
        return value[:count] if value.ndim > own_axes else value.expand(count, *value.shape)
    import numpy

    value = numpy.asarray(value, dtype=object)
    return value[:count] if value.ndim > own_axes else numpy.broadcast_to(value, (count, *value.shape))


def _stack(columns: list, count: int, shape: tuple, numbers: Field, carrier: Operator = identity):
    own = tuple(carrier.value.shape[-carrier.own_axes :]) if carrier.own_axes else ()
    if not numbers.is_mpmath:
        if not columns:
            return torch.zeros(count, *shape, *own, dtype=torch.float64)
        return torch.stack(columns, dim=1).reshape(count, *shape, *own)
    import numpy

    if not columns:
        return numpy.zeros((count, *shape, *own), object)
    return numpy.stack(columns, axis=1).reshape(count, *shape, *own)


def _vector(values, numbers: Field):
    """Host numbers over the nodes of a grid."""
    if not numbers.is_mpmath:
        return torch.as_tensor(values, dtype=torch.float64)
    return numbers.stack([numbers.number(v) for v in (values.tolist() if torch.is_tensor(values) else values)])


def ends_noise_free(field, grid) -> bool:
    """Whether the last node has sigma = 0, where most clocks are infinite."""
    return hasattr(field.process, "sigma") and float(field.process.sigma(float(grid[-1].detach()))) == 0.0


def require_noise(method: Method, field, grid: torch.Tensor) -> None:
    """Raises MethodError for a reverse SDE and a method that draws no noise, or the other way round; GridError upwards.

    A reverse SDE runs down in time; with eta = 0 it is the probability flow, which every method integrates.
    """
    eta, draws = getattr(field, "eta", None), getattr(method, "draws", 0)
    if eta and not draws:
        raise MethodError(
            f"{method.name} draws no noise: it integrates the probability flow, sde.flow; not {brief(field)}"
        )
    if draws and eta is None:
        raise MethodError(f"{method.name} draws noise: give ReverseSDE(process, target), not {brief(field)}")
    start, end = (float(grid[i].detach()) for i in (0, -1))
    if draws and end > start:
        raise GridError(f"a reverse SDE runs down in time; the grid goes from {start:g} up to {end:g}")


def _require_finite(segment: Segment, field, method: Method) -> None:
    for table in (segment.inputs, segment.outputs):
        bad = ~torch.isfinite(table.detach()) if torch.is_tensor(table) else None
        if bad is not None and bad.any():
            step = int(bad.reshape(bad.shape[0], -1).any(1).nonzero()[0])
            t = float(segment.times[step, 0]) if segment.evaluations else float("nan")
            raise PredictionError(
                f"{method.name} on {field.process!r}: the coefficients of the step at t = {t:.6g} are not finite; the "
                f"prediction {field.prediction!r} (or the method's own, {method.prediction!r}) is singular where "
                "alpha or sigma vanishes; end the grid before it or choose another prediction (velocity is finite)"
            )
