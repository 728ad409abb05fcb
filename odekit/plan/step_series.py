"""One step of a one-step method as a series in its length h, read off the step that runs.

    z_h = a z + sum_j w_j N_j,    N_j the model's answer, tau_j h into the step, at a_j z + sum_k w_jk N_k

The coefficients are polynomials in h to rounding on a short interval, either way of time; their first three
coefficients come out of their values at Chebyshev's points to about 1e-9.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from odekit import processes
from odekit.exceptions import OdekitError
from odekit.fields.coordinates import Coordinates
from odekit.fields.matrix import MatrixCoordinates
from odekit.fields.operator_predictions import semilinear
from odekit.methods.base import Method
from odekit.plan.build import segments

BEGIN, LONGEST, POINTS = 0.5, 1 / 32, 8
PROJECTIONS = {"": np.eye(2), "x": np.diag([1.0, 0.0]), "m": np.diag([0.0, 1.0])}
DRIFTS = (
    ("-1 3 -2 -5", "1 1/2 1/3 2"),
    ("2 -1 3 1", "1 -1/4 1/5 2"),
    ("-3 1/2 2 -1", "3 1 -1 2"),
    ("1/3 4 1 -2", "1 1/2 1/3 -2"),
    ("5/2 1 -4 3", "-2 1/2 1 3"),
    ("-1/2 -3 4 2", "3/2 -1 1/3 1"),
)
"""F and G, row by row, of matrices with nothing special about them: what holds there holds for all."""


@functools.cache
def samples(carrier: str) -> tuple[Any, ...]:
    """Processes to read a step on: linear SDEs with constant 2x2 matrices, or VP with unlike betas for numbers."""
    if carrier == "scalar":
        return tuple(processes.VP(beta_0=0.1 + k, beta_1=12.0 - k * k / 8) for k in range(8))
    import sympy

    def matrix(text: str) -> Any:
        return sympy.Matrix(2, 2, [sympy.Rational(entry) for entry in text.split()])

    return tuple(processes.LinearSDE(matrix(F), matrix(G), initial=(Fraction(1, 2), Fraction(1, 3))) for F, G in DRIFTS)


class StepSeries:
    """The step of a method on a process: coefficients of h^0, h^1, h^2 along the first axis, 2x2 matrices on the last.

    ``a`` (3, 2, 2), ``w`` (3, s, 2, 2), ``stage_a`` (3, s, 2, 2), ``stage_w`` (3, s, s, 2, 2), ``late`` (s,) tau.
    `letters` are the parts of the flow along the step z' = L z + B z + N, each of ``parts`` ("", or "x" and "m"), and
    `rates` their derivatives, by name: B what the method takes by Euler (its `damping`), L all else that is linear.

    >>> from odekit.methods import get
    >>> step = StepSeries(get("lambda-ddim-1", rate=0.0), samples("block")[0], ("",))
    >>> bool(abs(step.a[1] - step.letters["L"]).max() < 1e-10)
    True
    """

    def __init__(self, method: Method, process: Any, parts: Sequence[str]):
        f = method.coordinates(_flow(method, process))
        lengths = LONGEST * np.cos((np.arange(POINTS) + 0.5) * np.pi / POINTS)
        tables, late = zip(*(_table(method, process, h) for h in lengths.tolist()), strict=True)
        read = np.linalg.inv(np.vander(lengths, POINTS, increasing=True))[:3]
        whole = np.tensordot(read, np.array(tables), 1)
        self.late = late[0]
        self.a, self.w = whole[:, -1, 0], whole[:, -1, 1:]
        self.stage_a, self.stage_w = whole[:, :-1, 0], whole[:, :-1, 1:]
        values = [_letters(method, f, BEGIN - h) for h in lengths.tolist()]
        flow = {name: np.tensordot(read, np.array([value[name] for value in values]), 1) for name in values[0]}
        parts = {name + part: PROJECTIONS[part] @ matrix for name, matrix in flow.items() for part in parts}
        self.letters, self.rates = ({name: matrix[k] for name, matrix in parts.items()} for k in (0, 1))

    @property
    def at_rest(self) -> np.ndarray:
        """What a step of no length does that it should not."""
        gaps = (self.a[0] - np.eye(2), self.w[0], self.stage_a[0] - np.eye(2), self.stage_w[0])
        return np.concatenate([gap.ravel() for gap in gaps])

    @property
    def asked_late(self) -> np.ndarray:
        """sum_j w_j tau_j, of h^2."""
        return np.tensordot(self.late, self.w[1], 1)

    @property
    def through_a(self) -> np.ndarray:
        """sum_j w_j x a_j, of h^2."""
        return np.einsum("jab,jcd->abcd", self.w[1], self.stage_a[1])

    @property
    def through_w(self) -> np.ndarray:
        """sum_jk w_j x w_jk, of h^2."""
        return np.einsum("jab,jkcd->abcd", self.w[1], self.stage_w[1])


def carrier_of(method: Method) -> str:
    """What coefficients to read a method with: 2x2 blocks where it runs on them, else numbers."""
    try:
        method.coordinates(_flow(method, samples("block")[0]))
    except OdekitError:
        return "scalar"
    return "block"


def _flow(method: Method, process: Any) -> Any:
    return type("Flow", (), {"process": process, "prediction": method.prediction, "model": None})


def _table(method: Method, process: Any, h: float) -> tuple[np.ndarray, np.ndarray]:
    """(1 + s, 1 + s, 2, 2) rows of the inputs and the output over (z, N_1, ..., N_s), and when N are asked."""
    grid = torch.tensor([BEGIN, BEGIN - h], dtype=torch.float64)
    (made,) = segments(method, _flow(method, process), grid)
    rows = torch.cat([made.inputs[0], made.outputs[0]]).numpy()
    late = (BEGIN - made.times[0].numpy()) / h
    return (rows if rows.ndim == 4 else rows[..., None, None] * np.eye(2)), late


def _letters(method: Method, f: Coordinates, t: float) -> dict[str, np.ndarray]:
    """L, B and N along the step: time runs down."""
    if isinstance(f, MatrixCoordinates):
        A, forcing = (_matrix(part.value) for part in semilinear(f.prediction, f.process, t))
    else:
        A, forcing = map(_matrix, f.prediction.evaluate("semilinear", f.process, t))
    damping = getattr(method, "damping", None)
    B = _matrix(damping.at(t).value) if damping is not None else 0 * A
    if getattr(method, "construction", "joint") == "separate":  # by each variable's own entry alone
        B = B * np.eye(2)
    return {"L": B - A, "B": -B, "N": -forcing}


def _matrix(value: Any) -> np.ndarray:
    value = np.asarray(value, dtype=float)
    return value if value.ndim == 2 else value * np.eye(2)
