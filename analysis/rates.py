"""The rate lambda of a conjugate integrator: chosen by the error on a mixture, and what it does to one true step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from odekit.exceptions import DivergenceError, ModelError, OdekitError, QuadratureError

SPAN = (-2.0, 6.0)  # rates times the length of the solve
COARSE = 16  # intervals of the first look
REFINED = 3  # times the spacing is halved around the best


@dataclass(frozen=True)
class RateChoice:
    """The rate with the least error at a number of steps: numbers first, `plot` on request.

    ``error`` is the error at ``rate``, ``undamped`` that at rate 0; ``rates`` and ``errors`` all that were tried,
    in increasing order, infinite where a solve blew up or a weight did not converge. ``at_end``: the best lies at an
    end of the range, look further.
    """

    method: str
    rate: float
    error: float
    undamped: float
    rates: tuple[float, ...]
    errors: tuple[float, ...]
    steps: int
    evaluations: int

    @property
    def at_end(self) -> bool:
        return self.rate in (self.rates[0], self.rates[-1])

    def plot(self, axes: Any = None) -> Any:
        """Error against rate, the choice marked; returns the matplotlib axes."""
        if axes is None:
            from matplotlib import pyplot

            axes = pyplot.subplots(layout="constrained")[1]
        axes.semilogy(self.rates, self.errors, label=f"{self.method}, {self.evaluations} evaluations")
        axes.plot([self.rate], [self.error], "o")
        axes.set_xlabel("lambda")
        axes.set_ylabel("error (rms over trajectories)")
        axes.legend()
        return axes


def choose_rate(
    method: str | Callable[[float], Any],
    flow: Any,
    evaluations: int = 50,
    rates: Sequence[float] | None = None,
    grid: str = "time-quadratic",
    t_start: float | None = None,
    t_end: float | None = None,
    batch: int = 64,
    seed: int = 0,
    **options: Any,
) -> RateChoice:
    """The rate of a conjugate integrator with the least trajectory error against the exact flow.

    ``method``: a name of the catalogue with an option ``rate`` (others in ``options``), or a function from a rate to a
    method. ``flow``: with a process and a target; starts are ``batch`` draws from the exact law at ``t_start`` (t_max),
    ends are at ``t_end`` (t_min). ``evaluations``: of the model, a solve. ``rates``: those to try; by default -2 to 6
    over the length of the solve, refined around the best. Raises OdekitError where no rate gives a finite solve.
    Source: Pandey, Rudolph & Mandt 2023 (arXiv 2310.07894) choose by FID; the trajectory error is this toolkit's.

    >>> import odekit as ok
    >>> flow = ok.ProbabilityFlow(ok.PSLD(), ok.GaussianMixture([[-1.0], [1.2]], [0.4, 0.5], [0.4, 0.6]), "l-noise")
    >>> found = choose_rate("lambda-ddim-2", flow, evaluations=20, rates=(0.0, 1.0, 2.0), batch=8)
    >>> found.rate, found.error < 0.7 * found.undamped
    (2.0, True)
    """
    import odekit as ok
    from analysis.exact import flow_problem

    process = flow.process
    start, end = (process.t_max if t_start is None else t_start), (process.t_min if t_end is None else t_end)
    exact = flow_problem(flow, start, end, grid, batch, seed)
    make = method if callable(method) else lambda rate: ok.methods.get(method, rate=rate, **options)
    one = make(0.0)
    steps = max(1, evaluations // one.evaluations)
    known: dict[float, float] = {}

    def error(rate: float) -> float:
        if rate not in known:
            try:
                known[rate] = exact.error(ok.solve(exact.field, exact.x, make(rate), exact.grid(steps)))
            except (DivergenceError, ModelError, QuadratureError):
                known[rate] = math.inf
        return known[rate]

    def best() -> float:
        finite = [rate for rate, value in known.items() if math.isfinite(value)]
        if not finite:
            raise OdekitError(
                f"{one.name}: no rate of {min(known):g} to {max(known):g} gives a finite solve; more steps"
            )
        return min(finite, key=known.__getitem__)

    if rates is not None:
        for rate in rates:
            error(float(rate))
    else:
        low, high = (float(f"{bound / abs(start - end):.2g}") for bound in SPAN)
        for i in range(COARSE + 1):
            error(low + (high - low) * i / COARSE)
        for halving in range(1, REFINED + 1):
            around, spacing = best(), (high - low) / COARSE / 2**halving
            for rate in (around - spacing, around + spacing):
                if low <= rate <= high:
                    error(rate)
    rate, undamped = best(), error(0.0)
    tried = sorted(known)
    errors = tuple(known[r] for r in tried)
    return RateChoice(one.name, rate, known[rate], undamped, tuple(tried), errors, steps, steps * one.evaluations)


def step_factors(method: Any, flow: Any, states: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """The Jacobian of each true step of a one-step method: (steps, n, n), step i at states[i].

    ``states``: (steps, *shape), of which n numbers each; ``grid``: (steps + 1,) times. For lambda-DDIM they are
    P (I - h B + W J), J the model's Jacobian, W in the conjugate variable: what multiplies a perturbation of u, where
    the published analysis has P^-1 times it (`conjugate_factors`). Raises OdekitError for methods with a memory.

    >>> import odekit as ok
    >>> flow = ok.ProbabilityFlow(ok.PSLD(), ok.Gaussian([0.0], [[1.0]]), prediction="score")
    >>> grid = torch.tensor([0.5, 0.45], dtype=torch.float64)
    >>> step_factors("lambda-ddim-2", flow, torch.zeros(1, 2, 1, dtype=torch.float64), grid).shape
    torch.Size([1, 2, 2])
    """
    import odekit as ok

    plan = ok.plan(method, flow, grid)
    if len(plan.segments) != 1 or plan.segments[0].slots != ("x",):
        raise OdekitError(
            f"{plan.name} looks back beyond one step: the factor of one step is that of a one-step method"
        )
    (segment,) = plan.segments
    size = states[0].numel()

    def factor(i: int) -> torch.Tensor:
        def step(z: torch.Tensor) -> torch.Tensor:
            registers = [z]
            for e, t in enumerate(segment.times[i]):
                registers.append(flow.model(_combined(segment.inputs[i, e], registers), t))
            return _combined(segment.outputs[i, 0], registers)

        return torch.autograd.functional.jacobian(step, states[i : i + 1]).reshape(size, size)

    return torch.stack([factor(i) for i in range(len(grid) - 1)]).detach()


def conjugate_factors(method: Any, flow: Any, states: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """The same in the conjugate variable, P^-1 times `step_factors`: (steps, n, n), for 2x2 processes and their B."""
    import odekit as ok
    from odekit.fields.coordinates import Instant

    method = ok.methods.get(method)
    factors = step_factors(method, flow, states, grid)
    P = method.projection(flow, Instant(grid[1:]), Instant(grid[:-1])).value
    count = factors.shape[-1] // P.shape[-1]
    return torch.linalg.solve(torch.kron(P, torch.eye(count, dtype=torch.float64)), factors)


def _combined(coefficients: torch.Tensor, registers: list[torch.Tensor]) -> torch.Tensor:
    """sum_j c_j r_j with the coefficients of one row, of any carrier."""
    from odekit.operators import Block, Diagonal, Scalar

    carrier = (Scalar, Diagonal, Block)[coefficients.ndim - 1]
    parts = [carrier(c).apply(r) for c, r in zip(coefficients, registers, strict=False)]
    return sum(parts[1:], parts[0])
