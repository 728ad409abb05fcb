"""Splittings in phase space: naive against reduced, where velocity Verlet bends, and the best method of each budget.

Repeats the ablations of Pandey, Rudolph & Mandt 2023 (arXiv 2310.07894) at 50, 100 and 200 evaluations with exact
scores; instead of FID: trajectory error, the 2-Wasserstein distance of the law of x and its Frechet distance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from analysis.distances import frechet, wasserstein
from analysis.exact import rms_norm
from analysis.figures import COLOURS
from analysis.studies.comparison import Bench, Table, pslds, steps_for

SPLITTINGS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("Euler", "euler", {}),
    ("NSE", "nse", {}),
    ("RSE", "rse", {}),
    ("NVV", "nvv", {}),
    ("RVV", "rvv", {}),
    ("NVV, timed", "nvv", {"corrected": True}),
    ("RVV, not timed", "rvv", {"corrected": False}),
    ("velocity Verlet, order 2", "velocity-verlet", {}),
    ("Heun", "heun2", {}),
)


def naive_and_reduced(budgets: Sequence[int] = (50, 100, 200), names: Sequence[str] = ("P1b", "P2", "P2u")) -> Table:
    """Naive against reduced splittings at equal evaluations."""
    import odekit as ok

    rows = []
    for name in names:
        bench = pslds(name)
        for label, key, options in SPLITTINGS:
            method = ok.methods.get(key, **options)
            for evaluations in budgets:
                steps = steps_for(method, evaluations)
                error = bench.error(method, steps)
                row = {"problem": name, "method": label, "evaluations": evaluations, "steps": steps, "error": error}
                rows.append(row)
    table = Table(
        "naive-reduced",
        "Naive against reduced splittings at equal evaluations",
        rows,
        "PSLD, two modes, 32 starts from N(0, diag(1, M)); error: rms over the starts. P2: published constants,"
        " quadratic grid to t = 1e-3; P2u: the same, uniform; P1b: Gamma 0.5, nu 2.5, momentum variance M, uniform to"
        " t = 0.02.",
    )
    for name in names:
        for naive, reduced in (("NSE", "RSE"), ("NVV", "RVV"), ("RVV, not timed", "RVV")):
            ratios = [
                _error(table, name, naive, evaluations) / _error(table, name, reduced, evaluations)
                for evaluations in budgets
            ]
            told = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            table.findings.append(f"{name}: error of {naive} over that of {reduced} at {_listed(budgets)}: {told}")
    return table


def _error(table: Table, problem: str, method: str, evaluations: int) -> float:
    (row,) = table.where(problem=problem, method=method, evaluations=evaluations)
    return row["error"]


def draw_naive_and_reduced(table: Table, axes: Any) -> None:
    """A panel for each problem: error against evaluations."""
    problems = list(dict.fromkeys(row["problem"] for row in table.rows))
    for axis, problem in zip(axes, problems, strict=True):
        for i, (label, _, _) in enumerate(SPLITTINGS):
            rows = table.where(problem=problem, method=label)
            colour, style = COLOURS[i % len(COLOURS)], "--" if label.startswith("N") else "-"
            points = [(row["evaluations"], row["error"]) for row in rows if math.isfinite(row["error"])]
            axis.loglog(*zip(*points, strict=True), style, marker="o", color=colour, label=label)
        _budgets(axis, [row["evaluations"] for row in table.rows])
        axis.set_title(problem, fontsize=9, loc="left")
    axes[0].set_ylabel("error (rms over trajectories)")
    axes[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


BENDING = ("RSE", "NVV", "RVV", "velocity Verlet, order 2")


def bend(
    counts: Sequence[int] = (32, 64, 128, 256, 512, 1024, 2048),
    names: Sequence[str] = ("P2", "P1b"),
    labels: Sequence[str] = BENDING,
) -> Table:
    """The slope of velocity Verlet's error: near two while steps are few, one in the limit."""
    import odekit as ok

    rows = []
    for name in names:
        bench = pslds(name)
        for label, key, options in SPLITTINGS:
            if label not in labels:
                continue
            method, before = ok.methods.get(key, **options), None
            for steps in counts:
                error = bench.error(method, steps)
                order = math.log2(before / error) if before else math.nan
                rows.append({"problem": name, "method": label, "steps": steps, "error": error, "slope": order})
                before = error
    table = Table(
        "verlet-bend",
        "Velocity Verlet bends: order one that looks like two",
        rows,
        "PSLD as in naive-reduced; slope: of log error between this count and half of it.",
    )
    for name in names:
        slopes = [row["slope"] for row in table.where(problem=name, method="RVV")[1:]]
        table.findings.append(f"{name}, RVV: slopes {', '.join(f'{one:.2f}' for one in slopes)}; its formal order is 1")
    return table


