"""Non-stationary methods fitted to Gaussian mixtures: the weights that err least on one grid over a family of flows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from odekit.exceptions import GridError, MethodError
from odekit.fields.coordinates import Coordinates, Instant
from odekit.fields.flow import ProbabilityFlow
from odekit.fields.weights import ratio
from odekit.methods.nonstationary import NonStationary, exact_on, spans
from odekit.plan import plan
from odekit.solve.reference import reference

TOLERANCE = 1e-6
"""Of exact trajectories: far below the errors of a handful of evaluations."""


def fitted(
    flows: Sequence[ProbabilityFlow],
    grid: torch.Tensor,
    prediction: Any = "data",
    exact: Sequence[str] = ("1", "logsnr"),
    samples: int = 64,
    seed: int = 0,
    rounds: int = 100,
) -> NonStationary:
    """The non-stationary method of least mean square error at the end of ``grid`` (n+1,), over flows of one process.

    Weights stay exact on the functions ``exact`` (texts, see `exact_on`); what that leaves free is first chosen step
    by step, by linear least squares on exact trajectories (``samples`` a flow, from the noise at the grid's start), and
    then for the end of the whole run by ``rounds`` of L-BFGS. The n(n+1)/2 weights learn a few mixtures by heart: give
    tens of them (`targets.scattered`), and ask `end_errors` on others what the method is worth.
    Raises MethodError for flows of several processes or without a target, GridError for a grid that does not fall.

    >>> import odekit as ok
    >>> vp = ok.VP()
    >>> flows = [ok.ProbabilityFlow(vp, ok.targets.bimodal(), "data")]
    >>> grid = ok.grid("logsnr", vp, 4)
    >>> best = fitted(flows, grid, samples=16, rounds=20)
    >>> own, known = end_errors([best, "dpmpp-2m"], flows, grid)
    >>> own < 0.5 * known
    True
    """
    process = _one_process(flows)
    runs = [_Run(flow, grid, prediction, samples, seed) for flow in flows]
    start = exact_on(exact, process, grid, prediction)
    n = len(grid) - 1
    values = torch.from_numpy(spans(exact, process, grid, prediction)[0].astype(float))
    bases = [_free_directions(values[: i + 1, : i + 1]) for i in range(n)]
    table = torch.stack([_closest(i, start.weights[i], bases[i], runs) for i in range(n)])
    table = _descended(table, bases, runs, rounds) if rounds else table
    return NonStationary(process, grid, table, prediction, exact, f"fitted-{n}", "least error over Gaussian mixtures")


def end_errors(
    methods: Sequence[Any], flows: Sequence[ProbabilityFlow], grid: torch.Tensor, samples: int = 256, seed: int = 1
) -> list[float]:
    """For each method, the root mean square distance to the exact flow at the end of ``grid``, per coordinate."""
    squares = torch.zeros(len(methods), dtype=torch.float64)
    for flow in flows:
        x = _start(flow, float(grid[0]), samples, seed)
        exact = reference(flow, x, float(grid[-1]), TOLERANCE, float(grid[0])).x
        ends = [plan(method, flow, grid)(flow.model, x) for method in methods]
        squares += torch.stack([(end - exact).square().mean() for end in ends])
    return (squares / len(flows)).sqrt().tolist()


def _one_process(flows: Sequence[ProbabilityFlow]) -> Any:
    if not flows:
        raise MethodError("no flow to fit to: give at least one")
    for flow in flows:
        if flow.target is None:
            raise MethodError(f"{flow!r} has no target: exact trajectories are needed, so give flows of targets")
    kinds = sorted({repr(flow.process) for flow in flows})
    if len(kinds) > 1:
        raise MethodError(f"flows of several processes ({', '.join(kinds)}): the weights of a method belong to one")
    return flows[0].process


def _start(flow: ProbabilityFlow, time: float, samples: int, seed: int) -> torch.Tensor:
    alpha, sigma = float(flow.process.alpha(time)), float(flow.process.sigma(time))
    return flow.target.marginal(alpha, sigma).sample(samples, seed=seed)


class _Run:
    """Exact trajectories of one flow on the nodes: states (n+1, B, *shape), model outputs and what steps must add."""

    def __init__(self, flow: ProbabilityFlow, grid: torch.Tensor, prediction: Any, samples: int, seed: int):
        if not bool((grid[1:] < grid[:-1]).all()):
            raise GridError("a fitted method samples: its grid falls from noise to data")
        self.f = Coordinates(flow, prediction)
        self.nodes = [Instant(t) for t in grid.double().unbind()]
        x = _start(flow, float(grid[0]), samples, seed)
        after = reference(flow, x, grid[1:].tolist(), TOLERANCE, float(grid[0])).x
        self.states = torch.cat([x[None], after])
        self.ratios = [ratio(self.f, b, a) for a, b in zip(self.nodes, self.nodes[1:], strict=False)]
        self.outputs = torch.stack([self.f.predict(x, at) for x, at in zip(self.states, self.nodes[:-1], strict=False)])

    def equations(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs (samples, i + 1) and what their weighted sum should be in step i (samples,)."""
        wanted = self.states[i + 1] - self.ratios[i] * self.states[i]
        return self.outputs[: i + 1].reshape(i + 1, -1).T, wanted.reshape(-1)

    def end(self, table: torch.Tensor) -> torch.Tensor:
        """Mean square error at the end, differentiable in the weights."""
        x, outputs = self.states[0], []
        for i, (at, psi) in enumerate(zip(self.nodes, self.ratios, strict=False)):
            outputs.append(self.f.predict(x, at))
            x = psi * x + sum(w * N for w, N in zip(table[i], outputs, strict=False))
        return (x - self.states[-1]).square().mean()


def _free_directions(values: torch.Tensor) -> torch.Tensor:
    """Directions (i + 1, free) of the weights of a step that leave sums over ``values`` (functions, i + 1) alone."""
    _, sizes, right = torch.linalg.svd(values, full_matrices=True)
    return right[int((sizes > 1e-12 * sizes[0]).sum()) :].T


def _closest(i: int, start: torch.Tensor, free: torch.Tensor, runs: list[_Run]) -> torch.Tensor:
    """Weights of step i closest to exact trajectories, among start plus the free directions."""
    pairs = [run.equations(i) for run in runs]
    outputs, wanted = (torch.cat(part) for part in zip(*pairs, strict=True))
    row = start.clone()
    if free.shape[1]:
        solution = torch.linalg.lstsq(outputs @ free, wanted - outputs @ start[: i + 1], rcond=1e-7, driver="gelsd")
        row[: i + 1] += free @ solution.solution
    return row


def _descended(table: torch.Tensor, bases: list[torch.Tensor], runs: list[_Run], rounds: int) -> torch.Tensor:
    """The weights after L-BFGS on the error at the end, along the free directions."""
    steps = [torch.zeros(basis.shape[1], dtype=torch.float64, requires_grad=True) for basis in bases]
    movable = [s for s in steps if s.numel()]
    if not movable:
        return table

    def moved() -> torch.Tensor:
        rows = [torch.cat([b @ s, s.new_zeros(len(table) - len(b))]) for b, s in zip(bases, steps, strict=True)]
        return table + torch.stack(rows)

    optimiser = torch.optim.LBFGS(movable, max_iter=rounds, line_search_fn="strong_wolfe", tolerance_grad=1e-12)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = sum(run.end(moved()) for run in runs) / len(runs)
        value.backward()
        return value

    optimiser.step(loss)
    return moved().detach()
