"""The best method of each budget: trajectory error, and the 2-Wasserstein and Frechet distances of the law of x.

Methods without noise are measured by all three; those that draw noise have no trajectories to be held against, and are
measured by their law alone. All laws are known: see `analysis.studies.laws`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from analysis.exact import rms_norm
from analysis.figures import COLOURS
from analysis.studies.comparison import OTHER_MODES, Bench, Table, budget_axis, mixture_of, noise_band, signals
from analysis.studies.laws import EXACT, REPEATS, EndLaw, noise_of
from odekit.exceptions import DivergenceError, ModelError

BUDGETS = (10, 20, 50, 100, 200)
COUNT = 16384  # samples
MEASURES = {"error": "trajectory error (rms)", "W2": "W2 of x", "Frechet": "Frechet distance of x"}
PRE = "preconditioned"  # stands for the prediction with the data's variance taken out, `Bench.preconditioned`


class Contender(NamedTuple):
    """A method of the comparison: its name in tables, in the catalogue, its options, its family, and its marker in
    the figure; "": it is among the thin grey lines."""

    label: str
    name: str
    options: dict[str, Any]
    family: str
    marker: str = ""

    def method(self, bench: Bench) -> Any:
        import odekit as ok

        options = dict(self.options)
        if options.get("prediction") is PRE:
            options["prediction"] = bench.preconditioned
        return ok.methods.get(self.name, **options)


CLASSICAL, SPLIT, CONJUGATE, LAWSON, NOISE, PRECONDITIONED, STOCHASTIC = (
    "Runge-Kutta", "splitting", "conjugate", "Lawson", "gDDIM", "preconditioned exponential", "with noise"
)  # fmt: skip
IN_FRAME = {"coordinates": "lawson"}

ANYWHERE: tuple[Contender, ...] = (
    Contender("Euler", "euler", {}, CLASSICAL),
    Contender("Heun", "heun2", {}, CLASSICAL, "o"),
    Contender("RK4", "rk4", {}, CLASSICAL, "s"),
    Contender("Lawson-RK4, noise", "rk4", {"prediction": "r-noise", **IN_FRAME}, LAWSON),
    Contender("Lawson-Heun, pre.", "heun2", {"prediction": PRE, **IN_FRAME}, LAWSON),
    Contender("Lawson-Kutta3, pre.", "kutta3", {"prediction": PRE, **IN_FRAME}, LAWSON),
    Contender("Lawson-RK4, pre.", "rk4", {"prediction": PRE, **IN_FRAME}, LAWSON, "D"),
    *(Contender(f"gDDIM-{q}", f"gddim-{q}", {}, NOISE, {0: "o", 3: "D"}.get(q, "")) for q in range(4)),
    *(Contender(f"gDDIM-{q}, started", f"gddim-{q}", {"start": None}, NOISE) for q in (2, 3)),
    *(Contender(f"gDDIM-PECE-{q}", f"gddim-pece-{q}", {}, NOISE) for q in (1, 2)),
    Contender("gDDIM-PEC-2", "gddim-pec-2", {}, NOISE, "v"),
    *(
        Contender(f"exp. AB{k}, pre.", f"exponential-ab-{k}", {"prediction": PRE, "clock": "t"}, PRECONDITIONED, marker)
        for k, marker in ((1, ""), (2, "s"), (3, "^"), (4, "D"))
    ),
)
"""What runs on every process."""
IN_PHASE_SPACE: tuple[Contender, ...] = (
    Contender("RSE", "rse", {}, SPLIT, "o"),
    Contender("RVV", "rvv", {}, SPLIT, "s"),
    Contender("Strang, order 2", "velocity-verlet", {}, SPLIT),
    Contender("gDDIM-2, frame L", "gddim-2", {"factor": "L"}, NOISE),
    Contender("lambda-DDIM-II, 2", "lambda-ddim-2", {"rate": 2.0}, CONJUGATE),
    Contender("CVV, 0", "cvv", {"rate": 0.0}, CONJUGATE),
    Contender("lambda-DDIM-II, 0.5, pre.", "lambda-ddim-2", {"rate": 0.5, "prediction": PRE}, CONJUGATE, "o"),
    Contender("Euler-Maruyama", "euler-maruyama", {}, STOCHASTIC),
    Contender("ROBA", "roba", {}, STOCHASTIC, "o"),
    Contender("BAOAB", "baoab", {}, STOCHASTIC),
    Contender("SSCS", "sscs", {}, STOCHASTIC, "s"),
    Contender("SSCS, midpoint", "sscs-midpoint", {}, STOCHASTIC, "D"),
)
CONTENDERS = {
    "psld": (*ANYWHERE, *IN_PHASE_SPACE),
    "cld": (*ANYWHERE, *IN_PHASE_SPACE),
    "blurring": (*ANYWHERE, Contender("Euler-Maruyama", "euler-maruyama", {}, STOCHASTIC, "o")),
}


def bench(process: str, count: int, tol: float = 1e-8) -> Bench:
    """The problem on a process by name, with starts from the exact law and end points exact to `tol`."""
    import odekit as ok

    if process == "blurring":
        return signals(count, tol)
    found = ok.processes.get(process)
    return Bench.from_law(found, mixture_of(OTHER_MODES), count, 1e-3, 1.0, tol)


ABOUT = {
    "psld": "PSLD with the published constants, two modes on a line, t from 1 to 1e-3 (quadratic grid)",
    "cld": "CLD with the published constants, two modes on a line, t from 1 to 1e-3 (quadratic grid)",
    "blurring": "Blurring(shape=(8,)), three modes of eight samples, t from 0.99 to 0.01 (quadratic grid)",
}


def budgets(process: str = "psld", evaluations: Sequence[int] = BUDGETS, count: int = COUNT) -> Table:
    """Every contender at every budget, and the exact sampler: what noise is with so many samples."""
    problem = bench(process, count)
    end = EndLaw(problem.process, problem.mixture, problem.t_end)
    rows = [_row(problem, end, contender, budget) for budget in evaluations for contender in CONTENDERS[process]]
    rows.append(end.noise(count))
    table = Table(
        "budgets" if process == "psld" else f"budgets-{process}",
        f"The best method of each budget: {process}",
        rows,
        f"{ABOUT[process]}, {count} starts from the exact law. error: rms over trajectories, against exact ones; W2:"
        " of the samples from the exact law, by its quantiles"
        + (", frequency by frequency" if process == "blurring" else "")
        + "; Frechet: by its exact moments. W2 paired: from the exact end points of the same starts, without the noise"
        f" of sampling. {EXACT}: mean, and the largest, of {REPEATS} samples of {count} from the exact law.",
    )
    table.findings.append(
        f"noise of {count} exact samples: W2 {rows[-1]['W2']:.2g} on average and {rows[-1]['W2 largest']:.2g} at most"
        f" of {REPEATS} times, Frechet {rows[-1]['Frechet']:.2g} and {rows[-1]['Frechet largest']:.2g}: what is less is"
        " not told apart from exact"
    )
    for budget in evaluations:
        table.findings.append(f"{budget} evaluations: {'; '.join(_best(table, budget))}")
    return table


def _row(problem: Bench, end: EndLaw, contender: Contender, budget: int) -> dict[str, Any]:
    from odekit.noise import normal

    method = contender.method(problem)
    plan, row = problem.within(method, budget), {"evaluations": budget, "method": contender.label}
    if plan is None:
        return row
    row |= {"steps": sum(segment.steps for segment in plan.segments), "spent": plan.evaluations}
    noisy = contender.family == STOCHASTIC
    try:
        result = plan(problem.flow_of(method).model, problem.x, normal(1, problem.x) if noisy else None)
    except (DivergenceError, ModelError):
        return row
    d = problem.mixture.dimension
    x, exact = (state.flatten(1)[:, :d].numpy() for state in (result, problem.exact))
    row |= {"error": math.nan if noisy else rms_norm(result - problem.exact)}
    row |= {"W2": end.wasserstein(x), "Frechet": end.frechet(x)}
    if not noisy:
        row["W2 paired"] = float(np.sqrt(((np.sort(x, 0) - np.sort(exact, 0)) ** 2).mean(0).sum()))
    return row


def ranked(table: Table, budget: int, measure: str) -> list[dict[str, Any]]:
    """The rows of a budget that have this measure, the best first."""
    rows = [row for row in table.where(evaluations=budget) if math.isfinite(row.get(measure, math.nan))]
    return sorted(rows, key=lambda row: row[measure])


def _best(table: Table, budget: int) -> list[str]:
    told = []
    for measure in ("error", "W2 paired"):
        first = [f"{row['method']} {row[measure]:.2g}" for row in ranked(table, budget, measure)[:3]]
        told.append(f"{measure} {', '.join(first)}")
    for measure in ("W2", "Frechet"):
        rows = ranked(table, budget, measure)
        alike = [row["method"] for row in rows if row[measure] <= noise_of(table, measure)]
        told.append(
            f"{measure} within noise: {len(alike)} of {len(rows)}"
            if alike
            else f"{measure} {rows[0]['method']} {rows[0][measure]:.2g}"
        )
    return told


def draw_budgets(table: Table, axes: Any) -> None:
    """A panel for each measure: a colour a family, what noise is as a grey band, all other methods in thin grey."""
    process = table.name.partition("-")[2] or "psld"
    families = list(dict.fromkeys(one.family for one in CONTENDERS[process] if one.marker))
    for axis, (measure, title) in zip(axes, MEASURES.items(), strict=True):
        low = min(row[measure] for row in table.rows if row.get(measure, 0) > 0)
        for one in sorted(CONTENDERS[process], key=lambda one: bool(one.marker)):
            points = [(row["evaluations"], row.get(measure, math.nan)) for row in table.where(method=one.label)]
            points = [point for point in points if math.isfinite(point[1])]
            look: dict[str, Any] = {"color": "#b4bbc3", "linewidth": 0.7, "zorder": 1, "label": "all others"}
            if one.marker:
                hollow = one.family == STOCHASTIC
                colour = COLOURS[families.index(one.family)]
                look = {"color": colour, "marker": one.marker, "markerfacecolor": "white" if hollow else colour}
                look |= {"linestyle": "--" if hollow else "-", "label": one.label}
            if points:
                axis.plot(*zip(*points, strict=True), **look)
        noise = noise_of(table, measure)
        if noise:
            noise_band(axis, noise)
        axis.set_yscale("log")
        axis.set_ylim(low / 2, 6.0)
        budget_axis(axis, [row["evaluations"] for row in table.rows if "evaluations" in row])
        axis.set_title(title, fontsize=9, loc="left")
    shown = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    labels = [*(one.label for one in CONTENDERS[process] if one.label in shown), "all others"]
    beside = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "fontsize": 7}
    axes[-1].legend([shown[label] for label in labels], labels, **beside)
