"""What the studies of matrix diffusions share: a problem with exact scores, methods by name and options, tables.

A study is a module function that returns a `Table`, and one that draws it; `STUDIES` in `analysis.studies.matrix`
lists them. All errors are against exact solutions of the probability flow, in float64.
"""

from __future__ import annotations

import csv
import functools
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from analysis.exact import SharedModel, rms_norm
from odekit.exceptions import DivergenceError, ModelError

TWO_MODES = ((-1.0, 0.8), (0.3, 0.2), (0.3, 0.7))
"""gDDIM's: means, standard deviations and weights on a line."""
OTHER_MODES = ((-1.0, 1.2), (0.4, 0.5), (0.4, 0.6))
"""Those of the splittings and the conjugate integrators."""

MARKERS = "os^DvPX<>*"
"""Lines of a figure differ in these too, for readers who do not see the colours."""


@dataclass(frozen=True)
class Table:
    """A study's result: rows of plain data, and in words what was measured."""

    name: str
    title: str
    rows: list[dict[str, Any]]
    about: str = ""
    findings: list[str] = field(default_factory=list)

    def where(self, **fixed: Any) -> list[dict[str, Any]]:
        """The rows that have these values."""
        return [row for row in self.rows if all(row.get(name) == value for name, value in fixed.items())]

    def markdown(self, page: str | None = None) -> str:
        """The table, or what a page shows of it, and what it says."""
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        whole = markdown_table(columns, [[row.get(name) for name in columns] for row in self.rows])
        lines = [f"## {self.title}", "", self.about, "", whole if page is None else page]
        return "\n".join([*lines, "", *(f"- {finding}" for finding in self.findings)]).rstrip() + "\n"

    def csv(self) -> str:
        """The rows as comma-separated values."""
        out = io.StringIO()
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return out.getvalue()

    def write(self, folder: Path, page: str | None = None) -> list[Path]:
        """NAME.csv, NAME.json and NAME.md in the folder, the last with what a page shows of the table."""
        from analysis.cache import write_atomically
        from analysis.report import versions
        from analysis.verify import as_json

        about = {"study": self.name, "title": self.title, "about": self.about, "findings": self.findings}
        document = {**about, "versions": versions(), "rows": self.rows}
        paths = []
        for suffix, text in ((".csv", self.csv()), (".json", as_json(document)), (".md", self.markdown(page))):
            path = folder / f"{self.name}{suffix}"
            write_atomically(str(path), text)
            paths.append(path)
        return paths