def draw_bend(table: Table, axes: Any) -> None:
    """Errors on the left, their slopes on the right."""
    for i, label in enumerate(dict.fromkeys(row["method"] for row in table.rows)):
        for problem, style, hollow in (("P2", "-", False), ("P1b", ":", True)):
            rows = table.where(problem=problem, method=label)
            text = label if problem == "P2" else None
            face = "white" if hollow else COLOURS[i]
            look = {"color": COLOURS[i], "linestyle": style, "marker": "o", "markerfacecolor": face, "label": text}
            axes[0].loglog([row["steps"] for row in rows], [row["error"] for row in rows], **look)
            axes[1].semilogx([row["steps"] for row in rows[1:]], [row["slope"] for row in rows[1:]], **look)
    for axis, text in zip(axes, ("error (solid: P2, dotted: P1b)", "slope between N/2 and N"), strict=True):
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set_xlabel("steps N")
        axis.set_title(text, fontsize=9, loc="left")
    axes[1].set_ylim(0.5, 2.5)
    axes[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


CONTENDERS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("Euler", "euler", {}),
    ("Heun", "heun2", {}),
    ("RK4", "rk4", {}),
    *SPLITTINGS[1:5],
    ("Strang by midpoint", "strang-linear-score", {"inner": "midpoint"}),
    *((f"gDDIM-{q}, R", f"gddim-{q}", {}) for q in range(4)),
    ("gDDIM-PECE-2, R", "gddim-pece-2", {}),
    ("gDDIM-0, L", "gddim-0", {"factor": "L"}),
    ("gDDIM-2, L", "gddim-2", {"factor": "L"}),
    ("lambda-DDIM-II, 2", "lambda-ddim-2", {"rate": 2.0}),
    ("CVV, 0.5", "cvv", {"rate": 0.5}),
)
FAMILIES = (3, 5, 5, 2, 2)  # neighbours in CONTENDERS: classical, split, frame R, frame L, conjugate


def planar(count: int, seed: int = 0) -> Bench:
    """PSLD with the published constants and three elongated modes in the plane; starts from the exact law at t = 1."""
    import odekit as ok

    process, mixture = ok.PSLD(), ok.targets.get("aniso3")
    x = ok.targets.under(process, mixture).sample(count, t=1.0, seed=seed, dtype=torch.float64)
    return Bench(process, mixture, x, 1e-3, "time-power", tol=1e-8)


def budgets(evaluations: Sequence[int] = (10, 20, 50, 100), count: int = 256) -> Table:
    """The best method of each budget: trajectory error, W2 and Frechet distance of the law of x."""
    import odekit as ok

    bench, rows = planar(count), []
    truth = bench.exact[:, 0]
    for budget in evaluations:
        for label, key, options in CONTENDERS:
            method = ok.methods.get(key, **options)
            steps = steps_for(method, budget + int(getattr(method, "pece", False)))
            found = bench.run(method, steps)
            if found is None:
                numbers = (math.nan,) * 3
            else:
                numbers = rms_norm(found - bench.exact), wasserstein(found[:, 0], truth), frechet(found[:, 0], truth)
            values = dict(zip(("error", "W2", "Frechet"), numbers, strict=True))
            rows.append({"evaluations": budget, "method": label, "steps": steps, **values})
    table = Table(
        "budgets",
        "The best method of each budget",
        rows,
        f"PSLD with the published constants, mixture aniso3 in the plane, {count} starts from the exact law at t = 1,"
        " quadratic grid to t = 1e-3. error: rms over trajectories; W2 and Frechet: of the positions, against the exact"
        " end points of the same starts.",
    )
    mixture = bench.mixture
    one, other = (mixture.sample(count, seed=seed, dtype=torch.float64) for seed in (101, 102))
    table.findings.append(
        f"two independent samples of {count} from the data are {wasserstein(one, other):.3g} apart in W2 and"
        f" {frechet(one, other):.3g} in Frechet distance: what is less would not be seen by sampling"
    )
    for budget in evaluations:
        told = []
        for measure in ("error", "W2", "Frechet"):
            finite = [row for row in table.where(evaluations=budget) if math.isfinite(row[measure])]
            best = min(finite, key=lambda row: row[measure])
            told.append(f"{measure} {best['method']} ({best[measure]:.3g})")
        table.findings.append(f"{budget} evaluations: {', '.join(told)}")
    return table


def draw_budgets(table: Table, axes: Any) -> None:
    """A panel for each measure, families in one colour each."""
    low = {name: min(row[name] for row in table.rows if row[name] > 0) for name in ("error", "W2", "Frechet")}
    for axis, measure in zip(axes, low, strict=True):
        family = [(i, "os^Dv"[k]) for i, count in enumerate(FAMILIES) for k in range(count)]
        for (label, _, _), (i, marker) in zip(CONTENDERS, family, strict=True):
            points = [(row["evaluations"], row[measure]) for row in table.where(method=label)]
            points = [point for point in points if math.isfinite(point[1])]
            if points:
                colour = ("#8a939c", *COLOURS)[i]
                axis.loglog(*zip(*points, strict=True), marker=marker, color=colour, label=label, linewidth=1)
        axis.set_ylim(low[measure] / 2, 4.0)
        _budgets(axis, [row["evaluations"] for row in table.rows])
        axis.set_title({"error": "trajectory error", "W2": "W2 of x", "Frechet": "Frechet distance of x"}[measure],
                       fontsize=9, loc="left")  # fmt: skip
    axes[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7)


def _budgets(axis: Any, values: Sequence[int]) -> None:
    from matplotlib.ticker import NullLocator

    ticks = sorted(set(values))
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("model evaluations")


def _listed(values: Sequence[int]) -> str:
    return f"{', '.join(map(str, values[:-1]))} and {values[-1]} evaluations"
