"""Non-stationary methods: weights of their own for every step of one grid, made for a small number of evaluations.

x_(i+1) = Psi_A(t_(i+1), t_i) x_i + sum_(j <= i) w_ij N_j, one evaluation a step. On one grid every explicit method
with one evaluation a step is of this form: its weights may be chosen freely, and an order has no meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from odekit import grids, processes
from odekit.algebra.proof import Proof
from odekit.exceptions import GridError, MethodError, unknown
from odekit.expressions import mpfield
from odekit.fields.coordinates import CLOSED, Coordinates, Instant, dot
from odekit.fields.flow import ProbabilityFlow
from odekit.fields.predictions import prediction as resolve
from odekit.fields.weights import moments, ratio
from odekit.methods.base import Claim, Method
from odekit.methods.tableau import exact, shown

FUNCTIONS = ("t", "logsnr", "kappa")
"""What the text of a function may name beside numbers and phi_k; phi0 is the exponential."""
DIGITS = mpfield(34)


class NonStationary(Method):
    """Weights (n, n), lower triangular, of the outputs N_0, ..., N_i in step i of one grid of n steps.

    ``exact`` lists the functions of time (texts) on which the weights are exact: if the model's outputs along the
    solution lie in their span, so does the result, without error. ``grid`` (n+1,).
    Raises MethodError for weights of another shape, GridError for a grid that is none of the process,
    UnknownNameError for a prediction, ExpressionError for a text outside the grammar.
    Source: Shaul et al. 2024 (arXiv 2403.01329), section 3, for the family.
    """

    family = "non-stationary"
    order = Claim(0, 0)

    def __init__(
        self,
        process: Any,
        grid: torch.Tensor,
        weights: torch.Tensor,
        prediction: Any = "data",
        exact: Sequence[str] = (),
        name: str = "non-stationary",
        source: str = "",
    ):
        n = len(grid) - 1
        if tuple(weights.shape) != (n, n) or weights.triu(1).any():
            raise MethodError(
                f"{name}: a grid of {n} steps has lower triangular weights ({n}, {n}); got {tuple(weights.shape)}"
            )
        if not isinstance(exact, list | tuple) or not all(isinstance(text, str) for text in exact):
            raise MethodError(f"exact must be a list of texts in {', '.join(FUNCTIONS)}, got {shown(exact)}")
        resolve(prediction)  # an unknown name is refused here, not in the middle of a solve
        _parsed(exact)
        process.check_times(grid)
        self.process, self.grid, self.weights = process, grids.check(grid.double(), process), weights.double()
        self.prediction, self.exact, self.name, self.source = prediction, tuple(exact), name, source
        self.history = 0

    @property
    def evaluations(self) -> int:
        return 1

    @property
    def ratios(self) -> torch.Tensor:
        """Psi_A of each step (n,)."""
        f = Coordinates(ProbabilityFlow(self.process, lambda x, t: x, self.prediction), self.prediction)
        found = ratio(f, Instant(self.grid[1:]), Instant(self.grid[:-1]))
        return torch.as_tensor(found, dtype=torch.float64).expand(len(self.weights))

    def phases(self, steps: int, noise_free_end: bool = False) -> list:
        if steps != len(self.weights):
            raise GridError(f"{self.name} has weights for a grid of {len(self.weights)} steps; got one of {steps}")
        return list(range(steps))

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: int) -> dict:
        t_next, t = window[:2]
        self._check(f, t_next, phase + 1)
        outputs = (*carry.get("N", ()), f.predict(carry["x"], t))
        row = [f.numbers.number(w) for w in self.weights[phase, : len(outputs)].tolist()]
        return {"x": ratio(f, t_next, t) * carry["x"] + dot(row, outputs), "N": outputs}

    def _check(self, f: Coordinates, at: Instant, node: int) -> None:
        time, own = float(np.ravel(at.time)[0] if np.ndim(at.time) else at.time), float(self.grid[node])
        if abs(time - own) > 1e-12 * max(1.0, abs(own)):
            raise GridError(f"{self.name} was made for a grid with t = {own:.9g} at node {node}; got {time:.9g}")
        if repr(f.process) != repr(self.process):
            raise MethodError(f"{self.name} was made for {self.process!r}; got {f.process!r}")

    def key(self) -> dict:
        return {
            "family": self.family,
            "process": repr(self.process),
            "grid": self.grid.tolist(),
            "weights": self.weights.tolist(),
            "prediction": str(self.prediction),
        }


def exact_on(functions: Sequence[str], process: Any, grid: torch.Tensor, prediction: Any = "data") -> NonStationary:
    """The method whose weights are exact on the span of functions of time, on one grid.

    ``functions``: texts in t, logsnr, kappa and phi_k, the important ones first: step i has i + 1 outputs and is
    exact on the first i + 1 of them; where there are more outputs than functions the weights are those of least norm
    on the newest outputs, as many as there are functions. ``grid`` (n+1,). Raises MethodError where two functions are
    the same on the nodes, ExpressionError for text outside the grammar.

    >>> import odekit as ok
    >>> vp = ok.VP()
    >>> grid = ok.grid("logsnr", vp, 6)
    >>> method = exact_on(polynomials("logsnr", 3), vp, grid)
    >>> flow = ok.ProbabilityFlow(vp, ok.targets.ring6(), "data")
    >>> bool(ok.same(ok.plan(method, flow, grid), ok.plan("exponential-ab-3", flow, grid, prediction="data")))
    True
    """
    values, integrals = spans(functions, process, grid, prediction)
    n, m = len(grid) - 1, len(functions)
    table = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        first, count = max(0, i + 1 - m), min(m, i + 1)
        with DIGITS.context:
            table[i, first : i + 1] = _solved(values[:count, first : i + 1], integrals[:count, i], functions, i)
    return NonStationary(process, grid, table, prediction, functions, f"exact-{m}")


def _parsed(functions: Sequence[str]) -> list[Any]:
    from odekit.expressions import parse

    return [parse(text, FUNCTIONS) for text in functions]


def spans(functions: Sequence[str], process: Any, grid: torch.Tensor, prediction: Any) -> tuple[Any, Any]:
    """Functions at the nodes (m, n), the last one left out, and what weights exact on them sum to in each step (m, n).

    Both are numbers of 34 digits: powers of a clock are nearly dependent on nodes close to each other.
    """
    from odekit.algebra.phi import evaluate, phi

    def each(k: int, z: Any) -> Any:
        return np.frompyfunc(lambda one: phi(k, one), 1, 1)(z)

    parsed = _parsed(functions)
    if not parsed:
        raise MethodError("no function to be exact on: give at least one, such as '1'")
    with DIGITS.context:
        flow = ProbabilityFlow(process, lambda x, t: x, prediction)
        f = Coordinates(flow, prediction, numbers=DIGITS)
        times = DIGITS.stack([DIGITS.number(t) for t in grid.tolist()])

        def of_instant(expression: Any) -> Callable[[Instant], Any]:
            return lambda at: evaluate(expression, {c: f.clock(at, c) for c in FUNCTIONS}, each) + 0 * at.time

        known = [of_instant(expression) for expression in parsed]
        straight = f.prediction.name in CLOSED
        ends = [float(f.clock(Instant(t), None if straight else "logsnr")) for t in (times[0], times[-1])]
        if not np.isfinite(ends).all():
            raise GridError(f"the clock of prediction {prediction!r} is infinite at an end of this grid: end it inside")
        begins = Instant(times[:-1])
        integrals = moments(f, Instant(times[1:]), begins, known)
        return np.stack([g(begins) for g in known]), np.stack(integrals)


def _solved(values: Any, wanted: Any, functions: Sequence[str], step: int) -> torch.Tensor:
    import mpmath

    try:
        found = mpmath.lu_solve(mpmath.matrix(values.tolist()), mpmath.matrix(wanted.tolist()))
    except ZeroDivisionError:
        found = None
    if found is None or max(abs(w) for w in found) > 1e12:
        names = ", ".join(functions[: len(wanted)])
        raise MethodError(f"the functions {names} are not independent on the nodes of step {step}")
    return torch.tensor([float(w) for w in found], dtype=torch.float64)


def polynomials(clock: str, count: int) -> tuple[str, ...]:
    """The powers 1, c, c^2, ... of a clock: on these the exact method is the exponential Adams method in that clock."""
    if clock not in FUNCTIONS:
        raise unknown("clock", clock, FUNCTIONS)
    return tuple("1" if k == 0 else clock if k == 1 else f"{clock}**{k}" for k in range(count))


def from_fields(fields: Mapping[str, Any]) -> NonStationary:
    """The method that the fields of a method file describe; MethodError where they do not fit."""
    if not isinstance(fields["process"], str):
        raise MethodError(f"process must be text, got {shown(fields['process'])}")
    values = {key: float(exact(text)) for key, text in fields.get("process_parameters", {}).items()}
    rows = [[float(exact(w)) for w in row] for row in fields["weights"]]
    n = len(fields["grid"]) - 1
    if len(rows) != n or any(len(row) > i + 1 for i, row in enumerate(rows)):
        raise MethodError(f"a grid of {n + 1} nodes has {n} rows of weights, row i of at most i entries")
    weights = torch.zeros(n, n, dtype=torch.float64)
    for i, row in enumerate(rows):
        weights[i, : len(row)] = torch.tensor(row, dtype=torch.float64)
    grid = torch.tensor([float(exact(t)) for t in fields["grid"]], dtype=torch.float64)
    labels = {key: fields[key] for key in ("name", "source", "exact") if key in fields}
    return NonStationary(processes.get(fields["process"], **values), grid, weights, fields["prediction"], **labels)


class Exactness(Proof):
    """The certificate of a non-stationary method: on which functions its weights are exact, and how large they are.

    It has no order: `order` and `claimed` are None.

    >>> import odekit as ok
    >>> vp = ok.VP()
    >>> proof = Exactness(exact_on(("1", "logsnr"), vp, ok.grid("logsnr", vp, 4)))
    >>> proof.findings(), max(proof.defects.values()) < 1e-15
    ([], True)
    """

    order = claimed = None
    family = NonStationary.family

    def __init__(self, method: NonStationary):
        self.name, self.method = method.name, method

    @cached_property
    def defects(self) -> dict[str, float]:
        """For each function, the largest |sum_j w_ij g(t_j) - exact| over the steps that can be exact on it.

        Step i has i + 1 outputs and is asked for the first i + 1 functions; relative to the sum of |w_ij g(t_j)|.
        """
        method = self.method
        if not method.exact:
            return {}
        values, integrals = spans(method.exact, method.process, method.grid, method.prediction)
        with DIGITS.context:
            return {
                text: max(
                    (_defect(row, values[k], integrals[k, i]) for i, row in enumerate(method.weights) if k <= i),
                    default=0.0,
                )
                for k, text in enumerate(method.exact)
            }

    @property
    def failing(self) -> tuple[str, ...]:
        """The functions on which the weights are not exact to rounding."""
        return tuple(f"{text}: off by {gap:.2g}" for text, gap in self.defects.items() if gap > 1e-13)

    def findings(self) -> list[str]:
        """Claims that do not hold."""
        return [f"not exact on {failure}" for failure in self.failing]

    def rows(self) -> list[tuple[str, str]]:
        """Label and text for a page."""
        told = [(f"exact on {text}", f"to {gap:.1e}" if gap <= 1e-13 else f"NO: {gap:.2g}") for text, gap in
                self.defects.items()]  # fmt: skip
        largest = float(self.method.weights.abs().max())
        steps = f"{len(self.method.weights)}, of one grid on {self.method.process!r}"
        return [("evaluations", steps), *told, ("largest weight", f"{largest:.4g}")]

    def details(self) -> dict[str, Any]:
        """The rest of it as plain data."""
        return {"defects": self.defects}


def _defect(row: torch.Tensor, values: Any, wanted: Any) -> float:
    terms = [DIGITS.number(w) * v for w, v in zip(row.tolist(), values, strict=True)]
    return float(abs(sum(terms) - wanted) / max(sum(abs(term) for term in terms), abs(wanted), 1e-300))
