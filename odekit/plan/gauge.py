"""One gauge for two programs: the same prediction, the same state scale, no dead registers; then compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from odekit.exceptions import OdekitError
from odekit.fields.predictions import conversion, prediction
from odekit.plan.dense import EPSILON, as_array, compressed, live
from odekit.plan.program import Plan, Table


@dataclass(frozen=True)
class Comparison:
    """The outcome of `same`: truthy when the two programs agree on this grid.

    ``first_difference`` names the first evaluation (or the output) where they part, ``gap`` the largest relative
    difference found, ``tolerance`` what was allowed, ``gauge`` what both were brought to.
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

    Both are expressed in one prediction and state scale, and evaluations without a path to the output are dropped.
    "The same method" needs several random non-uniform grids; this compares one.

    >>> import odekit as ok
    >>> decay, grid = ok.VectorField(lambda x, t: -x), ok.grid("time-uniform", (0.0, 1.0), 3)
    >>> bool(ok.same(ok.plan("rk4", decay, grid), ok.plan("rk38", decay, grid)))
    False
    """
    process = a.process if a.process is not None else b.process
    # One program may know no prediction of its own (a traced black box): then the registers are what they are.
    target = a.prediction
    if process is not None and prediction(target) != prediction(b.prediction):
        b = reexpressed(b.replaced(process=b.process or process), target, a.state_scale)
    elif a.state_scale != b.state_scale:
        b = reexpressed(b, b.prediction, a.state_scale)
    left, right = _living(a.dense()), _living(b.dense())
    coarse = max(EPSILON.get(p.precision, 2.2e-16) for p in (a, b))
    n = len(left.inputs)
    tolerance = tol if tol is not None else 256 * coarse * max(1.0, n) ** 0.5
    gauge = f"prediction {prediction(target).name}, state scale {a.state_scale}, {n} live evaluations"
    if n != len(right.inputs):
        found = f"{n} live evaluations against {len(right.inputs)}"
        return Comparison(False, found, float("inf"), tolerance, gauge)
    gap = 0.0
    for k in range(n + 1):
        where = "the output" if k == n else f"evaluation {k}"
        if k < n:
            distance = _apart(a.process, left.times[k], b.process, right.times[k])
            if distance > max(tolerance, 64 * coarse):
                found = f"{where} is at time {left.times[k]:.9g} against {right.times[k]:.9g}"
                return Comparison(False, found, distance, tolerance, gauge)
        u, v = (left.output, right.output) if k == n else (left.inputs[k], right.inputs[k])
        size = max(np.abs(u).max(), np.abs(v).max(), 1e-300)
        difference = np.abs(u - v) / size
        gap = max(gap, float(difference.max()))
        if gap > tolerance:
            j = int(difference.argmax())
            register = "x_T" if j == 0 else f"N_{j - 1}"
            found = f"{where} takes {u[j]:.9g} of {register} against {v[j]:.9g} (relative gap {gap:.1e})"
            return Comparison(False, found, gap, tolerance, gauge)
    return Comparison(True, None, gap, tolerance, gauge)


def _living(dense: Table) -> Table:
    alive = live(dense)
    keep = np.concatenate([[True], alive])
    return Table(
        as_array(dense.times)[alive], as_array(dense.inputs)[alive][:, keep], as_array(dense.output)[keep],
        prediction=dense.prediction, precision=dense.precision,
    )  # fmt: skip


def _apart(p, s: float, q, t: float) -> float:
    """How far apart two evaluation times are, in (alpha, sigma) where both processes are known."""
    if p is not None and q is not None:
        gaps = [abs(float(getattr(p, v)(s)) - float(getattr(q, v)(t))) for v in ("alpha", "sigma")]
        return max(gaps) / max(abs(float(p.alpha(s))), abs(float(p.sigma(s))))
    return abs(s - t) / max(abs(s), abs(t), 1e-300)


def reexpressed(plan: Plan, into: Any, state_scale: tuple[float, float]) -> Plan:
    """The same program over registers that hold the prediction ``into``, start and result scaled anew.

    N_old = c N_new + d x gives Y = (1 - W D)^-1 (a x_T + W C N_new) for the inputs Y of all evaluations, W the strictly
    lower triangle: no register is added.
    """
    dense = plan.dense()
    if dense.noise_inputs is not None:
        raise OdekitError("plans with noise draws cannot be re-expressed yet; compare them in their own prediction")
    inputs, output = as_array(dense.inputs).copy(), as_array(dense.output).copy()
    n = len(inputs)
    if prediction(into) != prediction(plan.prediction):
        if plan.process is None:
            raise OdekitError(
                f"a plan without a process cannot change its prediction {plan.prediction!r}: give trace() process="
            )
        pair = conversion(prediction(into), prediction(plan.prediction), plan.process, torch.as_tensor(dense.times))
        c, d = (np.broadcast_to(np.asarray(v, dtype=float), n) for v in pair)
        W = inputs[:, 1:]
        changed = np.hstack([inputs[:, :1], W * c])
        rows = np.linalg.solve(np.eye(n) - W * d, changed)
        output = np.concatenate([output[:1], output[1:] * c]) + (output[1:] * d) @ rows
        inputs = rows
    start, end = (new / old for new, old in zip(state_scale, plan.state_scale, strict=True))
    inputs[:, 0] /= start
    output *= end
    output[0] /= start
    expressed = Table(dense.times, inputs, output, precision=plan.precision)
    return compressed(expressed, plan.replaced(prediction=into, state_scale=tuple(state_scale)))