class Bench:
    """A process, a mixture and starting points at t_start, with the exact end points at t_end, to `tol`.

    `x` are states (B, 2, *shape), or (B, *shape) under blurring; `schedule` is a name of `odekit.grid`.
    """

    def __init__(
        self,
        process: Any,
        mixture: Any,
        x: torch.Tensor,
        t_end: float,
        schedule: str = "time-uniform",
        t_start: float = 1.0,
        tol: float = 1e-8,
    ):
        self.process, self.mixture, self.x = process, mixture, x
        self.t_start, self.t_end, self.schedule, self.tol = t_start, t_end, schedule, tol
        self._flows: dict[str, Any] = {}

    @classmethod
    def from_law(cls, process: Any, mixture: Any, count: int, t_end: float, t_start: float, tol: float) -> Bench:
        """Starts are `count` draws from the exact law at t_start, the grid is quadratic in t."""
        import odekit as ok

        x = ok.targets.under(process, mixture).sample(count, t=t_start, seed=0, dtype=torch.float64)
        return cls(process, mixture, x, t_end, "time-power", t_start, tol)

    @functools.cached_property
    def exact(self) -> torch.Tensor:
        """The exact end points."""
        import odekit as ok

        flow = ok.ProbabilityFlow(self.process, self.mixture, prediction="velocity")
        return ok.reference(flow, self.x, self.t_end, tol=self.tol, t_start=self.t_start).x

    def flow(self, method: Any) -> Any:
        """The flow in the prediction that the method asks for."""
        import odekit as ok

        name = method.prediction if getattr(method, "prediction", None) in ("r-noise", "l-noise") else "score"
        if name not in self._flows:
            flow = ok.ProbabilityFlow(self.process, self.mixture, prediction=name)
            self._flows[name] = ok.ProbabilityFlow(self.process, SharedModel(flow.model), prediction=name)
        return self._flows[name]

    @functools.cached_property
    def sde(self) -> Any:
        """The time reversal, for methods that draw noise."""
        import odekit as ok

        return ok.ReverseSDE(self.process, self.mixture, prediction="score")

    @functools.cached_property
    def preconditioned(self) -> Any:
        """The prediction with C_skip for the variance of the data, of each frequency under blurring."""
        import odekit as ok

        d = self.mixture.dimension
        turn = self.process.embed(torch.eye(d, dtype=torch.float64).reshape(d, *self.mixture.shape)).flatten(1)[:, :d]
        variances = [f"{v:.6g}" for v in (turn.T @ self.mixture.covariance @ turn).diagonal().tolist()]
        return ok.Preconditioned(variances if d > 1 else variances[0])

    def within(self, method: Any, evaluations: int) -> Any:
        """The plan of most steps that costs as many evaluations, or fewer: those of its start counted; None if none."""
        import odekit as ok

        for steps in range(evaluations // method.evaluations + 1, 0, -1):
            plan = ok.plan(method, self.flow_of(method), self.grid(steps))
            if plan.evaluations <= evaluations:
                return plan
        return None

    def flow_of(self, method: Any) -> Any:
        """What the method integrates: the flow, or the time reversal."""
        return self.sde if getattr(method, "draws", 0) else self.flow(method)

    def grid(self, steps: int) -> torch.Tensor:
        """Its nodes, (steps + 1,)."""
        import odekit as ok

        return ok.grid(self.schedule, self.process, steps, t_start=self.t_start, t_end=self.t_end)

    def run(self, method: Any, steps: int) -> torch.Tensor | None:
        """The end points of a method; None where it blows up."""
        import odekit as ok

        try:
            return ok.solve(self.flow(method), self.x, method, self.grid(steps))
        except (DivergenceError, ModelError):
            return None

    def error(self, method: Any, steps: int) -> float:
        """Root mean square over the trajectories of the distance from the exact end points; nan where it blows up."""
        found = self.run(method, steps)
        return math.nan if found is None else rms_norm(found - self.exact)


def steps_for(method: Any, evaluations: int) -> int:
    """The steps that cost as many evaluations, or fewer."""
    return max(1, evaluations // method.evaluations)


def mixture_of(modes: tuple) -> Any:
    """The mixture on a line with these means, deviations and weights."""
    import odekit as ok

    means, deviations, weights = modes
    return ok.GaussianMixture([[mean] for mean in means], list(deviations), list(weights))


@functools.cache
def pslds(name: str, count: int = 32) -> Bench:
    """The problems on which splittings and conjugate integrators are compared, each a set of constants of PSLD.

    P1, P1b: momentum_variance 1, t from 1 to 0.02, uniform; Gamma 0.01 and 0.5. P2: the published constants, t from 1
    to 1e-3, quadratic; P2u: the same, uniform. Starts are N(0, diag(1, M)).
    """
    import odekit as ok

    Gamma, nu, variance, t_end, schedule = {
        "P1": (0.01, 4.01, 1.0, 0.02, "time-uniform"),
        "P1b": (0.5, 2.5, 1.0, 0.02, "time-uniform"),
        "P2": (0.01, 4.01, 0.04, 1e-3, "time-power"),
        "P2u": (0.01, 4.01, 0.04, 1e-3, "time-uniform"),
    }[name]
    process = ok.PSLD(Gamma=Gamma, nu=nu, momentum_variance=variance)
    return Bench(process, mixture_of(OTHER_MODES), starts(process, count), t_end, schedule)


def signals(count: int, tol: float = 1e-8) -> Bench:
    """Blurring on signals of eight samples, three modes, t from 0.99 to 0.01; starts from the exact law."""
    import odekit as ok

    generator = torch.Generator().manual_seed(0)
    means = torch.randn(3, 8, generator=generator, dtype=torch.float64).cumsum(1) / 2
    mixture = ok.GaussianMixture(means, [0.3, 0.4, 0.25], [0.3, 0.4, 0.3])
    return Bench.from_law(ok.Blurring(shape=(8,)), mixture, count, 0.01, 0.99, tol)


def starts(process: Any, count: int, seed: int = 0) -> torch.Tensor:
    """States (count, 2, 1) from the law that the process keeps, N(0, diag(1, M)): all positions, then all momenta."""
    import numpy as np

    random = np.random.default_rng(seed)
    z = np.stack([random.standard_normal(count) * math.sqrt(v) for v in process.equilibrium_variances], 1)
    return torch.from_numpy(z)[:, :, None]


def budget_axis(axis: Any, values: Sequence[int]) -> None:
    """Ticks at the budgets alone, on a logarithmic axis."""
    from matplotlib.ticker import NullLocator

    ticks = sorted(set(values))
    axis.set_xscale("log")
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("model evaluations")


def noise_band(axis: Any, height: float) -> None:
    """A grey band up to the largest distance of exact samples: in it methods are not told apart."""
    axis.axhspan(1e-12, height, color="#e9ecef", zorder=0, linewidth=0)
    told = {"transform": axis.transAxes, "color": "#5b6470", "fontsize": 7}
    axis.text(0.03, 0.02, "no farther than exact samples", **told)


def slope(steps: Sequence[int], errors: Sequence[float]) -> float:
    """The order between the last two step counts; nan where an error is not finite."""
    a, b = errors[-2:]
    return math.log(a / b) / math.log(steps[-1] / steps[-2]) if a > 0 and b > 0 else math.nan


def markdown_table(columns: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown; numbers with three figures."""
    head = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join([*head, *(f"| {' | '.join(map(_cell, line))} |" for line in lines)])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.3g}"
    return "" if value is None else str(value)
