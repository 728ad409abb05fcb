"""Reference solutions: batched, float64, with an error estimate from two independent integrators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.integrate import solve_ivp

from odekit.exceptions import DivergenceError, OdekitError

COLUMNS = 8
"""Columns of the extrapolation table: order 16."""


@dataclass(frozen=True)
class Reference:
    """``x`` float64 at t_end, (B, *shape), and ``error`` (B,), how far the two integrators' results are apart.

    For a sequence of end times both have one more leading axis, over the times.
    """

    x: torch.Tensor
    error: torch.Tensor


def reference(
    field, x: torch.Tensor, t_end: float | Sequence[float], tol: float = 1e-13, t_start: float | None = None
) -> Reference:
    """The exact state at ``t_end`` from x (B, *shape) at ``t_start`` (default: the process's t_max).

    ``t_end`` may be a sequence of times, passed through in order. Two integrators that share no code, SciPy's DOP853
    and the extrapolated midpoint rule of Gragg, Bulirsch and Stoer, run at ``tol``; ``error`` is the distance of their
    results, a sample each: where it exceeds ``tol`` the reference is not as good as was asked. Raises DivergenceError
    where either gives up. Source: Hairer, Norsett & Wanner 1993, sections II.5 and II.9.

    >>> import odekit as ok
    >>> ok.reference(ok.VectorField(lambda x, t: -x), torch.ones(1, 1), 1.0, t_start=0.0).error.item() < 1e-13
    True
    """
    if t_start is None:
        if field.process is None:
            raise OdekitError("a plain field has no start of its own: give t_start")
        t_start = field.process.t_max
    ends = [float(t) for t in np.atleast_1d(np.asarray(t_end, dtype=float))]
    start = x.detach().double()
    shape = start.shape

    def rhs(t: float, flat: np.ndarray) -> np.ndarray:
        state = torch.from_numpy(np.ascontiguousarray(flat)).reshape(shape).to(x.device)
        with torch.no_grad():
            return field(state, t).reshape(-1).cpu().numpy()

    runs = []
    for integrate in (_runge_kutta, _extrapolation):
        state, t, passed = start.reshape(-1).cpu().numpy().copy(), float(t_start), []
        for end in ends:
            if end != t:
                state = integrate(rhs, t, end, state, tol)
            t = end
            passed.append(torch.from_numpy(state.copy()).reshape(shape).to(x.device))
        runs.append(torch.stack(passed))
    best, other = runs
    error = (best - other).reshape(len(ends), shape[0], -1).norm(dim=-1)
    single = np.ndim(t_end) == 0
    return Reference(best[0], error[0]) if single else Reference(best, error)


def _runge_kutta(rhs: Callable, t0: float, t1: float, x: np.ndarray, tol: float) -> np.ndarray:
    relative = max(tol / 4, 3e-14)  # below that SciPy clips, with a warning
    with np.errstate(all="ignore"):
        result = solve_ivp(rhs, (t0, t1), x, method="DOP853", rtol=relative, atol=tol / 16)
    if not result.success or not np.isfinite(result.y[:, -1]).all():
        raise DivergenceError(f"no reference from t = {t0:.6g} to {t1:.6g}: {result.message}")
    return result.y[:, -1]


def _extrapolation(rhs: Callable, t0: float, t1: float, x: np.ndarray, tol: float) -> np.ndarray:
    """Gragg's modified midpoint rule with 2, 4, ..., 16 substeps, extrapolated in h^2, with step control."""
    with np.errstate(all="ignore"):  # a step too large may overflow: it is rejected
        return _stepped(rhs, t0, t1, x, tol)


def _stepped(rhs: Callable, t0: float, t1: float, x: np.ndarray, tol: float) -> np.ndarray:
    t, h = t0, (t1 - t0) / 8
    smallest = 1e-13 * max(abs(t0), abs(t1))
    while t != t1:
        last = abs(t1 - t) <= abs(h) * (1 + 1e-10)
        h = t1 - t if last else h
        table: list[np.ndarray] = []
        slope = rhs(t, x)
        for j in range(COLUMNS):
            row = [_midpoint(rhs, t, h, x, slope, 2 * (j + 1))]
            for k in range(1, j + 1):
                factor = ((j + 1) / (j + 1 - k)) ** 2 - 1
                row.append(row[k - 1] + (row[k - 1] - table[k - 1]) / factor)
            gap, table = (row[-1] - row[-2] if j else row[-1]), row
        scale = tol / 4 * np.maximum(1.0, np.abs(x))
        # Rounding in the differences of the table, which no smaller step removes.
        floor = 4e-16 * np.maximum(np.abs(x), abs(h) * np.abs(slope))
        error = float(np.max(np.maximum(np.abs(gap) - 8 * floor, 0) / scale)) if np.isfinite(gap).all() else np.inf
        if error <= 1.0:
            x, t = table[-1], t1 if last else t + h
        elif abs(h) < smallest:
            raise DivergenceError(f"no reference: the extrapolation method cannot pass t = {t:.9g}")
        factor = 0.8 * max(error, 1e-30) ** (-1 / (2 * COLUMNS - 1)) if np.isfinite(error) else 0.1
        h *= min(3.0, max(0.1, factor))
    return x


def _midpoint(rhs: Callable, t: float, H: float, x: np.ndarray, slope: np.ndarray, substeps: int) -> np.ndarray:
    h = H / substeps
    before, now = x, x + h * slope
    for i in range(1, substeps):
        before, now = now, before + 2 * h * rhs(t + i * h, now)
    return 0.5 * (before + now + h * rhs(t + H, now))
