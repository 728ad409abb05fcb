"""One gauge for two programs: the same prediction, the same state scale, no dead registers; then compare."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from odekit.engine import Segment
from odekit.exceptions import OdekitError, PredictionError
from odekit.fields.matrix import is_isotropic, prediction_on
from odekit.fields.operator_predictions import conversion as operator_conversion
from odekit.fields.predictions import conversion, prediction
from odekit.operators import Block, Diagonal
from odekit.plan.carriers import composed, embedded, flat, folded, valued, widest
from odekit.plan.dense import EPSILON, as_array, live, whole
from odekit.plan.program import Plan
from odekit.plan.realisation import equilibrated, heard


@dataclass(frozen=True)
class Comparison:
    """The outcome of `same`: truthy when the two programs agree on this grid.

    ``first_difference`` names the first evaluation (or the output) where they part, ``gap`` the largest difference
    found in equilibrated tables, ``tolerance`` what was allowed, ``gauge`` what both were brought to.
    """

    equal: bool
    first_difference: str | None
    gap: float
    tolerance: float
    gauge: str

    def __bool__(self) -> bool:
        return self.equal

    def __str__(self) -> str:
        if self.equal:
            return f"same on this grid (gap {self.gap:.1e} <= {self.tolerance:.1e}; {self.gauge})"
        return f"different: {self.first_difference} ({self.gauge})"


def same(a: Plan, b: Plan, tol: float | None = None) -> Comparison:
    """Whether two plans are the same program on this grid, at the lower of their two working precisions.

    Both are expressed in one prediction and state scale; evaluations and draws without a path to the output are
    dropped. Coefficients are compared in tables with equilibrated rows and columns, so that the last steps count as
    much as the first; what one channel of a register weighs counts as nothing where it is rounding beside what another
    weighs. Noise draws are compared one by one, in order. "The same method" needs several random non-uniform grids;
    this compares one.

    Without ``tol`` the tolerance is 8 eps n for n evaluations, eps the rounding unit of the coarser plan: a weight of a
    step of length 1/n is a difference of numbers n times as large, and n steps add up their errors (diffusers' float32
    tables of DDIM and DPM-Solver++ 2M keep within 1.5 eps n of the exact ones for 2 to 1,000 steps). In float64 it is
    at least 64 eps n, for what compression rounds (worst of the catalogue: 9 eps n), and 1024 eps n for a change of
    prediction, which cancels leading digits where sigma is small (worst: 262 eps n, in six steps across a rectified
    flow down to sigma = 1e-3).

    >>> import odekit as ok
    >>> decay, grid = ok.VectorField(lambda x, t: -x), ok.grid("time-uniform", (0.0, 1.0), 3)
    >>> bool(ok.same(ok.plan("rk4", decay, grid), ok.plan("rk38", decay, grid)))
    False
    """
    for one in (a, b):
        if not isinstance(one, Plan):
            raise OdekitError(f"two plans are compared; got a {type(one).__name__}: make it one with plan() or trace()")
    process = a.process if a.process is not None else b.process
    # A program without a process (a traced black box) has no prediction of its own: its registers are what they are.
    changes = process is not None and prediction(a.prediction) != prediction(b.prediction)
    if changes:
        a, b = _in_one_prediction(*(plan.replaced(process=plan.process or process) for plan in (a, b)))
    elif a.state_scale != b.state_scale:
        b = reexpressed(b, b.prediction, a.state_scale)
    (s, u, draws), (t, v, others) = _living(a), _living(b)
    n = len(s)
    coarse = max(EPSILON.get(p.precision, EPSILON["float64"]) for p in (a, b))
    least = (1024 if changes else 64) * EPSILON["float64"]
    rounding = max(8 * coarse, least)
    tolerance = rounding * max(1, n) if tol is None else tol
    gauge = f"prediction {prediction(a.prediction).name}, state scale {a.state_scale}, {n} live evaluations"
    if (n, len(draws)) != (len(t), len(others)):
        found = f"{n} live evaluations and {len(draws)} draws against {len(t)} and {len(others)}"
        return Comparison(False, found, float("inf"), tolerance, gauge)
    if a.form and b.form and a.form != b.form:
        return Comparison(False, f"coefficients {a.form} against {b.form}", float("inf"), tolerance, gauge)
    u, v = (embedded(w[None], max(a.form, b.form, key=len))[0] for w in (u, v))
    gaps = _gaps(u, v, rounding)
    distances, allowed = _apart(a.process, s, b.process, t), 64 * coarse if tol is None else tol
    for k in range(n + 1):
        where = "the output" if k == n else f"evaluation {k}"
        if k < n and not distances[k] <= allowed:
            found = f"{where} is at time {s[k]:.9g} against {t[k]:.9g}"
            return Comparison(False, found, float(distances[k]), tolerance, gauge)
        j, *entry = np.unravel_index(gaps[k].argmax(), gaps[k].shape)
        here = (k, j, *entry)
        if not gaps[here] <= tolerance:
            register = ["x_T", *(f"N_{i}" for i in range(n)), *(f"z_{i}" for i in draws)][j]
            part = f" (entry {', '.join(map(str, entry))})" if entry else ""
            found = f"{where} takes {u[here]:.9g} of {register}{part} against {v[here]:.9g} (gap {gaps[here]:.1e})"
            return Comparison(False, found, float(gaps[here]), tolerance, gauge)
    return Comparison(True, None, float(gaps.max()), tolerance, gauge)


def _in_one_prediction(a: Plan, b: Plan) -> tuple[Plan, Plan]:
    """Both in a's prediction; in b's where a's does not determine it, as the velocity in phase space does not."""
    try:
        return a, reexpressed(b, a.prediction, a.state_scale)
    except PredictionError:
        return reexpressed(a, b.prediction, b.state_scale), b


