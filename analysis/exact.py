"""A problem ready to be measured: exact start, exact end, exact history, and its grids."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from analysis.order import EPS
from analysis.problems import BATCH, Case
from odekit.exceptions import DivergenceError, OdekitError
from odekit.fields.matrix import is_isotropic
from odekit.fields.mixtures import excitation, time_at_logsnr

LONGEST = 9  # states that are kept at once: what the formulas of the catalogue look back to, and one step more
FINEST = 1024  # steps of an eighth-order method: where these are not enough, the problem is none for high orders


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
        self.excitation: Any = None  # what it can testify to, an `odekit.problems.Excitation`, where that is known
        self.testimony: Callable[[Any], Any] = lambda method: self.excitation  # the same, of one method
        self.yardstick = field  # the same flow in the form that is cheapest at single times
        self.share = 1.0  # of a ladder's usual budget: less where a score is dear, more where it is cheap
        self.period = 1  # step counts compare that are multiples of it
        self._history: dict[int, torch.Tensor] = {}

    @functools.cached_property
    def reference(self) -> tuple[torch.Tensor, float]:
        """The exact end points (B, *shape) and the root mean square of their error estimates."""
        import odekit as ok

        reference = ok.reference(self.yardstick, self.x, self.t_end, t_start=self.t_start)
        errors = torch.as_tensor(reference.error, dtype=torch.float64)
        return reference.x, float(errors.square().mean().sqrt())

    @functools.cached_property
    def scale(self) -> float:
        """Typical norm of a state: the larger of start and end."""
        return max(rms_norm(self.x), rms_norm(self.reference[0]))

    @functools.cached_property
    def _remainder(self) -> tuple[int, float]:
        """Steps of dop853 that leave nothing but rounding, and the error which then remains, the reference's included.

        Checked, not assumed: the steps are doubled until the error no longer falls.
        """
        import odekit as ok

        steps, before = 16, math.inf
        while True:
            try:
                error = self.error(ok.solve(self.yardstick, self.x, method="dop853", grid=self.grid(steps)))
            except DivergenceError:  # stiff: not yet, or not at all
                error = math.nan
            if steps >= FINEST or (error <= 10 * self.reference[1] and error > before / 4):
                return steps, max(EPS * self.scale, self.reference[1] if math.isnan(error) else error)
            steps, before = 2 * steps, error

    def floor(self, steps: int) -> float:
        """Errors below this are rounding: three times what remains at the end of any refinement.

        Rounding grows like the square root of the number of steps (seen on all processes); the error of the reference
        does not.
        """
        fine, remainder = self._remainder
        return 3 * remainder * max(1.0, math.sqrt(steps / fine))

    def history(self, steps: int, count: int) -> torch.Tensor:
        """Exact states at the first `count` nodes of the grid of `steps` steps: (count, B, *shape)."""
        known = self._history.get(steps)
        if known is None or len(known) < count:
            nodes = self.grid(steps)[: max(count, LONGEST)]
            known = self._history[steps] = self._integrate(nodes, max(1, -(-self._remainder[0] // steps)))
        return known[:count]

    def _integrate(self, nodes: torch.Tensor, parts: int) -> torch.Tensor:
        """States at the nodes, `parts` steps of dop853 between two of them."""
        import odekit as ok

        if len(nodes) == 1:
            return self.x[None]
        within = torch.arange(parts, dtype=torch.float64) / parts
        inner = nodes[:-1, None] + nodes.diff()[:, None] * within
        inner = torch.cat([inner.reshape(-1), nodes[-1:]])
        return ok.solve(self.yardstick, self.x, method="dop853", grid=inner, full=True).trajectory[::parts]

    def error(self, x: torch.Tensor) -> float:
        """Distance from the exact end points, root mean square over the batch of the 2-norm; nan if not finite."""
        return rms_norm(x - self.reference[0])

    def rough(self) -> ExactProblem:
        """The same problem on grids whose steps repeat the lengths 3, 1, 2, counted in nodes of a grid twice as fine.

        Neighbouring steps of a smooth grid become equal as it is refined; these never do.
        """

        def grid(steps: int) -> torch.Tensor:
            lengths = torch.tensor([3, 1, 2]).repeat(steps)[:steps]
            nodes = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
            return self.grid(int(nodes[-1]))[nodes]

        about = {**self._about, "grid": f"{self._about.get('grid', 'grid')}, steps 3 : 1 : 2"}
        other = ExactProblem(self.field, self.x, self.t_start, self.t_end, grid, about)
        other.period = 3
        other.excitation, other.testimony = self.excitation, self.testimony
        other.yardstick, other.share = self.yardstick, self.share
        other.__dict__ |= {"reference": self.reference, "_remainder": self._remainder}
        return other

    def about(self) -> dict[str, Any]:
        return {
            **self._about,
            "t_start": float(f"{self.t_start:.6g}"),
            "t_end": float(f"{self.t_end:.6g}"),
            "reference_error": min(self.reference[1], self._remainder[1]),
        }


class SharedModel:
    """A model whose scalar work is done once for each time, whichever of many solves asks there.

    Ladders of different methods stand on the same grids; nine tenths of the cost of a planar score are its scalars.
    """

    KEPT = 10_000  # times; each holds a few kilobytes

    def __init__(self, model: Any):
        self.model, self.target = model, getattr(model, "target", None)
        self._known: dict[float, Callable[[torch.Tensor], torch.Tensor]] = {}

    def __call__(self, x: torch.Tensor, t: Any) -> torch.Tensor:
        return self._at([float(t)])[0](x)

    def prepare(self, times: torch.Tensor) -> Callable[[int, torch.Tensor], torch.Tensor]:
        bound = self._at(torch.as_tensor(times, dtype=torch.float64).tolist())
        return lambda k, x: bound[k](x)

    def _at(self, times: list[float]) -> list[Callable]:
        missing = [t for t in dict.fromkeys(times) if t not in self._known]
        if missing:
            if len(self._known) + len(missing) > self.KEPT:
                self._known.clear()
                missing = list(dict.fromkeys(times))
            call = self.model.prepare(torch.tensor(missing, dtype=torch.float64))
            self._known |= {t: functools.partial(call, k) for k, t in enumerate(missing)}
        return [self._known[t] for t in times]


def rms_norm(x: torch.Tensor) -> float:
    """Root mean square over the batch of the 2-norm of each sample, (B, *shape) -> float; nan if not finite."""
    norm = float(x.reshape(len(x), -1).to(torch.float64).square().sum(1).mean().sqrt())
    return norm if math.isfinite(norm) else math.nan


@functools.lru_cache(maxsize=16)
def exact_problem(case: Case) -> ExactProblem:
    """The exact problem of a named case; kept, so that all methods share its reference and its history."""
    import odekit as ok

    if case.rough:
        return exact_problem(replace(case, rough=False)).rough()
    if not case.process:
        exact = of_problem(ok.problems.get(case.problem), case.grid)
        exact.share = case.share
        return exact
    target = ok.targets.get(case.problem)
    signal = {"shape": target.shape} if case.process == "blurring" else {}
    process = ok.processes.get(case.process, **signal, **dict(case.parameters))
    flow = ok.ProbabilityFlow(process, target, prediction=case.prediction)
    t_start, t_end = (time_at_logsnr(process, value) for value in (case.logsnr_start, case.logsnr_end))
    about = {
        "process": case.process_name,
        "prediction": case.prediction,
        "problem": case.problem,
        "grid": case.grid,
        "seed": case.seed,
    }
    exact = flow_problem(flow, t_start, t_end, case.grid, case.batch, case.seed, about)
    exact.share = case.share
    exact.excitation = excitation(case.problem, process)
    return exact


def of_problem(problem: Any, grid: str = "time-uniform") -> ExactProblem:
    """A problem of `odekit.problems` with its own interval, starting points and solution."""
    import odekit as ok

    t_start, t_end, process = problem.t_start, problem.t_end, problem.field.process

    def nodes(steps: int) -> torch.Tensor:
        if process is None:
            return ok.grid(grid, (t_start, t_end), steps)
        return ok.grid(grid, process, steps, t_start=t_start, t_end=t_end)

    about = {
        "process": process and process.name,
        "prediction": process and str(problem.field.prediction),
        "problem": problem.name,
        "grid": grid,
        "seed": problem.parameters.get("seed"),
    }
    exact = ExactProblem(problem.field, problem.x0, t_start, t_end, nodes, about)
    exact.excitation = problem.excitation
    exact.testimony = getattr(problem, "testimony", exact.testimony)
    x, error = problem.solution(t_end)
    exact.__dict__["reference"] = x, float(error.square().mean().sqrt())
    return exact


def flow_problem(
    flow: Any,
    t_start: float,
    t_end: float,
    grid: str = "logsnr",
    batch: int = BATCH,
    seed: int = 0,
    about: dict[str, Any] | None = None,
) -> ExactProblem:
    """The exact problem of a flow with a target; starting points are drawn from the exact marginal at t_start."""
    import odekit as ok

    process, target = getattr(flow, "process", None), getattr(flow, "target", None)
    if process is None or target is None:
        raise OdekitError("a measurement needs a flow with a process and a target: its exact solution is the yardstick")
    isotropic = is_isotropic(process)
    if isotropic:
        marginal = target.marginal(float(process.alpha(t_start)), float(process.sigma(t_start)))
        x = marginal.sample(batch, seed=seed, dtype=torch.float64)
    else:
        x = ok.targets.under(process, target).sample(batch, t=t_start, seed=seed, dtype=torch.float64)
    about = about or {
        "process": process.name,
        "prediction": str(getattr(flow.prediction, "name", flow.prediction)),
        "problem": type(target).__name__,
        "grid": grid,
        "seed": seed,
    }

    def nodes(steps: int) -> torch.Tensor:
        return ok.grid(grid, process, steps=steps, t_start=t_start, t_end=t_end)

    shared = ok.ProbabilityFlow(process, SharedModel(flow.model), prediction=flow.prediction)
    exact = ExactProblem(shared, x, t_start, t_end, nodes, about)
    if not isotropic:  # where the velocity needs no factor of the covariance
        exact.yardstick = ok.ProbabilityFlow(process, target, prediction="velocity")
    return exact
