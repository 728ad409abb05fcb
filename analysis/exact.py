"""A problem ready to be measured: exact start, exact end, exact history, and its grids."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch

from analysis.problems import Case, target_of
from odekit.exceptions import OdekitError

FINE = 400  # steps of an eighth-order method over the whole interval that leave no error but rounding


class ExactProblem:
    """A vector field with a batch of starting points and everything that is known exactly about their trajectories.

    field: a ProbabilityFlow or VectorField. x: (B, *shape) states at t_start. grid(steps) -> (steps+1,) times from
    t_start to t_end. about: what results.json says of the problem.
    """

    def __init__(
        self,
        field: Any,
        x: torch.Tensor,
        t_start: float,
        t_end: float,
        grid: Callable[[int], torch.Tensor],
        about: dict[str, Any],
    ):
        self.field, self.x, self.t_start, self.t_end, self.grid = field, x, t_start, t_end, grid
        self._about = about
        self._history: dict[int, torch.Tensor] = {}

    @functools.cached_property
    def reference(self) -> tuple[torch.Tensor, float]:
        """The exact end points (B, *shape) and the root mean square of their error estimates."""
        import odekit as ok

        reference = ok.reference(self.field, self.x, self.t_end, t_start=self.t_start)
        errors = torch.as_tensor(reference.error, dtype=torch.float64)
        return reference.x, float(errors.square().mean().sqrt())

    @functools.cached_property
    def scale(self) -> float:
        """Typical norm of a state: the larger of start and end."""
        return max(rms_norm(self.x), rms_norm(self.reference[0]))

    def history(self, steps: int, count: int) -> torch.Tensor:
        """Exact states at the first `count` nodes of the grid of `steps` steps: (count, B, *shape)."""
        known = self._history.get(steps)
        if known is None or len(known) < count:
            known = self._history[steps] = self._integrate(self.grid(steps)[:count], max(1, math.ceil(FINE / steps)))
        return known[:count]

    def _integrate(self, nodes: torch.Tensor, parts: int) -> torch.Tensor:
        import odekit as ok

        states = [self.x]
        for t, t_next in zip(nodes[:-1], nodes[1:], strict=True):
            inner = t + (t_next - t) * torch.arange(parts + 1, dtype=torch.float64) / parts
            inner[-1] = t_next
            states.append(ok.solve(self.field, states[-1], method="dop853", grid=inner))
        return torch.stack(states)

    def error(self, x: torch.Tensor) -> float:
        """Distance from the exact end points, root mean square over the batch of the 2-norm; nan if not finite."""
        return rms_norm(x - self.reference[0])

    def about(self) -> dict[str, Any]:
        return {
            **self._about,
            "t_start": float(f"{self.t_start:.6g}"),
            "t_end": float(f"{self.t_end:.6g}"),
            "reference_error": self.reference[1],
        }


def rms_norm(x: torch.Tensor) -> float:
    """Root mean square over the batch of the 2-norm of each sample, (B, *shape) -> float; nan if not finite."""
    norm = float(x.reshape(len(x), -1).to(torch.float64).square().sum(1).mean().sqrt())
    return norm if math.isfinite(norm) else math.nan


@functools.lru_cache(maxsize=16)
def exact_problem(case: Case) -> ExactProblem:
    """The exact problem of a named case; kept, so that all methods share its reference and its history."""
    import odekit as ok

    process = ok.processes.get(case.process)
    flow = ok.ProbabilityFlow(process, target_of(case.problem), prediction=case.prediction)
    t_start, t_end = (float(process.time_at_logsnr(value)) for value in (case.logsnr_start, case.logsnr_end))
    about = {
        "process": case.process,
        "prediction": case.prediction,
        "problem": case.problem,
        "grid": case.grid,
        "seed": case.seed,
    }
    return flow_problem(flow, t_start, t_end, case.grid, case.batch, case.seed, about)


def flow_problem(
    flow: Any,
    t_start: float,
    t_end: float,
    grid: str = "logsnr",
    batch: int = 8,
    seed: int = 0,
    about: dict[str, Any] | None = None,
) -> ExactProblem:
    """The exact problem of a flow with a target; starting points are drawn from the exact marginal at t_start."""
    import odekit as ok

    process, target = getattr(flow, "process", None), getattr(flow, "target", None)
    if process is None or target is None:
        raise OdekitError("a measurement needs a flow with a process and a target: its exact solution is the yardstick")
    marginal = target.marginal(float(process.alpha(t_start)), float(process.sigma(t_start)))
    x = marginal.sample(batch, seed=seed, dtype=torch.float64)
    about = about or {
        "process": process.name,
        "prediction": str(getattr(flow.prediction, "name", flow.prediction)),
        "problem": type(target).__name__,
        "grid": grid,
        "seed": seed,
    }

    def nodes(steps: int) -> torch.Tensor:
        return ok.grid(grid, process, steps=steps, t_start=t_start, t_end=t_end)

    return ExactProblem(flow, x, t_start, t_end, nodes, about)
