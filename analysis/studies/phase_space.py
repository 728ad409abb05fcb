"""Splittings in phase space: naive against reduced, without noise and with it, and where velocity Verlet bends.

Repeats the ablations of Pandey, Rudolph & Mandt 2023 (arXiv 2310.07894) at 50, 100 and 200 evaluations with exact
scores; instead of FID: trajectory error, and how far the law of x is from the exact one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.distances import frechet_of_moments
from analysis.figures import COLOURS
from analysis.studies.budgets import bench as problem_on
from analysis.studies.comparison import MARKERS, Table, budget_axis, noise_band, pslds, steps_for
from analysis.studies.laws import REPEATS, EndLaw, noise_of
from analysis.weak import DATA, Law, distance, law, pushed

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


SAID = {"P1b": "P1b: Gamma 0.5, uniform", "P2": "P2: published, quadratic", "P2u": "P2u: published, uniform"}


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
            axis.loglog(*zip(*points, strict=True), style, marker=MARKERS[i], color=colour, label=label)
        budget_axis(axis, [row["evaluations"] for row in table.rows])
        axis.set_title(SAID[problem], fontsize=9, loc="left")
    axes[0].set_ylabel("error (rms over trajectories)")
    axes[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


PAIRS: tuple[tuple[str, str, str, dict[str, Any], float | None], ...] = (
    ("SE", "naive", "nse", {}, None),
    ("SE", "reduced", "rse", {}, None),
    ("VV", "naive", "nvv", {}, 69.06),
    ("VV", "reduced", "rvv", {}, 14.19),
    ("OBA", "naive", "noba", {}, 36.87),
    ("OBA", "reduced", "roba", {}, 2.76),
    ("BAO", "naive", "nbao", {}, None),
    ("BAO", "reduced", "rbao", {}, None),
    ("OBAB", "naive", "nobab", {}, None),
    ("OBAB", "reduced", "robab", {}, None),
    ("BAOAB", "naive", "baoab", {"naive": True}, None),
    ("BAOAB", "reduced", "baoab", {}, None),
)
"""Word, kind, name and options; and the FID that the paper's reviews tell of it on CIFAR-10 at 50 evaluations."""
WORDS = tuple(dict.fromkeys(word for word, *_ in PAIRS))
CHOSEN = 50  # evaluations of the published FID


def laws(budgets: Sequence[int] = (50, 100, 200), count: int = 16384) -> Table:
    """Naive against reduced splittings, with noise and without: how far the law of x is from the exact one.

    moments, Frechet of x: on Gaussian data, where both laws are known, without sampling. W2, Frechet: on two
    modes, by samples.
    """
    import odekit as ok
    from odekit.noise import normal

    bench = problem_on("psld", count)
    end = EndLaw(bench.process, bench.mixture, bench.t_end)
    gaussian = ok.ReverseSDE(bench.process, ok.Gaussian(*DATA), prediction="score")
    start, exact = (law(gaussian, t) for t in (bench.t_start, bench.t_end))
    rows: list[dict[str, Any]] = []
    for word, kind, name, options, fid in PAIRS:
        method = ok.methods.get(name, **options)
        noisy = bool(getattr(method, "draws", 0))
        for evaluations in budgets:
            plan = bench.within(method, evaluations)
            found = pushed(plan, gaussian.model, gaussian.shape, start)
            x = plan(bench.flow_of(method).model, bench.x, normal(1, bench.x) if noisy else None)[:, 0].numpy()
            row = {"word": word, "kind": kind, "noise": noisy, "evaluations": evaluations, "spent": plan.evaluations}
            row |= {"moments": distance(found, exact), "Frechet of x": _frechet_of_x(found, exact)}
            row |= {"W2": end.wasserstein(x), "Frechet": end.frechet(x)}
            rows.append(row | {"published FID": fid if evaluations == CHOSEN else None})
    rows.append(end.noise(count))
    table = Table(
        "naive-reduced-laws",
        "Naive against reduced splittings: the law of x",
        rows,
        "PSLD with the published constants, t from 1 to 1e-3 (quadratic grid), starts from the exact law. Gaussian data"
        " N(0.7, 0.25), exactly: error of mean and covariance, Frechet distance of x. Two modes on a line:"
        f" {count} samples, from the exact law by quantiles and moments; of an exact sample at most"
        f" {rows[-1]['W2 largest']:.2g} (W2) and {rows[-1]['Frechet largest']:.2g} (Frechet) in {REPEATS}. FID:"
        " CIFAR-10, as reviews of the paper tell it.",
    )
    for word in WORDS:
        for column in ("Frechet of x", "W2"):
            ratios = [
                naive[column] / reduced[column]
                for naive, reduced in zip(
                    table.where(word=word, kind="naive"), table.where(word=word, kind="reduced"), strict=True
                )
            ]
            told = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            table.findings.append(f"{word}: {column} of naive over that of reduced at {_listed(budgets)}: {told}")
    return table