def _gaps(u: np.ndarray, v: np.ndarray, rounding: float) -> np.ndarray:
    """Differences in equilibrated tables; an operator counts by the numbers it holds."""
    own = u.ndim - 2
    one, other = flat(u, own), flat(v, own)
    sizes = np.maximum(np.abs(one), np.abs(other))
    if own == 2:
        one, other, sizes = (part * heard(sizes, u.shape[-1], rounding) for part in (one, other, sizes))
    rows, columns = equilibrated(sizes)
    return folded(np.abs(one - other) / rows[..., None] / columns[..., None, :], u.shape[2:])


def _living(plan: Plan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times (n,), rows (n+1, 1+n+m) and numbers of the draws (m,) that have a path to the output."""
    dense = plan.dense()
    alive = live(dense)
    rows = whole(dense)[[*np.flatnonzero(alive), -1]]
    heard = (rows[:, 1 + len(alive) :] != 0).any(axis=(0, *range(2, rows.ndim)))
    keep = np.concatenate([[True], alive, heard])
    return as_array(dense.times)[alive], rows[:, keep], np.flatnonzero(heard)


def _apart(p: Any, s: np.ndarray, q: Any, t: np.ndarray) -> np.ndarray:
    """How far apart evaluation times are (n,): relative, or in (alpha, sigma) between two processes."""
    if p is None or q is None or p == q:
        return np.abs(s - t) / np.maximum(np.maximum(np.abs(s), np.abs(t)), 1e-300)
    gaps = []
    for name in ("alpha", "sigma") if is_isotropic(p) and is_isotropic(q) else ("mean", "covariance"):
        u, v = (_values(getattr(r, name)(torch.from_numpy(w))) for r, w in ((p, s), (q, t)))
        if u.shape != v.shape:
            return np.full(len(s), np.inf)
        gaps.append(np.abs(u - v) / np.maximum(np.maximum(np.abs(u), np.abs(v)), 1e-6))
    return np.maximum(*(gap.reshape(len(s), -1).max(axis=1) for gap in gaps))


def _values(coefficients: Any) -> np.ndarray:
    return as_array(getattr(coefficients, "value", coefficients))


def reexpressed(plan: Plan, into: Any, state_scale: tuple[float, float]) -> Plan:
    """The same program over registers that hold the prediction ``into``, start and result scaled anew.

    N_old = c N_new + d y is put in where the output is born, y being the input of that very evaluation: what is carried
    on from step to step stays the same vector, no register is added, and gradients and digits are kept. Registers that
    a run already under way starts with stay what they were. Raises PredictionError where the new prediction is
    singular.
    """
    segments = list(plan.segments)
    if prediction(into) != prediction(plan.prediction):
        if plan.process is None:
            raise OdekitError(
                f"a plan without a process cannot change its prediction {plan.prediction!r}: give trace() process="
            )
        with plan.numbers.context:
            segments = [_converted(segment, plan, into) for segment in segments]
    (start, end), (old_start, old_end) = (map(Fraction, scale) for scale in (state_scale, plan.state_scale))
    with plan.numbers.context:
        if start != old_start:
            segments[0] = _scaled(segments[0], (0, slice(None), 0), plan.numbers.number(old_start / start))
        if end != old_end:
            segments[-1] = _scaled(segments[-1], (-1, 0), plan.numbers.number(end / old_end), result_only=True)
    return plan.replaced(segments=tuple(segments), prediction=into, state_scale=tuple(state_scale))


def _converted(segment: Segment, plan: Plan, into: Any) -> Segment:
    """The tables of a segment over outputs of another prediction."""
    pair, form = _conversion(segment, plan, into)
    own = len(form)
    c, d = (value + 0 * segment.times.reshape(*segment.times.shape, *(1 for _ in form)) for value in pair)
    bad = ~np.isfinite(np.asarray(as_array(c) + as_array(d), dtype=float))
    if bad.any():
        t = float(as_array(segment.times)[bad.reshape(*segment.times.shape, -1).any(axis=2)][0])
        raise PredictionError(
            f"the evaluation at t = {t:.6g} cannot be expressed in {prediction(into).name!r}: that prediction or "
            f"{prediction(plan.prediction).name!r} is singular there"
        )
    width, asks = len(segment.slots), segment.evaluations
    blocks = [_copy(embedded(table, form)) for table in (segment.inputs, segment.outputs)]
    masks = None if segment.pattern is None else [np.array(m, dtype=bool) for m in segment.pattern]
    for e in range(asks):
        born = blocks[0][:, e, :]
        for b, block in enumerate(blocks):
            taken = block[:, :, width + e]
            mixed = block + composed(composed(taken, d[:, e, None], own)[:, :, None], born[:, None, :], own)
            column = composed(taken, c[:, e, None], own)[:, :, None]
            join = torch.cat if torch.is_tensor(mixed) else np.concatenate
            blocks[b] = join([mixed[:, :, : width + e], column, mixed[:, :, width + e + 1 :]], 2)
            if masks is not None and masks[b].size:
                masks[b] |= masks[b][:, width + e, None] & masks[0][e]
    pattern = None if masks is None else tuple(m.tolist() for m in masks)
    return replace(segment, inputs=blocks[0], outputs=blocks[1], pattern=pattern)


def _conversion(segment: Segment, plan: Plan, into: Any) -> tuple[tuple, tuple[int, ...]]:
    """(C, D) with N_old = C N_new + D y at the times of a segment, and the form of its coefficients afterwards."""
    form = tuple(segment.outputs.shape[3:])
    new, old = (prediction_on(plan.process, name) for name in (into, plan.prediction))
    if is_isotropic(plan.process):
        return conversion(new, old, plan.process, segment.times), form
    operators = operator_conversion(new, old, plan.process, segment.times)
    carrier = widest(operators)
    form = form or tuple(carrier.value.shape[segment.times.ndim :])
    like = carrier if carrier.own_axes else Block(np.eye(*form)) if len(form) == 2 else Diagonal([1.0] * form[0])
    return tuple(valued(operator, like) for operator in operators), form


def _copy(values: Any) -> Any:
    return values.clone() if torch.is_tensor(values) else values.copy()


def _scaled(segment: Segment, where: tuple, factor: Any, result_only: bool = False) -> Segment:
    """A segment with one part of its tables multiplied: the first step's x_T, or the last step's result."""

    def scaled(values: Any) -> Any:
        by = torch.ones_like(values) if torch.is_tensor(values) else np.ones(values.shape, dtype=object)
        by[where] = factor
        return values * by

    inputs = segment.inputs if result_only else scaled(segment.inputs)
    return replace(segment, inputs=inputs, outputs=scaled(segment.outputs))
