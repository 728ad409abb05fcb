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

    def markdown(self) -> str:
        """The table, and what it says."""
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        lines = [f"## {self.title}", "", self.about, "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        lines += [f"| {' | '.join(_cell(row.get(name)) for name in columns)} |" for row in self.rows]
        return "\n".join([*lines, "", *(f"- {finding}" for finding in self.findings)]).rstrip() + "\n"

    def csv(self) -> str:
        """The rows as comma-separated values."""
        out = io.StringIO()
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return out.getvalue()

    def write(self, folder: Path) -> list[Path]:
        """NAME.csv, NAME.json and NAME.md in the folder."""
        from analysis.cache import write_atomically
        from analysis.report import versions
        from analysis.verify import as_json

        about = {"study": self.name, "title": self.title, "about": self.about, "findings": self.findings}
        document = {**about, "versions": versions(), "rows": self.rows}
        paths = []
        for suffix, text in ((".csv", self.csv()), (".json", as_json(document)), (".md", self.markdown())):
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


def starts(process: Any, count: int, seed: int = 0) -> torch.Tensor:
    """States (count, 2, 1) from the law that the process keeps, N(0, diag(1, M)): all positions, then all momenta."""
    import numpy as np

    random = np.random.default_rng(seed)
    z = np.stack([random.standard_normal(count) * math.sqrt(v) for v in process.equilibrium_variances], 1)
    return torch.from_numpy(z)[:, :, None]


def slope(steps: Sequence[int], errors: Sequence[float]) -> float:
    """The order between the last two step counts; nan where an error is not finite."""
    a, b = errors[-2:]
    return math.log(a / b) / math.log(steps[-1] / steps[-2]) if a > 0 and b > 0 else math.nan


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.3g}"
    return "" if value is None else str(value)