def _frechet_of_x(found: Law, exact: Law) -> float:
    (mean, covariance), (true, spread) = found, exact
    return frechet_of_moments(mean[:1], covariance[:1, :1], true[:1], spread[:1, :1])


def draw_laws(table: Table, axes: Any) -> None:
    """Frechet distance of x on Gaussian data, and W2 on two modes; naive dashed and hollow."""
    for axis, (column, title) in zip(
        axes, (("Frechet of x", "Gaussian data: Frechet distance of x, exact"), ("W2", "two modes: W2 of x, sampled")),
        strict=True,
    ):  # fmt: skip
        for i, word in enumerate(WORDS):
            for kind, style in (("naive", "--"), ("reduced", "-")):
                rows = table.where(word=word, kind=kind)
                label = f"R{word}, N{word}"
                look = {"color": COLOURS[i], "markerfacecolor": "white" if kind == "naive" else COLOURS[i]}
                look |= {"marker": "o" if rows[0]["noise"] else "s", "label": label if kind == "reduced" else None}
                axis.plot([row["evaluations"] for row in rows], [row[column] for row in rows], style, **look)
        axis.set_yscale("log")
        budget_axis(axis, [row["evaluations"] for row in table.rows if "evaluations" in row])
        axis.set_title(title, fontsize=9, loc="left")
    axes[0].set_ylabel("distance from the exact law")
    low, high = axes[1].get_ylim()
    noise_band(axes[1], noise_of(table, "W2"))
    axes[1].set_ylim(low / 1.3, high)
    title = "squares: no noise\ncircles: with noise\ndashed: naive"
    axes[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), title=title, title_fontsize=8, alignment="left")


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
        first, second, off = two_terms(table, name)
        table.findings.append(
            f"{name}, RVV: error {first:.2g}/N {second:+.2g}/N^2, off by {off:.1%} at most from the second count on;"
            f" equal terms at N = {abs(second / first):.0f}"
        )
    return table


def two_terms(table: Table, problem: str) -> tuple[float, float, float]:
    """c_1, c_2 of RVV's error c_1/N + c_2/N^2 without the first count, and the largest relative deviation."""
    rows = table.where(problem=problem, method="RVV")[1:]
    n, errors = (np.array([row[name] for row in rows], dtype=float) for name in ("steps", "error"))
    terms = np.stack([1 / n, 1 / n**2], 1) / errors[:, None]
    found = np.linalg.lstsq(terms, np.ones(len(n)), rcond=None)[0]
    return *found.tolist(), float(np.abs(terms @ found - 1).max())


def draw_bend(table: Table, axes: Any) -> None:
    """Errors on the left, their slopes on the right."""
    for i, label in enumerate(dict.fromkeys(row["method"] for row in table.rows)):
        for problem, style, hollow in (("P2", "-", False), ("P1b", ":", True)):
            rows = table.where(problem=problem, method=label)
            text = label if problem == "P2" else None
            face = "white" if hollow else COLOURS[i]
            look = {"color": COLOURS[i], "marker": MARKERS[i], "markerfacecolor": face}
            look |= {"linestyle": style, "label": text}
            axes[0].loglog([row["steps"] for row in rows], [row["error"] for row in rows], **look)
            axes[1].semilogx([row["steps"] for row in rows[1:]], [row["slope"] for row in rows[1:]], **look)
    for axis, text in zip(axes, ("error, rms (solid: P2, dotted: P1b)", "slope between N/2 and N"), strict=True):
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set_xlabel("steps N")
        axis.set_title(text, fontsize=9, loc="left")
    axes[1].set_ylim(0.5, 2.5)
    axes[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _listed(values: Sequence[int]) -> str:
    return f"{', '.join(map(str, values[:-1]))} and {values[-1]} evaluations"
